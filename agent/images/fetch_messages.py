"""What the agent and its download process say to each other, one JSON object a line."""

import msgspec


class PortalAccess(msgspec.Struct, frozen=True, kw_only=True):
    """How the host proves to its portal who asks."""

    keys: str
    hypervisor_id: str
    path: str


class FetchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`part` is the file to fill or to go on filling; `size` in bytes, when it is known."""

    url: str
    part: str
    sha256: str
    size: int | None
    allow_private: bool
    portal: PortalAccess | None = None
    pauses_s: tuple[float, ...] = (0.5, 1, 2, 4, 8, 15, 15, 15)
    """Waits between tries that brought nothing; a try that brought bytes starts them anew."""


class FetchProgress(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Bytes that are here, and bytes in all when that is known."""

    have: int
    total: int | None


class FetchEnd(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How it ended: no code means that the file is whole and has the right checksum."""

    code: str | None = None
    message: str = ""
