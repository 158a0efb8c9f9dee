"""The one wire contract between portal and agent, imported by both sides.

Messages are msgspec structs, tagged by name, encoded as msgpack in binary WebSocket
frames. Everything an agent sends is hostile input to the portal, and every field that
can grow is bounded here, so that decoding is also validation.

Rules for a change: add fields only at the end and with a default; bump `VERSION` with a
line in `HISTORY` for each change that an older peer would not understand. The portal
accepts `VERSION` and `VERSION - 1`.
"""

from agent.protocol.codec import (
    MAX_MESSAGE_BYTES,
    ProtocolError,
    decode_from_agent,
    decode_from_portal,
    encode,
)
from agent.protocol.crypto import (
    SealError,
    SignatureError,
    generate_seal_key,
    generate_sign_key,
    link_statement,
    open_sealed,
    request_statement,
    seal,
    sign,
    stream_statement,
    verify,
)
from agent.protocol.jobs import (
    CreateVm,
    DeleteVm,
    DiskSpec,
    GuestSpec,
    ImageSource,
    JobArguments,
    NetworkSpec,
    NicSpec,
    RebootVm,
    RenameVm,
    ResizeVm,
    ShutdownVm,
    StartVm,
    StopVm,
)
from agent.protocol.messages import (
    Bridge,
    Challenge,
    DiskReport,
    FromAgent,
    FromPortal,
    Hello,
    HostFacts,
    JobAccepted,
    JobAcknowledged,
    JobError,
    JobFinished,
    JobProgress,
    JobRequest,
    NicReport,
    OpenStream,
    Refused,
    Snapshot,
    StreamRefused,
    Usage,
    VmChanged,
    VmReport,
    Welcome,
)

VERSION = 1
HISTORY = {
    1: "First version: link, jobs for virtual machines, inventory, console streams.",
}

__all__ = [
    "HISTORY",
    "MAX_MESSAGE_BYTES",
    "VERSION",
    "Bridge",
    "Challenge",
    "CreateVm",
    "DeleteVm",
    "DiskReport",
    "DiskSpec",
    "FromAgent",
    "FromPortal",
    "GuestSpec",
    "Hello",
    "HostFacts",
    "ImageSource",
    "JobAccepted",
    "JobAcknowledged",
    "JobArguments",
    "JobError",
    "JobFinished",
    "JobProgress",
    "JobRequest",
    "NetworkSpec",
    "NicReport",
    "NicSpec",
    "OpenStream",
    "ProtocolError",
    "RebootVm",
    "Refused",
    "RenameVm",
    "ResizeVm",
    "SealError",
    "ShutdownVm",
    "SignatureError",
    "Snapshot",
    "StartVm",
    "StopVm",
    "StreamRefused",
    "Usage",
    "VmChanged",
    "VmReport",
    "Welcome",
    "decode_from_agent",
    "decode_from_portal",
    "encode",
    "generate_seal_key",
    "generate_sign_key",
    "link_statement",
    "open_sealed",
    "request_statement",
    "seal",
    "sign",
    "stream_statement",
    "verify",
]
