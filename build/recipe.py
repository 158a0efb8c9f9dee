"""What goes into a guest image. The only place that names packages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from build.errors import BuildError

OVERLAY = Path(__file__).parent / "overlay"

# As Debian's own cloud images have it: netplan with systemd-networkd and systemd-resolved,
# so that cloud-init's network configuration (static addresses too) is applied unchanged.
PACKAGES = (
    "ca-certificates",
    "cloud-guest-utils",
    "cloud-init",
    "curl",
    "dbus",
    "e2fsprogs",
    "eatmydata",
    "grub-cloud-amd64",
    "initramfs-tools",
    "iproute2",
    "iputils-ping",
    "less",
    "libnss-myhostname",
    "libpam-systemd",
    "linux-image-cloud-amd64",
    "nano",
    "netbase",
    "netplan.io",
    "openssh-server",
    "procps",
    "qemu-guest-agent",
    "sudo",
    "systemd-resolved",
    "systemd-sysv",
    "systemd-timesyncd",
    "tzdata",
    "udev",
    "unattended-upgrades",
    "vim-tiny",
    "zstd",
)

# Left out while building; packages that the guest installs later are complete.
EXCLUDED_PATHS = (
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/doc/*",
    "/usr/share/info/*",
)
KEPT_PATHS = ("/usr/share/doc/*/copyright", "/usr/share/locale/locale.alias")


@dataclass(frozen=True)
class Recipe:
    """One guest operating system."""

    name: str
    suite: str
    os_name: str
    packages: tuple[str, ...]
    architecture: str = "amd64"


RECIPES = {
    "debian-12": Recipe(
        name="debian-12",
        suite="bookworm",
        os_name="Debian 12 (bookworm)",
        packages=PACKAGES,
    ),
    "debian-13": Recipe(
        name="debian-13",
        suite="trixie",
        os_name="Debian 13 (trixie)",
        # cloud-init takes any of three DHCP clients; this is the one that Debian 13 prefers.
        packages=(*PACKAGES, "dhcpcd-base"),
    ),
}


def recipe_named(name: str) -> Recipe:
    """Raises BuildError("unknown_recipe")."""
    try:
        return RECIPES[name]
    except KeyError:
        known = ", ".join(sorted(RECIPES))
        message = f"There is no guest image called {name!r}. Choose one of: {known}."
        raise BuildError("unknown_recipe", message) from None
