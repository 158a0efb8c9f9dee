"""The two ends of a console: a browser's socket, and the one that an agent dials back."""

import asyncio
import uuid
from typing import Any, ClassVar

import structlog

from consoles.models import ConsoleTicket
from consoles.models.ticket import SEEN_EVERY
from consoles.services.stream_proof import stream_proven
from consoles.services.tickets import (
    TicketInvalidError,
    console_closed,
    console_ticket_redeem,
)
from consoles.services.watching import console_still_allowed
from consoles.streams import (
    HOST_CLOSED,
    HOST_REFUSED,
    INTERNAL,
    NO_MORE_ALLOWED,
    NOT_FOUND,
    PROTOCOL_ERROR,
    TIMED_OUT,
    TOO_LARGE,
    Pipe,
    Stream,
    StreamClosedError,
    stream_awaited,
    stream_claim,
    stream_open,
)
from hypervisors.services.jobs import host_group
from hypervisors.services.signatures import RequestRefusedError, signed_stream
from hypervisors.sockets import Socket, in_database
from tenants.actor import Actor, agent_short
from tenants.scope import sign_in_scope
from tenants.services.live import person_group
from tenants.services.see_as import SESSION_KEY
from tenants.services.sessions import session_group, session_open
from tenants.sockets import FROM_PORTAL, OWN_HOST

log = structlog.get_logger("consoles")

_FINISH_S = 2.0

SIGNED_OUT = 4401

MAX_FRAME_BYTES = 1024 * 1024
"""Neither end sends longer frames: noVNC's and the agent's are far shorter."""


class ConsoleSocket(Socket):
    """One end of a stream. Subclasses say which pipe is theirs to fill and to empty."""

    stream: Stream | None = None
    pump: asyncio.Task[None] | None = None

    async def fill(self, pipe: Pipe, data: bytes) -> None:
        """Pass on what this end sent. Waits while the other end is slow: until then nothing
        more is read from this one."""
        if len(data) > MAX_FRAME_BYTES:
            await self.end(TOO_LARGE, "The message is too long.")
            return
        try:
            await pipe.put(data)
        except StreamClosedError:
            return  # the pump closes this end, with the reason

    async def empty(self, stream: Stream, pipe: Pipe) -> None:
        """Send on what comes out of `pipe`, then close this end."""
        try:
            while True:
                await self.say(await pipe.get())
        except StreamClosedError:
            await self.end(stream.code, stream.reason)

    async def finish(self, code: int, reason: str) -> None:
        """End the stream, and what this end still sends."""
        if self.stream is not None:
            await self.stream.close(code, reason)
        if self.pump is not None:
            _, unfinished = await asyncio.wait([self.pump], timeout=_FINISH_S)
            for task in unfinished:
                task.cancel()


