"""What makes guests real: libvirt, or a simulation of it."""
