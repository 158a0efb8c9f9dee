"""The machine that is not there: its NICs and its facts."""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from agent.drivers.base import (
    DriverFacts,
)
from agent.drivers.simulated.usage import Wave
from agent.errors import JobFailedError
from agent.facts import HostProbe
from agent.protocol import (
    Bridge,
    DroppedFrames,
    HostFacts,
    NetworkSpec,
    NicSpec,
    Usage,
)
from metadata.boot_reports import BootEvent, BootFinal, BootWord
from metadata.control import NicStatus, Reported

if TYPE_CHECKING:
    from metadata.documents import NicDocument

_STAGES: tuple[tuple[Literal["network", "config", "final"], float], ...] = (
    ("network", 1.0),
    ("config", 0.8),
    ("final", 2.2),
)
SIMULATED_BRIDGES = ("br0",)


class SimulatedPlumber:
    """NICs without a wire: cloud-init on them ends some seconds after the start."""

    def __init__(
        self,
        *,
        on_state: Callable[[NicStatus], None],
        on_report: Callable[[Reported], None] = lambda report: None,  # noqa: ARG005
        pace: float = 1.0,
    ) -> None:
        self._on_state = on_state
        self._on_report = on_report
        self._pace = pace
        self._nics: dict[str, asyncio.Task[None] | None] = {}
        self._guarded: set[str] = set()

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self, *, terminate_server: bool) -> None:  # noqa: ARG002
        for nic_id in list(self._nics):
            await self.detach(nic_id)

    async def ensure_network(self, network: NetworkSpec) -> str:
        if network.kind == "bridge" and network.bridge not in SIMULATED_BRIDGES:
            raise JobFailedError(
                "bridge_missing",
                f"The host has no bridge {network.bridge!r}. It has: "
                f"{', '.join(SIMULATED_BRIDGES)}.",
            )
        return network.bridge or f"bn{network.network_id.replace('-', '')[:12]}"

    async def remove_network(self, network_id: str) -> None:
        """Nothing was made."""

    async def attach(self, *, nic: NicSpec, tap: str, document: "NicDocument") -> None:  # noqa: ARG002
        (self._guarded.add if nic.guard else self._guarded.discard)(nic.nic_id)
        if nic.nic_id not in self._nics:
            # A guest that was configured before asks nobody anything.
            boot = None if document.sealed else asyncio.create_task(self._first_boot(document))
            self._nics[nic.nic_id] = boot

    async def update(self, *, nic_id: str, document: "NicDocument") -> None:
        """Nobody reads it."""

    async def detach(self, nic_id: str) -> None:
        task = self._nics.pop(nic_id, None)
        if task is not None:
            task.cancel()

    async def sweep(self, *, keep_nics: set[str], keep_networks: set[str]) -> list[str]:  # noqa: ARG002
        return []

    async def dropped(self) -> dict[str, DroppedFrames]:
        return {nic_id: DroppedFrames() for nic_id in self._guarded & set(self._nics)}

    async def _first_boot(self, document: "NicDocument") -> None:
        """As a small Debian guest does it, in a quarter of its time."""
        await asyncio.sleep(3 * self._pace)
        asked_at = time.time()
        status = NicStatus(
            nic_id=document.nic_id,
            instance_id=document.instance_id,
            state="served",
            done=False,
            asked_at=asked_at,
        )
        self._on_state(status)
        await asyncio.sleep(1 * self._pace)
        status = msgspec.structs.replace(status, served_at=time.time())
        self._on_state(status)
        for stage, seconds in _STAGES:
            self._say(document, BootEvent(stage=stage, kind="start", at=time.time()))
            await asyncio.sleep(seconds * self._pace)
            self._say(document, BootEvent(stage=stage, kind="finish", at=time.time()))
        await asyncio.sleep(1 * self._pace)
        now = time.time()
        self._on_state(
            msgspec.structs.replace(
                status, state="sealed", done=True, sealed_at=now, reported_at=now
            )
        )
        await asyncio.sleep(1 * self._pace)
        self._say(
            document,
            BootFinal(
                datasource="DataSourceOpenStackLocal [net,ver=2]",
                seconds={"local": 2.4, "network": 1.9, "config": 1.1, "final": 3.7},
                at=time.time(),
            ),
        )

    def _say(self, document: "NicDocument", word: BootWord) -> None:
        self._on_report(
            Reported(nic_id=document.nic_id, instance_id=document.instance_id, word=word)
        )


class SimulatedProbe(HostProbe):
    """Facts of a host of a plausible size, different from host to host but stable."""

    def __init__(self, folder: Path, *, name: str, seed: int) -> None:
        super().__init__(folder)
        pick = random.Random(seed)  # noqa: S311
        self._name = name
        self._cpus = pick.choice([8, 16, 24, 32])
        self._memory = pick.choice([32, 64, 128]) * 1024
        self.disk_bytes = pick.choice([960, 1920, 3840]) * 10**9
        self._boot_id = f"{pick.getrandbits(128):032x}"
        self._busy = pick.uniform(5, 50)
        self._waves = {
            name: Wave(pick, pick.uniform(0.5, 8) * 1024**2)
            for name in ("disk_read", "disk_write", "net_in", "net_out")
        }

    def boot_id(self) -> str:
        return self._boot_id

    def facts(self, driver: DriverFacts, problems: list[str]) -> HostFacts:
        return HostFacts(
            hostname=self._name,
            os="Simulated Debian GNU/Linux 12",
            kernel="6.1.0-simulated",
            architecture="x86_64",
            cpu_model="Simulated processor",
            cpus=self._cpus,
            memory_mib=self._memory,
            disk_total=self.disk_bytes,
            accelerator=driver.accelerator,
            libvirt=driver.libvirt,
            qemu=driver.qemu,
            boot_id=self._boot_id,
            firmwares=driver.firmwares,
            bridges=[Bridge(name=name, addresses=["192.0.2.10"]) for name in SIMULATED_BRIDGES],
            problems=problems[:32],
        )

    def usage(self) -> Usage:
        # A slow wave, so that charts have something to show and tests something to expect.
        share = (time.time() / 600 + self._busy) % 1.0
        busy = self._busy + 20 * abs(share - 0.5)
        rates = {name: round(wave.at(time.time())) for name, wave in self._waves.items()}
        return Usage(
            cpu_percent=int(busy),
            memory_used_mib=int(self._memory * (0.2 + busy / 400)),
            disk_used=int(self.disk_bytes * 0.1),
            load1=round(self._cpus * busy / 100, 2),
            disk_read=rates["disk_read"],
            disk_write=rates["disk_write"],
            net_in=rates["net_in"],
            net_out=rates["net_out"],
        )

    def memory_mib(self) -> tuple[int, int]:
        return self._memory, self._memory
