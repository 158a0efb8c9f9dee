"""What one virtual NIC is told. The agent writes these; the server only reads them."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Id = Annotated[str, Meta(min_length=1, max_length=64)]
Address = Annotated[str, Meta(min_length=2, max_length=45)]
Cidr = Annotated[str, Meta(min_length=4, max_length=49)]
Mac = Annotated[str, Meta(pattern=r"\A[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")]
Domain = Annotated[str, Meta(min_length=1, max_length=253)]
Identity = Literal["openstack", "ec2", "nocloud"]

METADATA_IPV4 = "169.254.169.254"
METADATA_IPV6 = "fe80::a9fe:a9fe"
METADATA_EC2_IPV6 = "fd00:ec2::254"
"""Where the EC2 form is looked for by IPv6: not link-local, so a guest needs a route."""
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


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Beside the default ones. `gateway` is of the same family as `destination`."""

    destination: Cidr
    gateway: Address


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One of the guest's NICs and what it is given: an address of either family, both, or
    none, which leaves it to the site's DHCP. Name servers are of both families."""

    nic_id: Id
    network_id: Id
    mac: Mac
    mtu: Annotated[int, Meta(ge=576, le=65_535)] = 1500
    address: Cidr | None = None
    gateway: Address | None = None
    address6: Cidr | None = None
    gateway6: Address | None = None
    routes: Annotated[list[Route], Meta(max_length=32)] = []
    dns: Annotated[list[Address], Meta(max_length=8)] = []
    search: Annotated[list[Domain], Meta(max_length=6)] = []

    @property
    def given(self) -> bool:
        """Whether its addresses are the portal's, rather than of the site's DHCP."""
        return self.address is not None or self.address6 is not None


class NicDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is served on one virtual NIC, once: each form of the tree is a function
    of it. `links` are all NICs of the guest, in its order.

    `sealed` withholds what is secret (the user-data, but for `open_user_data`, the vendor's
    part, and the posted password): the first boot is over.
    """

    nic_id: Id
    instance_id: Id
    hostname: Annotated[str, Meta(min_length=1, max_length=253)]
    mac: Mac
    identity: Identity = "openstack"
    """Which form the guest looks for. All are answered, whatever it is."""
    zone: Annotated[str, Meta(max_length=255)] = "basalt"
    """Where the guest is, for the guest: the site."""
    instance_type: Annotated[str, Meta(max_length=64)] = "basalt"
    image_id: Annotated[str, Meta(max_length=64)] = "unknown"
    tags: dict[str, str] = {}
    ssh_keys: Annotated[list[Annotated[str, Meta(max_length=8192)]], Meta(max_length=64)] = []
    links: Annotated[list[Link], Meta(max_length=64)] = []
    user_data: Annotated[bytes, Meta(max_length=1_048_576)] | None = None
    open_user_data: Annotated[bytes, Meta(max_length=1_048_576)] | None = None
    """What is served in place of `user_data` once it is sealed: nothing of it is secret."""
    vendor_data: Annotated[str, Meta(max_length=1_048_576)] | None = None
    """The MSP's part where the form has a place of its own for it; else it is within the
    user-data."""
    lease: Lease | None = None
    """None: DHCP is the site's own."""
    last_resort: bool = False
    """Whether to lend a link-local lease where the site's DHCP does not answer."""
    sealed: bool = False


def last_resort_lease() -> Lease:
    """A lease that reaches the metadata service and nothing else."""
    return Lease(
        address=LAST_RESORT_ADDRESS, prefix=LAST_RESORT_PREFIX, seconds=LAST_RESORT_SECONDS
    )


def needs_link_local(document: NicDocument) -> bool:
    """Whether the guest has no way to the service but an address beside it: by IPv4 nothing
    leads anywhere, and the end of the first boot could not be told."""
    return bool(document.links) and all(
        link.given and (link.address is None or link.gateway is None) for link in document.links
    )


def sealed_document(document: NicDocument) -> NicDocument:
    """The document without what is secret: the first boot is over."""
    return msgspec.structs.replace(
        document, sealed=True, user_data=document.open_user_data, vendor_data=None
    )
