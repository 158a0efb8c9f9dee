"""What one virtual NIC is told. The agent writes these; the server only reads them."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

Id = Annotated[str, Meta(min_length=1, max_length=64)]
Address = Annotated[str, Meta(min_length=2, max_length=45)]

METADATA_IPV4 = "169.254.169.254"
METADATA_IPV6 = "fe80::a9fe:a9fe"
LAST_RESORT_ADDRESS = "169.254.10.1"
LAST_RESORT_PREFIX = 16
LAST_RESORT_SECONDS = 120
"""Short, so that a guest soon asks the site's own DHCP again."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A DHCPv4 lease that the portal's address book gives this NIC. `seconds` is its time."""

    address: Address
    prefix: Annotated[int, Meta(ge=1, le=32)]
    gateway: Address | None = None
    dns: Annotated[list[Address], Meta(max_length=8)] = []
    mtu: Annotated[int, Meta(ge=576, le=65_535)] = 1500
    domain: Annotated[str, Meta(max_length=253)] | None = None
    seconds: Annotated[int, Meta(ge=60, le=2**31)] = 3600


class NicDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is served on one virtual NIC.

    `network_data` has the shape of OpenStack's network_data.json, `network_config` that of
    cloud-init's version 2. `sealed` withholds what is secret (the user-data, but for
    `open_user_data`, and the posted password): the first boot is over.
    """

    nic_id: Id
    instance_id: Id
    hostname: Annotated[str, Meta(min_length=1, max_length=253)]
    mac: Annotated[str, Meta(pattern=r"\A[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")]
    ssh_keys: Annotated[list[Annotated[str, Meta(max_length=8192)]], Meta(max_length=64)] = []
    network_data: dict[str, Any] = {}
    user_data: Annotated[bytes, Meta(max_length=1_048_576)] | None = None
    vendor_data: Annotated[bytes, Meta(max_length=1_048_576)] | None = None
    """JSON, as OpenStack serves it: a string in it is taken like user-data of the vendor."""
    lease: Lease | None = None
    """None: DHCP is the site's own."""
    last_resort: bool = False
    """Whether to lend a link-local lease where the site's DHCP does not answer."""
    sealed: bool = False
    zone: Annotated[str, Meta(max_length=255)] = "basalt"
    """Where the guest is, for the guest: the site."""
    tags: dict[str, str] = {}
    network_config: dict[str, Any] = {}
    open_user_data: Annotated[bytes, Meta(max_length=1_048_576)] | None = None
    """What is served in place of `user_data` once it is sealed: nothing of it is secret."""
    seal_at: float | None = None
    """When it is sealed by itself, in seconds since the Unix epoch, should nobody say so before:
    the agent may be away then."""


def last_resort_lease() -> Lease:
    """A lease that reaches the metadata service and nothing else."""
    return Lease(
        address=LAST_RESORT_ADDRESS, prefix=LAST_RESORT_PREFIX, seconds=LAST_RESORT_SECONDS
    )


def sealed_document(document: NicDocument) -> NicDocument:
    """The document without what is secret: the first boot is over."""
    return msgspec.structs.replace(
        document, sealed=True, user_data=document.open_user_data, vendor_data=None
    )
