"""An agent with nothing behind it: it speaks the protocol, and a test says every word."""

import asyncio
import uuid
from typing import Any, Self, TypeVar

from websockets.asyncio.client import ClientConnection

from agent.protocol import (
    VERSION,
    Bridge,
    Challenge,
    FromAgent,
    FromPortal,
    Hello,
    HostFacts,
    JobAccepted,
    JobError,
    JobFinished,
    JobRequest,
    Snapshot,
    Usage,
    VmReport,
    Welcome,
    decode_from_portal,
    encode,
    link_statement,
    sign,
)
from hypervisors.models import Hypervisor
from tests.hypervisors.running_portal import RunningPortal

M = TypeVar("M", bound=FromPortal)

USAGE = Usage(cpu_percent=5, memory_used_mib=1000, disk_used=10**9, load1=0.3)


def snapshot_of(*vms: VmReport, jobs: list[str] | None = None, **facts: Any) -> Snapshot:
    """A host with 32 GiB and these guests."""
    values: dict[str, Any] = {
        "hostname": "fake.example",
        "os": "Debian GNU/Linux 12 (bookworm)",
        "kernel": "6.1.0",
        "architecture": "x86_64",
        "cpu_model": "Fake",
        "cpus": 16,
        "memory_mib": 32768,
        "disk_total": 500 * 1024**3,
        "accelerator": "simulated",
        "libvirt": "",
        "qemu": "",
        "boot_id": "boot",
        "firmwares": ["bios", "uefi"],
        "bridges": [Bridge(name="br0", addresses=["192.0.2.2/24"])],
    }
    return Snapshot(
        facts=HostFacts(**(values | facts)), usage=USAGE, vms=list(vms), jobs=jobs or []
    )


class FakeAgent:
    """One link of one host. Use it with `async with`; `open` does the handshake."""

    def __init__(
        self,
        portal: RunningPortal,
        host: Hypervisor,
        *,
        private: bytes | None = None,
        run_id: str | None = None,
        origin: str | None = None,
        protocol: int = VERSION,
    ) -> None:
        self.portal, self.host = portal, host
        self.private = private or host.sign_private
        self.run_id = run_id or str(uuid.uuid4())
        self.origin = origin or portal.url
        self.protocol = protocol
        self.socket: ClientConnection

    async def __aenter__(self) -> Self:
        self.socket = await self.portal.websocket("/agent/v1/link/")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()

    async def open(self, snapshot: Snapshot | None = None) -> Self:
        """Challenge, hello, welcome, and the first snapshot."""
        await self.hello()
        assert isinstance(await self.read(), Welcome)
        await self.say(snapshot or snapshot_of())
        return self

    async def hello(self, *, nonce: bytes | None = None) -> Challenge:
        challenge = await self.hear(Challenge)
        statement = link_statement(
            nonce=nonce or challenge.nonce,
            hypervisor_id=str(self.host.pk),
            origin=self.origin,
        )
        await self.say(
            Hello(
                hypervisor_id=str(self.host.pk),
                protocol=self.protocol,
                signature=sign(self.private, statement),
                run_id=self.run_id,
                agent_version="0.1.0",
            )
        )
        return challenge

    async def say(self, message: FromAgent) -> None:
        await self.socket.send(encode(message))

    async def read(self, *, seconds: float = 8.0) -> FromPortal:
        async with asyncio.timeout(seconds):
            data = await self.socket.recv()
        assert isinstance(data, bytes)
        return decode_from_portal(data)

    async def hear(self, kind: type[M], *, seconds: float = 8.0) -> M:
        """The next message, which must be of this kind."""
        message = await self.read(seconds=seconds)
        assert isinstance(message, kind), message
        return message

    async def silent(self, *, seconds: float = 0.5) -> bool:
        """Whether the portal says nothing for so long."""
        try:
            await self.read(seconds=seconds)
        except TimeoutError:
            return True
        return False

    async def do(self, request: JobRequest, error: JobError | None = None) -> None:
        """Accept a job, and end it."""
        await self.say(JobAccepted(job_id=request.job_id))
        await self.say(JobFinished(job_id=request.job_id, error=error))
