"""Makes bootable disks from Debian packages: guest images.

Nothing here mounts a filesystem or attaches a loop device: partitions are written into a
file, so an interrupted build leaves one folder behind and nothing in the kernel.
"""
