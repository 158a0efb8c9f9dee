"""A guest's screen as a small picture: who gets it, how often it is taken, what passes for one."""

import struct
import uuid
import zlib

import pytest
from django.core.cache import cache

from agent.pictures import write_png
from agent.protocol import JobError, Screenshot, TakeScreenshot, VmReport
from hypervisors.services.screens import (
    PictureInvalidError,
    picture_check,
    screen_latest,
    screen_store,
)
from hypervisors.sockets import in_database
from tests.factories import MembershipFactory, VirtualMachineFactory
from tests.hypervisors.fake_agent import FakeAgent, snapshot_of
from tests.hypervisors.running_portal import eventually
from vms.models import VirtualMachine

GREEN = write_png(32, [b"\x10\x80\x20" * 32] * 20)
PIXELS = zlib.compress((b"\0" + b"\x10\x80\x20" * 32) * 20)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(*chunks):
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in chunks)


def header(width=32, height=20, *form):
    return (b"IHDR", struct.pack(">IIBBBBB", width, height, *(form or (8, 2, 0, 0, 0))))


BODY, END = (b"IDAT", PIXELS), (b"IEND", b"")


@pytest.fixture
def vm(db):
    return VirtualMachineFactory()


@pytest.fixture
def technician(vm, api_as):
    return api_as(MembershipFactory(tenant=vm.tenant, role="customer-operator").user)


def address(vm):
    return f"/api/v1/vms/{vm.pk}/screen/"


def kept(vm, **answer):
    screen_store(vm_id=str(vm.pk), answer=Screenshot(request_id=str(uuid.uuid4()), **answer))


# ------------------------------------------------------------------ from end to end


async def test_a_picture_comes_from_the_guest_to_who_asked(portal, api_as):
    vm = await in_database(VirtualMachineFactory)
    user = (await in_database(MembershipFactory, tenant=vm.tenant)).user
    client = await in_database(api_as, user)
    running = snapshot_of(VmReport(vm_id=str(vm.pk), power="running"), accelerator="kvm")
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open(running)
        seen = VirtualMachine.objects.filter(hypervisor__facts__accelerator="kvm")
        await eventually(seen.filter(hypervisor__facts__hostname="fake.example").exists)
        assert (await in_database(client.post, address(vm))).status_code == 202
        asked = await agent.hear(TakeScreenshot)
        assert asked.vm_id == str(vm.pk)
        # Others look too: the host takes one picture for all of them.
        assert (await in_database(client.post, address(vm))).status_code == 202
        assert await agent.silent()
        await agent.say(Screenshot(request_id=asked.request_id, png=GREEN))
        await eventually(lambda: screen_latest(vm.pk))
        answer = await in_database(client.post, address(vm))
    assert (answer.status_code, answer.content) == (200, GREEN)
    assert answer["Content-Type"] == "image/png"
    assert answer["Cache-Control"] == "no-store"
    assert answer["X-Content-Type-Options"] == "nosniff"


async def test_a_host_can_show_only_what_it_was_asked_for(portal):
    vm = await in_database(VirtualMachineFactory)
    async with FakeAgent(portal, vm.hypervisor) as agent:
        await agent.open()
        for request_id in (str(uuid.uuid4()), str(vm.pk)):
            await agent.say(Screenshot(request_id=request_id, png=GREEN))
        await agent.say(snapshot_of(hostname="afterwards"))
        host = type(vm.hypervisor).objects
        await eventually(lambda: host.filter(facts__hostname="afterwards").exists())
    assert await in_database(screen_latest, vm.pk) is None


# ------------------------------------------------------------------ who, and when


def test_who_may_only_look_at_the_vm_does_not_see_its_screen(vm, api_as):
    kept(vm, png=GREEN)
    viewer = api_as(MembershipFactory(tenant=vm.tenant, role="customer-viewer").user)
    assert viewer.post(address(vm)).status_code == 403
    stranger = api_as(MembershipFactory(role="customer-administrator").user)
    assert stranger.post(address(vm)).status_code == 404


@pytest.mark.parametrize(
    ("changes", "host", "words"),
    [
        ({"observed_power": "off"}, {}, "is off"),
        ({"state": "missing"}, {}, "is off"),
        ({}, {"online": False}, "offline"),
        ({}, {"facts": {"accelerator": "simulated"}}, "simulated"),
        ({}, {"protocol": 1}, "older than this portal"),
    ],
)
def test_without_a_screen_a_sentence_says_why(vm, technician, changes, host, words):
    kept(vm, png=GREEN)
    type(vm).objects.update(**changes)
    type(vm.hypervisor).objects.update(**host)
    answer = technician.post(address(vm))
    assert answer.status_code == 409
    assert words in answer.json()["error"]["message"]


def test_what_the_host_says_instead_of_a_picture_is_told(vm, technician):
    kept(vm, error=JobError(code="busy", message="The VM's screen did not answer in time."))
    answer = technician.post(address(vm))
    assert answer.status_code == 409
    assert answer.json()["error"]["message"] == "The VM's screen did not answer in time."


def test_a_picture_is_kept_for_seconds_only(vm):
    kept(vm, png=GREEN)
    left = cache._cache.get_client(None).ttl(cache.make_key(f"screen:{vm.pk}"))
    assert 0 < left <= 20


# ------------------------------------------------------------------ what passes for a picture


def test_what_the_agent_makes_passes(vm):
    picture_check(GREEN)
    kept(vm, png=GREEN)
    assert screen_latest(vm.pk).png == GREEN


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<script>alert(1)</script>",
        b"GIF89a" + bytes(20),
        GREEN[:-1],
        GREEN + b"<script>alert(1)</script>",
        GREEN.replace(b"IDAT", b"IDAX"),
        GREEN[:50] + b"\xff" + GREEN[51:],
        png(header(), END),
        png(BODY, header(), END),
        png(header(), BODY),
        png(header(), (b"tEXt", b"Comment\0<script>"), BODY, END),
        png(header(), BODY, (b"IEND", b"more")),
        png(header(4000, 20), BODY, END),
        png(header(32, 0), BODY, END),
        png(header(32, 19), BODY, END),
        png(header(32, 21), BODY, END),
        png(header(32, 20, 8, 3, 0, 0, 0), BODY, END),
        png(header(32, 20, 8, 2, 0, 0, 1), BODY, END),
        png(header(), (b"IDAT", b"not packed"), END),
        png(header(), (b"IDAT", PIXELS + b"behind"), END),
        png(header(), (b"IDAT", zlib.compress(bytes(10**7))), END),
        struct.pack(">8sI4s", b"\x89PNG\r\n\x1a\n", 2**32 - 1, b"IHDR") + bytes(40),
    ],
)
def test_anything_else_is_never_kept(vm, data):
    with pytest.raises(PictureInvalidError):
        picture_check(data)
    kept(vm, png=data)
    assert screen_latest(vm.pk) is None
