"""The wire: what one side says the other understands, and nothing else gets in."""

import uuid

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import protocol

JOB = str(uuid.uuid4())
VM = str(uuid.uuid4())

FROM_AGENT = [
    protocol.JobAccepted(job_id=JOB),
    protocol.JobProgress(job_id=JOB, percent=43, step="Downloading the image"),
    protocol.JobFinished(
        job_id=JOB, error=protocol.JobError(code="not_enough_disk", message="Free 3 GiB.")
    ),
    protocol.VmChanged(vm_id=VM, vm=None),
    protocol.VmChanged(vm_id=VM, vm=protocol.VmReport(vm_id=VM, power="running")),
    protocol.Usage(cpu_percent=3, memory_used_mib=900, disk_used=10**12),
]
FROM_PORTAL = [
    protocol.Challenge(nonce=bytes(32), versions=[1]),
    protocol.JobRequest(job_id=JOB, deadline=1.0, arguments=protocol.StartVm(vm_id=VM)),
    protocol.OpenStream(stream_id=JOB, vm_id=VM, kind="vnc"),
]


@pytest.mark.parametrize("message", FROM_AGENT, ids=lambda message: type(message).__name__)
def test_the_portal_reads_what_the_agent_says(message):
    assert protocol.decode_from_agent(protocol.encode(message)) == message


@pytest.mark.parametrize("message", FROM_PORTAL, ids=lambda message: type(message).__name__)
def test_the_agent_reads_what_the_portal_says(message):
    assert protocol.decode_from_portal(protocol.encode(message)) == message


@pytest.mark.parametrize("message", FROM_PORTAL, ids=lambda message: type(message).__name__)
def test_an_agent_cannot_speak_as_the_portal(message):
    with pytest.raises(protocol.ProtocolError):
        protocol.decode_from_agent(protocol.encode(message))


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "JobProgress", "job_id": JOB, "percent": 101, "step": "x"},
        {"type": "JobProgress", "job_id": JOB, "percent": 1, "step": "x" * 256},
        {"type": "JobProgress", "job_id": "../../etc", "percent": 1, "step": "x"},
        {"type": "JobProgress", "job_id": JOB.upper() + "\n", "percent": 1, "step": "x"},
        {"type": "VmChanged", "vm_id": VM, "vm": {"vm_id": VM, "power": "levitating"}},
        {"type": "JobFinished", "job_id": JOB, "error": {"code": "Bad Code", "message": "m"}},
        {"type": "NoSuchMessage"},
        ["JobAccepted"],
    ],
)
def test_a_message_out_of_bounds_is_not_read(wrong):
    with pytest.raises(protocol.ProtocolError):
        protocol.decode_from_agent(msgspec.msgpack.encode(wrong))


def test_a_message_over_the_limit_is_refused_before_it_is_parsed():
    with pytest.raises(protocol.ProtocolError, match="limit"):
        protocol.decode_from_agent(bytes(protocol.MAX_MESSAGE_BYTES + 1))


def test_deep_nesting_is_an_error_and_no_crash():
    with pytest.raises(protocol.ProtocolError):
        protocol.decode_from_agent(b"\x91" * 200_000)


@given(st.binary(max_size=512))
def test_any_bytes_either_decode_or_are_a_protocol_error(data):
    try:
        message = protocol.decode_from_agent(data)
    except protocol.ProtocolError:
        return
    assert protocol.decode_from_agent(protocol.encode(message)) == message


def test_every_version_has_a_line_of_history():
    assert list(protocol.HISTORY) == list(range(1, protocol.VERSION + 1))


def test_text_that_is_no_text_is_refused_like_any_other_nonsense():
    frame = protocol.encode(protocol.JobProgress(job_id=JOB, percent=1, step="step"))
    with pytest.raises(protocol.ProtocolError):
        protocol.decode_from_agent(frame.replace(b"step", b"st\xffp"))
