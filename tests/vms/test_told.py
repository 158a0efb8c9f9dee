"""What a VM being created is to tell its guest: in clear, sealed, with variables, as parts."""

from typing import Any

import msgspec
import pytest

from agent.protocol import open_sealed
from tenants.actor import SYSTEM
from tenants.errors import InvalidInputError
from tenants.services.custom_fields import custom_fields_set
from tests.factories import HypervisorFactory, NetworkFactory
from tests.vms.test_creation import create
from vms.services.setup import Setup

pytestmark = pytest.mark.django_db


@pytest.fixture
def host():
    host = HypervisorFactory(name="rack-1")
    NetworkFactory(hypervisor=host, name="nat")
    return host


def opened(host, vm) -> dict[str, Any]:
    plain = open_sealed(host.seal_private, bytes(vm.sealed_secrets), purpose=f"vm:{vm.id}")
    return msgspec.msgpack.decode(plain)


def test_what_is_not_secret_is_kept_with_its_variables_and_can_be_read(host):
    vm, _ = create(
        host,
        user_data="#!/bin/sh\necho {{ ip }}\n",
        secret_user_data=False,
        setup=Setup(packages=["nginx"]),
        tags={" role ": "web"},
    )
    assert "nginx" in vm.user_data
    assert "{{ ip }}" in vm.user_data
    assert vm.tags == {"role": "web"}
    assert opened(host, vm)["user_data"] is None


def test_what_is_secret_is_sealed_beside_what_is_not(host):
    vm, _ = create(host, user_data="#!/bin/sh\necho s3cret\n", setup=Setup(upgrade=True))
    assert "s3cret" not in vm.user_data
    assert "package_upgrade" in vm.user_data
    assert opened(host, vm)["user_data"] == "#!/bin/sh\necho s3cret\n"


@pytest.mark.parametrize("secret", [True, False])
def test_a_variable_that_there_is_not_is_refused_and_nothing_is_made(host, secret):
    text = "#!/bin/sh\necho {{ nonsense }}\n"
    with pytest.raises(InvalidInputError, match="no variable"):
        create(host, user_data=text, secret_user_data=secret)


def test_a_value_that_would_break_the_yaml_is_said_before_a_guest_is_made(host):
    custom_fields_set(actor=SYSTEM, owner=host.tenant, fields={"motto": "it's: [broken"})
    text = "#cloud-config\nmotto: '{{ customer.motto }}'\n"
    with pytest.raises(InvalidInputError, match="not valid YAML"):
        create(host, user_data=text, secret_user_data=False)


@pytest.mark.parametrize("tags", [{"": "x"}, {"a\n": "x\ny"}, {"k": "x" * 257}, {"ö": ""}])
def test_a_tag_that_cant_be_told_is_refused(host, tags):
    with pytest.raises(InvalidInputError) as refusal:
        create(host, tags=tags)
    assert refusal.value.field == "tags"


def test_a_host_of_the_protocol_before_gets_all_of_it_sealed_and_filled_in(host):
    host.protocol = 2
    host.save()
    vm, _ = create(host, user_data="#!/bin/sh\necho {{ host.name }}\n", setup=Setup(upgrade=True))
    assert vm.user_data == ""
    told = opened(host, vm)["user_data"]
    assert "echo rack-1" in told
    assert "package_upgrade" in told
