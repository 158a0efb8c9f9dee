"""One NIC's listeners. Every bound here is per NIC: one noisy guest slows no other."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Sequence

from aiohttp import web

from metadata import ec2, nocloud, openstack
from metadata.answers import Answer, text
from metadata.boot_reports import BootWord, read_report
from metadata.control import NicState, NicStatus
from metadata.documents import NicDocument, sealed_document
from metadata.doors import Doors
from metadata.ears import Ear
from metadata.first_boot import FirstBoot
from metadata.responder import Responder
from metadata.router import ADVERTISEMENT, ALL_NODES, is_solicitation
from metadata.throttle import Throttle
from metadata.tokens import TokenMint, seconds_asked

SOCKETS = 5
"""Of each NIC, in `Serve`'s order."""
_BODY_BYTES = 65_536
_BODY_S = 10.0
_PASSWORD_BYTES = 4096
_TOKEN, _TOKEN_TIME = "X-aws-ec2-metadata-token", "X-aws-ec2-metadata-token-ttl-seconds"
_REQUESTS_PER_S, _REQUEST_BURST = 20.0, 400.0
_SOLICITATIONS_PER_S, _SOLICITATION_BURST = 1.0, 8.0
_ETH_P_IP = 0x0800

_USER_DATA = ("user_data", "user-data")

OnChange = Callable[["Nic"], None]
OnReport = Callable[["Nic", BootWord], None]


