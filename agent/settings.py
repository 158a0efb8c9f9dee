"""What a running agent knows about itself. Plain data: the program reads it in `config`."""

from pathlib import Path

import msgspec


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who this host is to its portal, as told at enrolment."""

    portal: str
    """Where the agent connects to, such as https://portal.example.org."""
    origin: str
    """The portal's own name for itself, part of everything the host signs."""
    hypervisor_id: str
    name: str


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one agent needs to run."""

    data: str
    identity: Identity
    libvirt_uri: str = "qemu:///system"
    stop_guests_on_exit: bool = False
    allow_private_image_urls: bool = False
    metadata_user: str = "nobody"
    log_level: str = "info"

    @property
    def folder(self) -> Path:
        return Path(self.data)
