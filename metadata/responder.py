"""When one NIC's DHCP server speaks, and with which lease."""

from ipaddress import IPv4Address

from metadata import dhcp
from metadata.control import LanDhcp
from metadata.documents import LAST_RESORT_ADDRESS, NicDocument, last_resort_lease
from metadata.throttle import Throttle

PATIENCE_S = 6.0
"""How long the site's own DHCP may take before the lease of last resort is offered."""
_FORGET_S = 90.0
_PACKETS_PER_S, _BURST = 20.0, 40.0
_LENT = IPv4Address(LAST_RESORT_ADDRESS)
_NONE = IPv4Address(0)


class Responder:
    """Decides on one NIC's packets. `now` is in seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._throttle = Throttle(per_second=_PACKETS_PER_S, burst=_BURST)
        self._first_discover: float | None = None
        self._last_discover = 0.0
        self.lan_dhcp: LanDhcp = "unknown"
        """What the guest's own requests have told of the site's DHCP, where it is the site's."""

    def hear(self, packet: bytes, document: NicDocument, *, now: float) -> dhcp.Reply | None:
        """The reply to what the guest sent, if one is due. Never raises."""
        if not self._throttle.take(now):
            return None
        try:
            request = dhcp.parse(packet)
        except dhcp.MalformedError:
            return None
        if request.mac != bytes.fromhex(document.mac.replace(":", "")):
            # Something behind the guest. The one address on this wire is the guest's own.
            return None
        if document.lease is not None:
            return dhcp.answer(request, document.lease, hostname=document.hostname)
        self._watch(request)
        if document.last_resort and self._site_is_silent(request, now):
            if request.kind is dhcp.Kind.REQUEST:
                self.lan_dhcp = "silent"
            return dhcp.answer(request, last_resort_lease(), hostname=document.hostname)
        return None

    def _watch(self, request: dhcp.Request) -> None:
        """A guest that takes another server's offer, or that renews an address of another's, has
        found the site's DHCP: also one that came to life after we had stepped in."""
        if request.kind is not dhcp.Kind.REQUEST:
            return
        chosen = request.server is not None and request.server != dhcp.SERVER
        renewed = request.server is None and request.client not in (_NONE, _LENT)
        if chosen or renewed:
            self.lan_dhcp = "site"

    def _site_is_silent(self, request: dhcp.Request, now: float) -> bool:
        if request.kind is dhcp.Kind.DISCOVER:
            if self._first_discover is None or now - self._last_discover > _FORGET_S:
                self._first_discover = now
            self._last_discover = now
            return now - self._first_discover >= PATIENCE_S
        if request.kind is dhcp.Kind.REQUEST and request.server is not None:
            if request.server == dhcp.SERVER:
                return True
            # The guest took somebody's offer: the site has DHCP.
            self._first_discover = None
        # A renewal is left unanswered on purpose: the guest asks anew, the site first.
        return False
