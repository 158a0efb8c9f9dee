"""Creating a VM: what is refused, in which words, and what stands in the rows after."""

import dataclasses
from typing import Any

import msgspec
import pytest
from django.db import connection

from agent.protocol import CreateVm, open_sealed
from hypervisors.models import Job, Status
from hypervisors.services.jobs import HostOfflineError, job_take_for_sending
from tenants.actor import SYSTEM, Actor
from tenants.errors import InvalidInputError, NameTakenError, RuleError
from tenants.models import AuditEvent
from tests.factories import (
    GIB,
    SSH_KEY,
    CustomerFactory,
    HypervisorFactory,
    ImageFactory,
    ImageVersionFactory,
    NetworkFactory,
    UserFactory,
    VirtualMachineFactory,
)
from vms.models import Disk, Nic, VirtualMachine
from vms.services.capacity import NotEnoughDiskError, NotEnoughMemoryError
from vms.services.creation import NicRequest, VmRequest, vm_create

SECRET = "correct horse 42"
SCRIPT = "#!/bin/sh\necho hush-hush > /root/x\n"

pytestmark = pytest.mark.django_db


@pytest.fixture
def host():
    host = HypervisorFactory()
    NetworkFactory(hypervisor=host, name="nat")
    return host


def wish(**changes: Any) -> VmRequest:
    request = VmRequest(
        name="web-1",
        image=changes.pop("image", None) or ImageVersionFactory().image,
        vcpus=2,
        memory_mib=2048,
        disks_gib=[10, 20],
        username="ada",
        password=SECRET,
        ssh_keys=[SSH_KEY],
        user_data=SCRIPT,
    )
    return dataclasses.replace(request, **changes)


def create(host, **changes: Any) -> tuple[VirtualMachine, Job]:
    return vm_create(actor=SYSTEM, hypervisor=host, request=wish(**changes))


def test_a_vm_being_created_has_its_rows_and_a_queued_job(host):
    vm, job = create(host)
    assert vm.state == VirtualMachine.State.CREATING
    assert vm.tenant == host.tenant
    assert [disk.size_gib for disk in vm.disks.all()] == [10, 20]
    assert [nic.address for nic in vm.nics.all()] == ["10.77.0.2"]
    assert job.status == Status.QUEUED
    assert job.kind == "vm.create"
    assert (job.subject_id, job.subject_name) == (vm.id, "web-1")


def test_the_host_is_told_everything_and_only_it_can_read_the_secrets(host):
    vm, job = create(host)
    _, words = job_take_for_sending(job.id)
    assert isinstance(words, CreateVm)
    assert words.vm_id == words.guest.instance_id == str(vm.id)
    assert [(disk.size, disk.boot) for disk in words.disks] == [(10 * GIB, True), (20 * GIB, False)]
    assert words.nics[0].address == "10.77.0.2/24"
    assert words.nics[0].network.gateway == "10.77.0.1"
    assert words.image.sha256 == vm.image_version.sha256
    plain = open_sealed(host.seal_private, words.guest.sealed_secrets, purpose=f"vm:{vm.id}")
    assert msgspec.msgpack.decode(plain) == {"password": SECRET, "user_data": SCRIPT}
    # Encoding checks every bound of the wire contract.
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(words), type=CreateVm) == words


def test_no_column_of_the_database_holds_a_secret_in_clear(host):
    user = UserFactory()
    vm_create(actor=Actor(user=user, ip="192.0.2.7"), hypervisor=host, request=wish())
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'select t::text from "{table}" t')  # noqa: S608
            text = " ".join(row[0] for row in cursor.fetchall())
            assert SECRET not in text, table
            assert "hush-hush" not in text, table
            # Binary columns come out in hex.
            assert SECRET.encode().hex() not in text, table
            assert b"hush-hush".hex() not in text, table


def test_the_audit_says_who_made_what_from_where(host):
    user = UserFactory(email="ada@example.com")
    vm, _ = vm_create(actor=Actor(user=user, ip="192.0.2.7"), hypervisor=host, request=wish())
    event = AuditEvent.objects.get(object_id=vm.id)
    assert (event.actor_name, event.ip, event.action) == (
        "ada@example.com",
        "192.0.2.7",
        "vm.create",
    )
    assert event.after["memory_mib"] == 2048
    assert event.after["has_password"] is True


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"name": "web 1"}, "name", "letters, digits and hyphens"),
        ({"name": "-web"}, "name", "letters, digits and hyphens"),
        ({"name": "w" * 64}, "name", "1 to 63"),
        ({"name": ""}, "name", "1 to 63"),
        ({"vcpus": 0}, "vcpus", "between 1 and 16"),
        ({"vcpus": 17}, "vcpus", "between 1 and 16"),
        ({"memory_mib": 128}, "memory_mib", "at least 256 MiB"),
        ({"memory_mib": 2**40}, "memory_mib", "at most"),
        ({"disks_gib": []}, "disks", "between 1 and 24"),
        ({"disks_gib": [10, 0]}, "disks", "between 1 and"),
        ({"disks_gib": [1]}, "disks", "boot disk of at least 2 GiB"),
        ({"username": "root"}, "username", "account of the system"),
        ({"username": "Ada"}, "username", "small letters"),
        ({"password": "short"}, "password", "at least 8"),
        ({"password": "two\nlines here"}, "password", "line break"),
        ({"password": None, "ssh_keys": []}, "password", "password or an SSH key"),
        ({"password": "", "ssh_keys": ["", " "]}, "password", "password or an SSH key"),
        ({"ssh_keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]}, "ssh_keys", "private key"),
        ({"ssh_keys": [SSH_KEY[:40]]}, "ssh_keys", "damaged or cut short"),
        ({"ssh_keys": ["hello"]}, "ssh_keys", "not an SSH public key"),
        ({"user_data": "echo hello"}, "user_data", "cloud-init does not know"),
        ({"nics": []}, "nics", "between 1 and 8"),
        ({"firmware": "efi"}, "firmware", "can't start guests with EFI"),
    ],
)
def test_bad_input_is_refused_with_a_sentence_and_leaves_nothing(host, changes, field, words):
    with pytest.raises(InvalidInputError, match=words) as refusal:
        create(host, **changes)
    assert refusal.value.field == field
    assert VirtualMachine.objects.count() == Disk.objects.count() == Nic.objects.count() == 0
    assert Job.objects.count() == AuditEvent.objects.count() == 0


