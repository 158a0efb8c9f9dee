"""Messages of the link, in both directions.

Order on a new link: portal `Challenge`, agent `Hello`, portal `Welcome` or `Refused`,
agent `Snapshot`; then whatever happens. The agent sends a new full `Snapshot` every few
minutes and whenever it can't say exactly what changed.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agent.protocol.jobs import JobArguments
from agent.protocol.types import (
    Bytes,
    Code,
    Count,
    Id,
    Interface,
    Mac,
    Percent,
    Rate,
    Sentence,
    Short,
    Timestamp,
)

FrameCount = Annotated[int, Meta(ge=0, le=2**53)]
PowerState = Literal["running", "paused", "shutting_down", "off", "crashed", "unknown"]
NicMetadataState = Literal["not_asked", "served", "sealed"]
LanDhcp = Literal["unknown", "site", "silent", "given"]
"""Who gives a NIC its lease: the site; nobody, so that it has the one of last resort; or the
portal's address book."""


class Message(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Base of all messages: tagged with the class's name."""


# ------------------------------------------------------------------ portal to agent


class Challenge(Message, frozen=True):
    """First message of every link. `nonce` is 32 random bytes, used once."""

    nonce: Annotated[bytes, Meta(min_length=32, max_length=32)]
    versions: Annotated[list[int], Meta(max_length=8)]


class Welcome(Message, frozen=True):
    """The link is open. `protocol` is the version both sides speak from here on."""

    protocol: int
    heartbeat_s: Annotated[int, Meta(ge=1, le=600)] = 20


class Refused(Message, frozen=True):
    """The portal will not talk to this agent; `message` says what a person can do."""

    code: Code
    message: Sentence


class JobRequest(Message, frozen=True):
    """Do this job. Sent again with the same id after any doubt; the agent does it once."""

    job_id: Id
    deadline: Timestamp
    arguments: JobArguments


class JobAcknowledged(Message, frozen=True):
    """The portal has stored this job's outcome: the agent may forget it."""

    job_id: Id


class OpenStream(Message, frozen=True):
    """Dial back a second WebSocket, at /agent/v1/streams/<stream_id>/, for a console."""

    stream_id: Id
    vm_id: Id
    kind: Literal["vnc", "serial"]


class TakeScreenshot(Message, frozen=True):
    """Answer with `Screenshot`: a small picture of what the guest shows. Since version 2."""

    request_id: Id
    vm_id: Id


class BootAcknowledged(Message, frozen=True):
    """The portal has stored this `BootReported`: the agent need not send it again. Since
    version 3."""

    vm_id: Id
    number: Count


FromPortal = (
    Challenge
    | Welcome
    | Refused
    | JobRequest
    | JobAcknowledged
    | OpenStream
    | TakeScreenshot
    | BootAcknowledged
)

# ------------------------------------------------------------------ agent to portal


class Hello(Message, frozen=True):
    """Answer to `Challenge`. `signature` covers `link_statement(nonce, id, origin)`.

    `run_id` is new at each start of the agent program: two links of one identity with
    different run ids at the same time mean a cloned disk.
    """

    hypervisor_id: Id
    protocol: int
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]
    run_id: Id
    agent_version: Short


class Bridge(msgspec.Struct, frozen=True, kw_only=True):
    """A bridge of the host that VMs can be attached to."""

    name: Interface
    addresses: Annotated[list[Short], Meta(max_length=32)] = []
    mtu: Annotated[int, Meta(ge=0, le=2**31)] | None = None
    """Bytes of the largest frame on it. None: not known."""