class Nic:
    """What one NIC is served, and what it has asked for so far."""

    def __init__(
        self,
        document: NicDocument,
        on_change: OnChange,
        on_report: OnReport = lambda nic, word: None,  # noqa: ARG005
    ) -> None:
        self.document = sealed_document(document) if document.sealed else document
        self.first_boot = FirstBoot(over=document.sealed, on_deadline=self._deadline_passed)
        self._on_change = on_change
        self._on_report = on_report
        self._password = b""
        self._tokens = TokenMint()
        self._responder = Responder()
        self._requests = Throttle(per_second=_REQUESTS_PER_S, burst=_REQUEST_BURST)
        self._doors = Doors(self.handle)
        self._ears: list[Ear] = []
        self._packets: socket.socket | None = None
        self._holder: socket.socket | None = None
        self._solicitations: socket.socket | None = None
        self._advertised = Throttle(per_second=_SOLICITATIONS_PER_S, burst=_SOLICITATION_BURST)

    @property
    def status(self) -> NicStatus:
        state: NicState = "not_asked"
        if self.document.sealed:
            state = "sealed"
        elif self.first_boot.asked_at is not None:
            state = "served"
        return NicStatus(
            nic_id=self.document.nic_id,
            instance_id=self.document.instance_id,
            state=state,
            done=self.done,
            lan_dhcp=self._responder.lan_dhcp,
            asked_at=self.first_boot.asked_at,
            served_at=self.first_boot.served_at,
            sealed_at=self.first_boot.sealed_at,
            reported_at=self.first_boot.reported_at,
        )

    @property
    def done(self) -> bool:
        """Whether the first boot is over: sealed, and never open again for this instance."""
        return self.first_boot.over

    def replace(self, document: NicDocument) -> None:
        """Serve another document from now on. A new instance starts a first boot anew."""
        if document.instance_id != self.document.instance_id:
            self.first_boot.unwatch()
            self.first_boot = FirstBoot(over=False, on_deadline=self._deadline_passed)
            self._password = b""
        # The agent may not have heard of the end yet: secrets never come back by accident.
        self.document = document
        if document.sealed or self.done:
            self.seal()
        self.first_boot.watch(document.seal_at)

    def seal(self) -> None:
        """The first boot is over: what was secret has served."""
        self.document = sealed_document(self.document)
        self.first_boot.seal()
        self._password = b""

    def _deadline_passed(self) -> None:
        self.seal()
        self._on_change(self)

    async def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Take over the listeners, in `Serve`'s order; former ones are closed."""
        self.close()
        self.first_boot.watch(self.document.seal_at)
        http4, http6, packets, holder, solicitations = sockets
        self._doors.open([http4, http6])
        self._packets, self._holder, self._solicitations = packets, holder, solicitations
        self._ears = [
            Ear(packets, self._hear_packet),
            Ear(solicitations, self._hear_solicitation),
        ]

    def close(self) -> None:
        """Stop serving, at once."""
        self.first_boot.unwatch()
        self._doors.close()
        for ear in self._ears:
            ear.close()
        self._ears.clear()
        if self._holder is not None:
            self._holder.close()
        self._packets = self._solicitations = self._holder = None

    # ------------------------------------------------------------------ HTTP

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to one request of this NIC's guest."""
        if not self._requests.take(asyncio.get_running_loop().time()):
            refused = web.Response(status=429, text="Too many requests.")
            refused.force_close()
            return refused
        answer = await self._answer(request)
        return web.Response(
            status=answer.status,
            body=answer.body,
            headers={
                "Content-Type": answer.content_type,
                "Cache-Control": "no-store",
                "Server": "Basalt",
                **answer.headers,
            },
        )

    async def _answer(self, request: web.BaseRequest) -> Answer:
        parts = [part for part in request.path.split("/") if part]
        if request.method in ("GET", "HEAD"):
            return self._look_up(parts, request.headers.get(_TOKEN))
        match request.method, parts:
            case "POST", ["basalt", "v1", "done"]:
                return await self._first_boot_done(request)
            case "POST", ["basalt", "v1", "report"]:
                return await self._take_report(request)
            case "POST", ["openstack", _, "password"]:
                return await self._take_password(request)
            case "PUT", ["latest", "api", "token"]:
                return self._token(request)
        return text("Method Not Allowed", status=405)

    def _look_up(self, parts: list[str], token: str | None) -> Answer:
        match parts:
            case ["openstack", _, "password"] if not self.document.sealed:
                answer = text(self._password.decode())
            case ["openstack", *rest]:
                answer = openstack.answer(self.document, rest)
            case ["nocloud", *rest]:
                answer = nocloud.answer(self.document, rest)
            case _ if token is not None and not self._knows(token):
                # AWS's answer, at which programs fetch a new one.
                answer = text("Unauthorized", status=401)
            case _:
                answer = ec2.answer(self.document, parts)
        user_data = bool(parts) and parts[-1] in _USER_DATA
        if answer.status == 200 and self.first_boot.asked(user_data=user_data):
            self._on_change(self)
        return answer

    def _knows(self, token: str) -> bool:
        return self._tokens.accepts(token, now=asyncio.get_running_loop().time())

    def _token(self, request: web.BaseRequest) -> Answer:
        """IMDSv2, for SDKs. Answered as AWS does, and asked for by nobody but who sends it."""
        if "X-Forwarded-For" in request.headers:
            # Through a proxy: the form is there to keep exactly those out.
            return text("Forbidden", status=403)
        seconds = seconds_asked(request.headers.get(_TOKEN_TIME, ""))
        if seconds is None:
            return text("Bad Request", status=400)
        token = self._tokens.token(seconds=seconds, now=asyncio.get_running_loop().time())
        return Answer(body=token.encode(), headers={_TOKEN_TIME: str(seconds)})

    async def _first_boot_done(self, request: web.BaseRequest) -> Answer:
        """cloud-init's phone_home. What it posts is read to its end and not believed: the
        wire says who speaks, and nothing else matters."""
        if await _body(request, _BODY_BYTES) is None:
            return text("Content Too Large", status=413)
        if self.first_boot.reported():
            self.seal()
            self._on_change(self)
        return text("ok")

    async def _take_report(self, request: web.BaseRequest) -> Answer:
        """How the first boot goes. Heard after its end too: the last word comes then."""
        body = await _body(request, _BODY_BYTES)
        if body is None:
            return text("Content Too Large", status=413)
        try:
            word = read_report(body, now=time.time())
        except ValueError:
            return text("Bad Request", status=400)
        if word is not None and self.first_boot.reports.take(word):
            self._on_report(self, word)
        return text("ok")

    async def _take_password(self, request: web.BaseRequest) -> Answer:
        """The guest's own password, encrypted to its user's key (cloudbase-init): once."""
        body = await _body(request, _PASSWORD_BYTES)
        if body is None:
            return text("Content Too Large", status=413)
        if self._password or self.document.sealed:
            return text("Conflict", status=409)
        if not body.isascii():
            return text("Bad Request", status=400)
        self._password = body
        return text("")

    # ------------------------------------------------------------------ DHCP

    def _hear_packet(self, packet: bytes) -> None:
        before = self._responder.lan_dhcp
        reply = self._responder.hear(packet, self.document, now=asyncio.get_running_loop().time())
        if self._responder.lan_dhcp != before:
            self._on_change(self)
        if reply is None or self._packets is None:
            return
        link = self._packets.getsockname()[0]
        # A wire that is full or gone is no matter: the guest asks again.
        with contextlib.suppress(OSError):
            self._packets.sendto(reply.packet, (link, _ETH_P_IP, 0, 0, reply.mac))

    # ------------------------------------------------------------------ routers

    def _hear_solicitation(self, message: bytes) -> None:
        """A guest whose address is the portal's asks in vain for a router: say so at once."""
        if self.document.lease is None or not is_solicitation(message):
            return
        now = asyncio.get_running_loop().time()
        if self._solicitations is not None and self._advertised.take(now):
            with contextlib.suppress(OSError):
                self._solicitations.sendto(ADVERTISEMENT, (ALL_NODES, 0))


async def _body(request: web.BaseRequest, limit: int) -> bytes | None:
    """The request's body, or None when it is too long or takes too long."""
    body = b""
    try:
        async with asyncio.timeout(_BODY_S):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > limit:
                    return None
    except TimeoutError:
        return None
    return body