class ConsoleConsumer(ConsoleSocket):
    """The browser's end: a ticket in the path opens it."""

    messages: ClassVar[dict[str, str]] = {
        "person.recheck": FROM_PORTAL,
        "session.ended": FROM_PORTAL,
        "stream.refused": FROM_PORTAL,
    }
    hears: ClassVar[dict[Any, str]] = {str: "vm.console", bytes: "vm.console"}

    dial_back_s: ClassVar[float] = 15.0
    recheck_s: ClassVar[float] = SEEN_EVERY.total_seconds()
    session_group = ""
    person_group = ""
    watch: asyncio.Task[None] | None = None
    ticket: ConsoleTicket | None = None
    opened_at: float = 0.0

    async def connect(self) -> None:
        await self._join_session()
        offered = self.scope.get("subprotocols") or []
        # noVNC may offer "binary", and closes when an offer is not taken up.
        await self.accept(subprotocol="binary" if "binary" in offered else None)
        if await in_database(self._looks_as_another):
            await self.end(NOT_FOUND, "You look at the portal as somebody else. Stop first.")
            return
        try:
            ticket = await in_database(
                console_ticket_redeem,
                user=self.scope.get("user"),
                secret=self.scope["url_route"]["kwargs"]["secret"],
            )
        except TicketInvalidError as error:
            await self.end(NOT_FOUND, error.message)
            return
        self.stream = stream_open(ticket.vm.hypervisor_id)
        if self.stream is None:
            await self.end(TIMED_OUT, "Too many consoles are being opened. Try again in a minute.")
            return
        self.ticket, self.opened_at = ticket, asyncio.get_running_loop().time()
        self.person_group = person_group(ticket.user_id)
        await self.channel_layer.group_add(self.person_group, self.channel_name)
        # Asked anew, once it will be heard: what was lost since the ticket was looked at.
        if not await self._still_allowed():
            return
        self.pump = asyncio.create_task(self._run(ticket, self.stream))
        self.watch = asyncio.create_task(self._keep_asking())

    async def person_recheck(self, _event: dict[str, Any]) -> None:
        """From tenants.services.live: whoever opened this may have lost something."""
        await self._still_allowed()

    async def _keep_asking(self) -> None:
        while not self.ended:
            await asyncio.sleep(self.recheck_s)
            await self._still_allowed()

    async def _still_allowed(self) -> bool:
        """Whether this may stay open; closes it at once, with all that waits, where not."""
        if self.ticket is None or self.stream is None or self.ended:
            return False
        if self.session_group and not await in_database(self._signed_in):
            # Too old by now, or nobody used it: what a guest draws by itself is no use.
            await self.end(SIGNED_OUT, "You were signed out.")
            await self.stream.close(SIGNED_OUT, "You were signed out.")
            return False
        if await in_database(console_still_allowed, self.ticket.pk):
            return True
        reason = "You may not use this console any more."
        # This end first: what the guest still says is not for this person.
        await self.end(NO_MORE_ALLOWED, reason)
        await self.stream.close(NO_MORE_ALLOWED, reason)
        return False

    async def _join_session(self) -> None:
        """Hear when the session that this socket was opened with ends."""
        session = self.scope.get("session")
        if session is not None and session.session_key:
            self.session_group = session_group(session.session_key)
            await self.channel_layer.group_add(self.session_group, self.channel_name)

    async def session_ended(self, _event: dict[str, Any]) -> None:
        """From tenants.services.sessions: whoever opened this was signed out."""
        if self.stream is not None:
            await self.stream.close(SIGNED_OUT, "You were signed out.")
        else:
            await self.end(SIGNED_OUT, "You were signed out.")

    def _signed_in(self) -> bool:
        """Whether the session still opens anything; where the socket came from no session that
        is signed in, the ticket speaks for itself."""
        user = self.scope.get("user")
        if user is None or not user.is_authenticated:
            return True
        with sign_in_scope():
            return session_open(self.scope["session"], user)

    def _looks_as_another(self) -> bool:
        return SESSION_KEY in self.scope.get("session", {})

    async def _run(self, ticket: ConsoleTicket, stream: Stream) -> None:
        try:
            await self._ask(ticket, stream)
            await _joined_or_closed(stream, self.dial_back_s)
        except Exception:
            log.exception("the host could not be asked for a console", vm=ticket.vm.name)
            await stream.close(INTERNAL, "The portal could not ask the host. Try again.")
        if not stream.joined.is_set():
            await stream.close(
                TIMED_OUT, "The host did not open the console in time. Look at the host's page."
            )
        await self.empty(stream, stream.to_browser)

    async def _ask(self, ticket: ConsoleTicket, stream: Stream) -> None:
        await self.channel_layer.group_send(
            host_group(stream.hypervisor_id),
            {
                "type": "console.open",
                "stream_id": str(stream.id),
                "vm_id": str(ticket.vm_id),
                "kind": ticket.kind,
                "reply": self.channel_name,
            },
        )
        log.info("console opened", vm=ticket.vm.name, kind=ticket.kind, user=ticket.user.email)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.stream is not None and not self.ended:
            data = bytes_data if bytes_data is not None else (text_data or "").encode()
            await self.fill(self.stream.to_agent, data)

    async def stream_refused(self, message: dict[str, Any]) -> None:
        """The host can't open this console."""
        if self.stream is not None and message["stream_id"] == str(self.stream.id):
            await self.stream.close(HOST_REFUSED, message["message"])

    async def cleanup(self) -> None:
        for group in filter(None, (self.session_group, self.person_group)):
            await self.channel_layer.group_discard(group, self.channel_name)
        if self.watch is not None:
            self.watch.cancel()
        await self.finish(1000, "The console was closed in the browser.")
        ticket, self.ticket = self.ticket, None
        if ticket is not None:
            seconds = round(asyncio.get_running_loop().time() - self.opened_at)
            await in_database(
                console_closed, actor=self._actor(ticket), ticket=ticket, seconds=seconds
            )

    def _actor(self, ticket: ConsoleTicket) -> Actor:
        headers = dict(self.scope["headers"])
        agent = headers.get(b"user-agent", b"").decode("latin-1")
        client = self.scope.get("client")
        return Actor(
            user=ticket.user,
            ip=client[0] if client else None,
            user_agent=agent_short(agent),
        )


class AgentStreamConsumer(ConsoleSocket):
    """The host's end: it signs the stream that we asked it to dial."""

    messages: ClassVar[dict[str, str]] = {}
    hears: ClassVar[dict[Any, str]] = {bytes: OWN_HOST}

    async def connect(self) -> None:
        stream_id: uuid.UUID = self.scope["url_route"]["kwargs"]["stream_id"]
        headers = dict(self.scope["headers"])
        try:
            host_id, signature = signed_stream(headers.get(b"authorization", b"").decode("latin-1"))
        except RequestRefusedError:
            await self.end(NOT_FOUND)
            return
        # Asked for first: who dials at random costs us no query.
        if not stream_awaited(stream_id, host_id) or not await in_database(
            stream_proven, stream_id=stream_id, hypervisor_id=host_id, signature=signature
        ):
            log.warning("a stream was dialled that nobody awaits", stream_id=str(stream_id))
            await self.end(NOT_FOUND)
            return
        stream = stream_claim(stream_id)
        if stream is None:
            await self.end(NOT_FOUND)
            return
        self.stream = stream
        await self.accept()
        self.pump = asyncio.create_task(self.empty(stream, stream.to_agent))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data is not None:
            await self.end(PROTOCOL_ERROR, "Streams are binary frames.")
        elif self.stream is not None and bytes_data is not None and not self.ended:
            await self.fill(self.stream.to_browser, bytes_data)

    async def cleanup(self) -> None:
        await self.finish(HOST_CLOSED, "The host closed the console: is the VM off?")


async def _joined_or_closed(stream: Stream, seconds: float) -> None:
    waiting = [
        asyncio.create_task(stream.joined.wait()),
        asyncio.create_task(stream.closed.wait()),
    ]
    await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