class DiskReport(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual disk as the host sees it. Sizes in bytes."""

    disk_id: Id
    capacity: Bytes
    allocation: Bytes


class DroppedFrames(msgspec.Struct, frozen=True, kw_only=True):
    """Frames that a NIC's guard dropped since it was plumbed, by what was wrong with them."""

    mac: FrameCount = 0
    arp: FrameCount = 0
    ipv4: FrameCount = 0
    ipv6: FrameCount = 0
    neighbour: FrameCount = 0
    router: FrameCount = 0
    dhcp: FrameCount = 0
    other: FrameCount = 0
    """VLAN tags, and kinds of frames that nobody needs."""


class NicReport(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual NIC, with the addresses the guest was seen to use (CIDR form)."""

    nic_id: Id
    mac: Mac
    addresses: Annotated[list[Short], Meta(max_length=32)] = []
    metadata: NicMetadataState = "not_asked"
    asked_at: Timestamp | None = None
    served_at: Timestamp | None = None
    """When the user-data was first given out."""
    sealed_at: Timestamp | None = None
    lan_dhcp: LanDhcp = "unknown"
    dropped: DroppedFrames | None = None
    """None: the guard is off, or the host can't tell."""


class VmReport(msgspec.Struct, frozen=True, kw_only=True):
    """A guest as the agent last saw it. Only guests that the portal asked for."""

    vm_id: Id
    power: PowerState
    vcpus: Count = 0
    memory_mib: Count = 0
    disks: Annotated[list[DiskReport], Meta(max_length=64)] = []
    nics: Annotated[list[NicReport], Meta(max_length=32)] = []
    cloud_init: Literal["unknown", "running", "done", "failed"] = "unknown"
    """First boot, as far as the host can tell (phone_home to the metadata service)."""


class HostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the host is. Sent with every snapshot."""

    hostname: Short
    os: Short
    kernel: Short
    architecture: Short
    cpu_model: Short
    cpus: Count
    memory_mib: Annotated[int, Meta(ge=0, le=2**40)]
    disk_total: Bytes
    """Bytes of the file system that holds guests' disks."""
    accelerator: Literal["kvm", "tcg", "simulated"]
    libvirt: Short
    qemu: Short
    boot_id: Short
    firmwares: Annotated[list[Literal["bios", "uefi"]], Meta(max_length=2)] = []
    bridges: Annotated[list[Bridge], Meta(max_length=256)] = []
    problems: Annotated[list[Sentence], Meta(max_length=32)] = []
    """Sentences for a person: libvirtd down, disk nearly full, no nftables."""


class GuestUsage(msgspec.Struct, frozen=True, kw_only=True):
    """How busy one running guest was since it was last measured. None: not known."""

    vm_id: Id
    cpu_percent: Percent
    """Of all its virtual processors together."""
    memory_used_mib: Count | None = None
    """By the guest's own word; without one, what it holds of the host's memory."""
    disk_used: Bytes | None = None
    """Bytes that its disks take up on the host."""
    disk_read: Rate = 0
    disk_write: Rate = 0
    net_in: Rate = 0
    net_out: Rate = 0


class Usage(Message, frozen=True):
    """How busy the host is now. Every `heartbeat_s` seconds; also keeps the link alive."""

    cpu_percent: Percent
    memory_used_mib: Annotated[int, Meta(ge=0, le=2**40)]
    disk_used: Bytes
    load1: Annotated[float, Meta(ge=0)] = 0.0
    disk_read: Rate | None = None
    disk_write: Rate | None = None
    net_in: Rate | None = None
    net_out: Rate | None = None
    guests: Annotated[list[GuestUsage], Meta(max_length=10_000)] = []
    """Running guests, about each 40 s; empty in between. A portal of before skips it."""


class Snapshot(Message, frozen=True):
    """The full state the agent sees. The portal reconciles its rows from it."""

    facts: HostFacts
    usage: Usage
    vms: Annotated[list[VmReport], Meta(max_length=10_000)]
    jobs: Annotated[list[Id], Meta(max_length=10_000)]
    """Jobs in the journal whose outcome the portal has not acknowledged."""
    foreign_vms: Count = 0
    """Guests on the host that somebody else manages: counted, never touched."""
    cached_images: Annotated[list[Id], Meta(max_length=10_000)] = []


class VmChanged(Message, frozen=True):
    """One guest changed. `vm` is None when it no longer exists on the host."""

    vm_id: Id
    vm: VmReport | None


class JobAccepted(Message, frozen=True):
    """The job is in the journal: from here on the agent will bring it to an end."""

    job_id: Id


class JobProgress(Message, frozen=True):
    job_id: Id
    percent: Percent
    step: Short
    """What it is doing, as a phrase for people: "Downloading the image"."""


class JobError(msgspec.Struct, frozen=True, kw_only=True):
    """`code` is stable and for programs; `message` says cause and next step to people."""

    code: Code
    message: Sentence


class JobFinished(Message, frozen=True):
    """The job's one end. Sent again on every link until `JobAcknowledged`."""

    job_id: Id
    error: JobError | None = None
    vm: VmReport | None = None
    """The guest's state right after, so that the page need not wait for the next report."""


BootStageName = Literal["local", "network", "config", "final"]
"""cloud-init's own stages: init-local, init, modules-config, modules-final."""


class BootStage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of cloud-init. `seconds` None: it has not ended, or nobody knows."""

    name: BootStageName
    status: Literal["waiting", "running", "ok", "warnings", "failed"]
    started_at: Timestamp | None = None
    seconds: Annotated[float, Meta(ge=0, le=10**7)] | None = None
    errors: Annotated[list[Sentence], Meta(max_length=16)] = []


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """How the first boot of one instance went, as far as the host can tell."""

    instance_id: Short
    verdict: Literal["waiting", "running", "done", "degraded", "failed"]
    reason: Code | None = None
    """What went wrong, for programs: the portal has the words."""
    source: Short = ""
    """Where the host knows it from: reports, result, serial, agent, phone_home; joined by
    commas."""
    datasource: Short = ""
    stages: Annotated[list[BootStage], Meta(max_length=4)] = []
    log: Annotated[list[Sentence], Meta(max_length=200)] = []
    """The relevant lines, the oldest first."""


class BootReported(Message, frozen=True):
    """News of a guest's first boot. Sent again on every link until `BootAcknowledged`, which
    names the `number`: a guest's reports are counted up. Since version 3."""

    vm_id: Id
    number: Count
    boot: Boot


class StreamRefused(Message, frozen=True):
    stream_id: Id
    error: JobError


class Screenshot(Message, frozen=True):
    """A PNG of at most 320 times 240 pixels, or why there is none. Since version 2."""

    request_id: Id
    png: Annotated[bytes, Meta(max_length=100 * 1024)] | None = None
    error: JobError | None = None


FromAgent = (
    Hello
    | Snapshot
    | Usage
    | VmChanged
    | JobAccepted
    | JobProgress
    | JobFinished
    | BootReported
    | StreamRefused
    | Screenshot
)
