"""The socket of one host's link."""

import asyncio
import os
import time
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

import structlog
from django.utils import timezone

from agent.protocol import (
    MAX_MESSAGE_BYTES,
    VERSION,
    BootAcknowledged,
    BootReported,
    Challenge,
    FromAgent,
    FromPortal,
    Hello,
    JobAccepted,
    JobAcknowledged,
    JobFinished,
    JobProgress,
    OpenStream,
    ProtocolError,
    Refused,
    Screenshot,
    Snapshot,
    StreamRefused,
    TakeScreenshot,
    Usage,
    VmChanged,
    Welcome,
    decode_from_agent,
    encode,
)
from hypervisors.models import Hypervisor
from hypervisors.pacing import Pace
from hypervisors.services.hearing import job_word_store, readable
from hypervisors.services.inventory import (
    boot_store,
    guest_change_store,
    snapshot_store,
    usage_store,
)
from hypervisors.services.jobs import host_group
from hypervisors.services.links import (
    Link,
    LinkLostError,
    LinkRefusedError,
    clone_seen,
    link_check,
    link_closed,
    link_opened,
    link_removed_refusal,
    link_rival,
)
from hypervisors.services.screens import SINCE_PROTOCOL, screen_store
from hypervisors.services.sending import job_request, job_request_again, jobs_waiting
from hypervisors.sockets import Socket, in_database
from tenants.scope import enter, tenant_scope
from tenants.sockets import FROM_PORTAL, OWN_HOST, PROVES

log = structlog.get_logger("hypervisors.link")

HEARTBEAT_S = 20
PROTOCOL_ERROR, REFUSED, TIMED_OUT, REPLACED = 4400, 4403, 4408, 4409
TOO_LARGE, INTERNAL = 1009, 1011  # RFC 6455, 7.4.1

_MAX_HELLO_BYTES = 4096
_MAX_STREAMS = 256
_MAX_SCREENS = 64
_MAX_PROGRESS = 1000
_CROSSING = timedelta(seconds=30)
"""A job sent this short before a snapshot may have crossed it on its way."""


