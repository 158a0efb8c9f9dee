"""Putting an agent together: a real host, or a simulated one."""

from typing import TYPE_CHECKING, Any

from agent.database import Database
from agent.host import Host
from agent.journal import Journal
from agent.keys import load_keys
from agent.outbox import Outbox
from agent.protocol import NicSpec
from agent.records import Records, VmRecord
from agent.service import Agent
from agent.settings import Settings

if TYPE_CHECKING:
    from metadata.control import NicStatus, Reported


class _Later:
    """Hands events to an agent that is made after the part that sees them."""

    def __init__(self) -> None:
        self.agent: Agent | None = None

    def nic_state(self, status: "NicStatus") -> None:
        if self.agent is not None:
            self.agent.nic_state(status)

    def boot_report(self, report: "Reported") -> None:
        if self.agent is not None:
            self.agent.boot_report(report)


def _agent(settings: Settings, later: _Later, **parts: Any) -> Agent:
    database = Database(settings.folder / "state.db")
    host = Host(
        settings=settings,
        keys=load_keys(settings.folder / "keys"),
        journal=Journal(database),
        records=Records(database),
        outbox=Outbox(),
        **parts,
    )
    later.agent = Agent(host)
    return later.agent


def simulated_agent(settings: Settings, *, seed: int, pace: float = 1.0) -> Agent:
    """An agent on a host in memory. `pace` scales its waits. Call it in the event loop."""
    from agent.drivers import simulated
    from metadata.documents import NicDocument

    folder = settings.folder
    later = _Later()
    probe = simulated.SimulatedProbe(folder, name=settings.identity.name, seed=seed)

    async def compose(record: VmRecord, nic: NicSpec) -> NicDocument:
        # Nobody asks a simulated metadata service: this is for what happens around it.
        return NicDocument(
            nic_id=nic.nic_id,
            instance_id=record.guest.instance_id,
            hostname=record.guest.hostname,
            mac=nic.mac,
            sealed=record.over,
            seal_at=record.seal_at,
        )

    return _agent(
        settings,
        later,
        driver=simulated.SimulatedDriver(folder, pace=pace),
        plumber=simulated.SimulatedPlumber(
            on_state=later.nic_state, on_report=later.boot_report, pace=pace
        ),
        images=simulated.SimulatedImages(folder, pace=pace),
        disks=simulated.SimulatedDisks(folder, free_bytes=probe.disk_bytes, pace=pace),
        probe=probe,
        compose=compose,
    )


def real_agent(settings: Settings) -> Agent:
    """The agent of this host. Call it in the event loop."""
    from agent.disks import LocalDisks
    from agent.documents import DocumentWriter
    from agent.drivers.libvirt import LibvirtDriver
    from agent.facts import HostProbe
    from agent.images.cache import ImageCache
    from agent.network.plumber import NicPlumber
    from agent.reach import reachable_folder

    folder = settings.folder
    later = _Later()
    images = ImageCache(folder / "images", settings)
    keys = load_keys(folder / "keys")
    run = folder / "run"
    run.mkdir(mode=0o711, exist_ok=True)
    return _agent(
        settings,
        later,
        driver=LibvirtDriver(settings.libvirt_uri, hypervisor_id=settings.identity.hypervisor_id),
        plumber=NicPlumber(
            control_path=run / "metadata.sock",
            data_dir=folder,
            user=settings.metadata_user,
            on_state=later.nic_state,
            on_report=later.boot_report,
        ),
        images=images,
        disks=LocalDisks(
            folder,
            images=images,
            reachable=reachable_folder(folder, settings.identity.hypervisor_id),
        ),
        probe=HostProbe(folder),
        compose=DocumentWriter(keys),
    )