def test_a_name_in_use_is_refused_whatever_its_case(host):
    VirtualMachineFactory(hypervisor=host, name="Web-1")
    with pytest.raises(NameTakenError, match="has a VM named “web-1” already"):
        create(host)


def test_another_tenant_may_use_the_same_name(host):
    VirtualMachineFactory(name="web-1")
    vm, _ = create(host)
    assert vm.name == "web-1"


def test_an_offline_host_is_refused_with_what_to_look_at(host):
    host.online = False
    host.save()
    with pytest.raises(HostOfflineError, match="Check its power and its internet connection"):
        create(host)
    assert VirtualMachine.objects.count() == 0


def test_memory_is_never_promised_twice(host):
    VirtualMachineFactory(hypervisor=host, memory_mib=30 * 1024)
    with pytest.raises(NotEnoughMemoryError, match="1536 MiB of memory left, and 2048 MiB"):
        create(host)
    vm, _ = create(host, memory_mib=1536)
    assert vm.memory_mib == 1536


def test_disk_that_other_guests_may_still_grow_into_is_taken(host):
    VirtualMachineFactory(hypervisor=host, disks=[460])
    with pytest.raises(NotEnoughDiskError, match="19 GiB of disk left, and 30 GiB"):
        create(host)
    Disk.objects.update(observed_allocation=200 * GIB)
    create(host)


def test_a_boot_disk_smaller_than_the_disk_in_the_image_is_refused(host):
    version = ImageVersionFactory(virtual_size=5 * GIB + 1, image=ImageFactory(min_disk_gib=1))
    with pytest.raises(InvalidInputError, match="boot disk of at least 6 GiB"):
        create(host, image=version.image, disks_gib=[5])


def test_an_image_of_another_customer_cant_be_used(host):
    version = ImageVersionFactory(image=ImageFactory(tenant=CustomerFactory()))
    with pytest.raises(InvalidInputError, match="Choose another"):
        create(host, image=version.image)


def test_an_image_of_the_msp_above_can_be_used(host):
    version = ImageVersionFactory(image=ImageFactory(tenant=host.tenant.parent))
    vm, _ = create(host, image=version.image)
    assert vm.image_version == version


def test_a_network_of_another_host_is_refused(host):
    elsewhere = NetworkFactory()
    with pytest.raises(InvalidInputError, match="is not one of"):
        create(host, nics=[NicRequest(network=elsewhere)])


def test_a_wanted_address_is_given_once(host):
    network = host.networks.get()
    vm, _ = create(host, nics=[NicRequest(network=network, address="10.77.0.77")])
    assert vm.nics.get().address == "10.77.0.77"
    with pytest.raises(RuleError, match="is in use") as refusal:
        create(host, name="web-2", nics=[NicRequest(network=network, address="10.77.0.77")])
    assert refusal.value.code == "address_taken"


def test_on_the_sites_dhcp_no_address_is_given_nor_taken(host):
    lan = NetworkFactory(hypervisor=host, bridged=True)
    vm, job = create(host, nics=[NicRequest(network=lan)])
    assert vm.nics.get().address is None
    _, words = job_take_for_sending(job.id)
    assert (words.nics[0].address, words.nics[0].network.bridge) == (None, "br0")
    with pytest.raises(InvalidInputError, match="site's own DHCP"):
        create(host, name="web-2", nics=[NicRequest(network=lan, address="192.0.2.9")])


def test_the_images_user_is_the_default(host):
    vm, _ = create(host, username="")
    assert vm.username == "debian"


def test_windows_line_ends_of_a_text_area_do_not_reach_the_guest(host):
    vm, job = create(host, user_data="#!/bin/sh\r\necho\r\n")
    _, words = job_take_for_sending(job.id)
    plain = open_sealed(host.seal_private, words.guest.sealed_secrets, purpose=f"vm:{vm.id}")
    assert msgspec.msgpack.decode(plain)["user_data"] == "#!/bin/sh\necho\n"