class AgentConsumer(Socket):
    """One connected host. Identity comes from the handshake, never from a message body."""

    messages: ClassVar[dict[str, str]] = {
        "job.send": FROM_PORTAL,
        "console.open": FROM_PORTAL,
        "screen.take": FROM_PORTAL,
        "link.probe": FROM_PORTAL,
        "link.answer": FROM_PORTAL,
        "link.replaced": FROM_PORTAL,
        "link.removed": FROM_PORTAL,
    }
    hears: ClassVar[dict[Any, str]] = {
        Hello: PROVES,
        Snapshot: OWN_HOST,
        Usage: OWN_HOST,
        VmChanged: OWN_HOST,
        JobAccepted: OWN_HOST,
        JobProgress: OWN_HOST,
        JobFinished: OWN_HOST,
        StreamRefused: OWN_HOST,
        Screenshot: OWN_HOST,
        # Known to the wire, and to no row yet.
        BootReported: OWN_HOST,
    }

    handshake_s: ClassVar[float] = 10.0
    rival_here_s: ClassVar[float] = 1.0
    rival_alive_s: ClassVar[float] = 5.0
    progress_s: ClassVar[float] = 0.5
    """Progress within the same step is stored no more often than this."""
    usage_s: ClassVar[float] = 10.0
    """Usage becomes history no more often than this, however often an agent tells it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.nonce = os.urandom(32)
        self.link: Link | None = None
        self.host: Hypervisor | None = None
        self.settling: asyncio.Task[None] | None = None
        self.deadline: asyncio.Task[None] | None = None
        self.rival_words: asyncio.Queue[str] = asyncio.Queue(maxsize=2)
        self.probed_by = ""
        self.snapshots = 0
        self.progress: dict[str, tuple[float, str]] = {}
        self.usage_at = float("-inf")
        self.streams: dict[str, str] = {}
        self.protocol = 1
        self.screens: dict[str, str] = {}
        self.message_pace = Pace(rate=100, burst=1000)
        self.bytes = Pace(rate=4 * 1024**2, burst=4 * MAX_MESSAGE_BYTES)

    # ------------------------------------------------------------------ handshake

    async def connect(self) -> None:
        await self.accept()
        versions = [version for version in (VERSION, VERSION - 1) if version > 0]
        await self.tell(Challenge(nonce=self.nonce, versions=versions))
        self.deadline = asyncio.create_task(self._end_unless_signed())

    async def _end_unless_signed(self) -> None:
        await asyncio.sleep(self.handshake_s)
        await self.end(TIMED_OUT, "No signed answer came to the challenge.")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.ended:
            return
        if bytes_data is None or text_data is not None:
            await self.end(PROTOCOL_ERROR, "Messages are binary frames.")
            return
        if len(bytes_data) > (MAX_MESSAGE_BYTES if self.link else _MAX_HELLO_BYTES):
            await self.end(TOO_LARGE, "The message is too long.")
            return
        pause = max(self.message_pace.take(1), self.bytes.take(len(bytes_data)))
        if pause:
            # While we sleep nothing more is read: the agent feels it in its own socket.
            await asyncio.sleep(pause)
        try:
            message = decode_from_agent(bytes_data)
            if self.link is not None:
                await self._hear(self.link, readable(message))
            else:
                await self._greet(message)
        except ProtocolError as error:
            log.warning("not the protocol", host=self._name, reason=str(error)[:300])
            await self.end(PROTOCOL_ERROR, str(error))
        except LinkLostError:
            await self._replaced()
        except LinkRefusedError as refusal:
            await self._refuse(refusal)

    async def _greet(self, message: FromAgent) -> None:
        if not isinstance(message, Hello) or self.host is not None:
            raise ProtocolError(f"{type(message).__name__} before the link was open")
        self.host = await in_database(link_check, hello=message, nonce=self.nonce)
        # From here on this socket sees the rows of its host's tenant, and no others.
        enter(await in_database(tenant_scope, [self.host.tenant_id]))
        if self.deadline is not None:
            self.deadline.cancel()
        rival = await in_database(link_rival, host=self.host, run_id=message.run_id)
        if rival:
            # In a task: the rival's answer comes to this consumer as a message of its own.
            self.settling = asyncio.create_task(self._settle(self.host, message, rival))
        else:
            await self._open(self.host, message)

    async def _settle(self, host: Hypervisor, hello: Hello, rival: str) -> None:
        """Two runs of one identity: the one that was first stays, if it still lives."""
        try:
            if await self._lives(rival):
                log.warning("a second machine has this host's identity", host=host.name)
                await in_database(clone_seen, host)
                await self._refuse(
                    LinkRefusedError(
                        "Another machine with this host's identity is connected: the disk of one "
                        "was cloned. On the clone, remove the agent's folder and enrol it with a "
                        "new token.",
                        code="identity_in_use",
                    )
                )
            else:
                await self._open(host, hello)
        except LinkRefusedError as refusal:
            await self._refuse(refusal)
        except Exception:
            log.exception("could not settle who speaks for a host", host=host.name)
            await self.end(INTERNAL, "The portal could not open the link.")

    async def _lives(self, rival: str) -> bool:
        """Whether an agent still answers on the link that the channel `rival` holds."""
        await self.channel_layer.send(rival, {"type": "link.probe", "reply": self.channel_name})
        try:
            await asyncio.wait_for(self.rival_words.get(), self.rival_here_s)
            await asyncio.wait_for(self.rival_words.get(), self.rival_alive_s)
        except TimeoutError:
            return False
        return True

    async def _open(self, host: Hypervisor, hello: Hello) -> None:
        await self.channel_layer.group_add(host_group(host.id), self.channel_name)
        link, before = await in_database(
            link_opened, hypervisor_id=host.id, hello=hello, channel=self.channel_name
        )
        self.link, self.protocol = link, hello.protocol
        if before:
            await self.channel_layer.send(before, {"type": "link.replaced"})
        log.info("link open", host=host.name, run_id=hello.run_id, version=hello.agent_version)
        await self.tell(Welcome(protocol=hello.protocol, heartbeat_s=HEARTBEAT_S))

    async def _refuse(self, refusal: LinkRefusedError) -> None:
        log.warning("link refused", host=self._name, code=refusal.code)
        await self.tell(Refused(code=refusal.code, message=refusal.message))
        await self.end(REFUSED, refusal.message)

    async def cleanup(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
        if self.settling is not None:
            # Not cancelled: it may be writing down that this link is open.
            await asyncio.gather(self.settling, return_exceptions=True)
        if self.host is not None:
            await self.channel_layer.group_discard(host_group(self.host.id), self.channel_name)
        if self.link is not None:
            log.info("link closed", host=self._name)
            await in_database(link_closed, self.link)

    # ------------------------------------------------------------------ what the agent says

    async def _hear(self, link: Link, message: FromAgent) -> None:
        if self.probed_by:
            reply, self.probed_by = self.probed_by, ""
            await self.channel_layer.send(reply, {"type": "link.answer", "word": "alive"})
        match message:
            case Snapshot():
                await self._hear_snapshot(link, message)
            case Usage():
                await in_database(usage_store, link=link, usage=message, keep=self._due())
            case VmChanged():
                await in_database(guest_change_store, link=link, change=message)
            case JobAccepted():
                await in_database(job_word_store, link=link, message=message)
            case JobProgress():
                if self._worth_storing(message):
                    await in_database(job_word_store, link=link, message=message)
            case JobFinished():
                await in_database(job_word_store, link=link, message=message)
                self.progress.pop(message.job_id, None)
                # Also for jobs that are not this host's, or gone: it shall stop telling.
                await self.tell(JobAcknowledged(job_id=message.job_id))
            case BootReported():
                await in_database(boot_store, link=link, report=message)
                # Also for guests that are not this host's, or gone: it shall stop telling.
                await self.tell(BootAcknowledged(vm_id=message.vm_id, number=message.number))
            case StreamRefused():
                await self._hear_stream_refused(message)
            case Screenshot():
                await self._hear_screenshot(message)
            case _:
                raise ProtocolError(f"{type(message).__name__} on an open link")

    async def _hear_snapshot(self, link: Link, snapshot: Snapshot) -> None:
        first = self.snapshots == 0
        self.snapshots += 1
        await in_database(snapshot_store, link=link, snapshot=snapshot)
        waiting = await in_database(
            jobs_waiting,
            link=link,
            known=snapshot.jobs,
            sent_before=None if first else timezone.now() - _CROSSING,
        )
        await self._send_jobs(link, waiting.again, again=True)
        await self._send_jobs(link, waiting.first, again=False)

    async def _hear_screenshot(self, message: Screenshot) -> None:
        # Only what was asked of this host, and once: it can show no other's screen.
        vm_id = self.screens.pop(message.request_id, None)
        if vm_id is not None:
            await in_database(screen_store, vm_id=vm_id, answer=message)

    async def _hear_stream_refused(self, message: StreamRefused) -> None:
        reply = self.streams.pop(message.stream_id, "")
        if reply:
            await self.channel_layer.send(
                reply,
                {
                    "type": "stream.refused",
                    "stream_id": message.stream_id,
                    "message": message.error.message,
                },
            )

    def _due(self) -> bool:
        """Whether enough time has passed to keep another value of the host's usage."""
        now = time.monotonic()
        due = now - self.usage_at >= self.usage_s
        if due:
            self.usage_at = now
        return due

    def _worth_storing(self, message: JobProgress) -> bool:
        """Whether this progress is news enough: rows are not written for every percent."""
        now = time.monotonic()
        at, step = self.progress.get(message.job_id, (0.0, ""))
        if step == message.step and now - at < self.progress_s:
            return False
        if len(self.progress) >= _MAX_PROGRESS:
            self.progress.clear()
        self.progress[message.job_id] = now, message.step
        return True

    # ------------------------------------------------------------------ what the portal says

    async def job_send(self, message: dict[str, Any]) -> None:
        """A job was queued: see job_push."""
        if self.link is not None:
            try:
                await self._send_jobs(self.link, [uuid.UUID(message["job_id"])], again=False)
            except LinkLostError:
                await self._replaced()
            except LinkRefusedError as refusal:
                await self._refuse(refusal)

    async def console_open(self, message: dict[str, Any]) -> None:
        """A console waits for its stream. `reply` is the channel that hears of a refusal."""
        if self.link is None:
            return
        if len(self.streams) >= _MAX_STREAMS:
            self.streams.pop(next(iter(self.streams)))
        self.streams[message["stream_id"]] = message["reply"]
        await self.tell(
            OpenStream(stream_id=message["stream_id"], vm_id=message["vm_id"], kind=message["kind"])
        )

    async def screen_take(self, message: dict[str, Any]) -> None:
        """Somebody looks at a VM's page: see screen_ask."""
        if self.link is None or self.protocol < SINCE_PROTOCOL:
            return
        if len(self.screens) >= _MAX_SCREENS:
            self.screens.pop(next(iter(self.screens)))
        self.screens[message["request_id"]] = message["vm_id"]
        await self.tell(TakeScreenshot(request_id=message["request_id"], vm_id=message["vm_id"]))

    async def link_probe(self, message: dict[str, Any]) -> None:
        """Another run of this identity is at the door: does ours still live? Asking for a
        console of no VM is a question that every agent answers at once."""
        if self.link is None or self.ended:
            return
        await self.channel_layer.send(message["reply"], {"type": "link.answer", "word": "here"})
        self.probed_by = message["reply"]
        nobody = str(uuid.uuid4())
        # In a task: the socket of a machine that lost its power may take nothing any more.
        self.probe = asyncio.create_task(
            self.tell(OpenStream(stream_id=nobody, vm_id=nobody, kind="vnc"))
        )

    async def link_answer(self, message: dict[str, Any]) -> None:
        if not self.rival_words.full():
            self.rival_words.put_nowait(message["word"])

    async def link_replaced(self, _message: dict[str, Any]) -> None:
        await self._replaced()

    async def link_removed(self, _message: dict[str, Any]) -> None:
        await self._refuse(link_removed_refusal())

    async def _send_jobs(self, link: Link, job_ids: Sequence[uuid.UUID], *, again: bool) -> None:
        service = job_request_again if again else job_request
        for job_id in job_ids:
            try:
                request = await in_database(service, link=link, job_id=job_id)
            except (LinkLostError, LinkRefusedError):
                raise
            except Exception:
                # One job that can't be put into words must not hold up the others; it ends
                # by its deadline, and this line says why.
                log.exception("job could not be sent", job_id=str(job_id))
                continue
            if request is not None:
                await self.tell(request)

    async def _replaced(self) -> None:
        await self.end(REPLACED, "Another connection speaks for this host now.")

    async def tell(self, message: FromPortal) -> None:
        """Send one message. Nothing if the agent is gone."""
        await self.say(encode(message))

    @property
    def _name(self) -> str:
        return self.host.name if self.host else "unknown"
