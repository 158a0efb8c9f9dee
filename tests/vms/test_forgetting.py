"""A host that is gone for good is given up, together with what ran on it."""

import threading

import pytest
from django.db import connection

from hypervisors.models import Hypervisor, Job, Network
from hypervisors.services.jobs import HostOfflineError
from tenants.actor import SYSTEM
from tenants.models import AuditEvent, Role
from tenants.scope import bound
from tests.factories import (
    HypervisorFactory,
    JobFactory,
    MembershipFactory,
    NetworkFactory,
    UserFactory,
    VirtualMachineFactory,
)
from vms.models import VirtualMachine
from vms.services.changes import vm_delete
from vms.services.forgetting import HostIsOnlineError, host_forget


@pytest.fixture
def gone(db):
    host = HypervisorFactory(name="stolen", online=False)
    NetworkFactory(hypervisor=host)
    for name in ("mail", "files"):
        vm = VirtualMachineFactory(hypervisor=host, name=name)
        JobFactory(hypervisor=host, subject_id=vm.id)
    return host


def forget_path(host):
    return f"/api/v1/hypervisors/{host.id}/forget/"


def test_a_host_goes_with_its_vms_networks_and_jobs_and_each_loss_is_on_record(gone):
    elsewhere = VirtualMachineFactory(hypervisor=HypervisorFactory(site=gone.site))
    assert host_forget(actor=SYSTEM, hypervisor=gone) == 2
    assert list(VirtualMachine.objects.all()) == [elsewhere]
    assert not Job.objects.exists()
    assert not Network.objects.filter(hypervisor=gone).exists()
    assert sorted(AuditEvent.objects.values_list("action", "object_name")) == [
        ("hypervisor.remove", "stolen"),
        ("vm.forget", "files"),
        ("vm.forget", "mail"),
    ]


def test_a_host_that_answers_keeps_its_vms(db):
    vm = VirtualMachineFactory()
    with pytest.raises(HostIsOnlineError, match="Delete its VMs"):
        host_forget(actor=SYSTEM, hypervisor=vm.hypervisor)
    assert VirtualMachine.objects.exists()
    assert not AuditEvent.objects.exists()


def test_its_vms_could_not_be_deleted_one_by_one(gone):
    with pytest.raises(HostOfflineError):
        vm_delete(actor=SYSTEM, vm=gone.virtual_machines.first())


@pytest.mark.django_db(transaction=True)
def test_two_who_forget_it_at_once_forget_it_once():
    host = HypervisorFactory(online=False)
    VirtualMachineFactory(hypervisor=host)
    outcomes = []

    def forget():
        try:
            outcomes.append(host_forget(actor=SYSTEM, hypervisor=host))
        except Hypervisor.DoesNotExist:
            outcomes.append("gone")
        finally:
            connection.close()

    threads = [threading.Thread(target=bound(forget)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes, key=str) == [1, "gone"]
    assert AuditEvent.objects.filter(action="vm.forget").count() == 1


def test_the_api_forgets_it(gone, api_as):
    owner = api_as(MembershipFactory(role="msp-owner", tenant=gone.tenant.parent).user)
    assert owner.post(forget_path(gone)).status_code == 204
    assert owner.get(f"/api/v1/hypervisors/{gone.id}/").status_code == 404
    assert owner.post(forget_path(gone)).status_code == 404


def test_one_who_comes_a_moment_too_late_gets_a_404(gone, api_as, monkeypatch, client):
    user = MembershipFactory(role="msp-owner", tenant=gone.tenant.parent).user

    def forgotten_meanwhile(**_):
        raise Hypervisor.DoesNotExist

    monkeypatch.setattr("vms.api.host_views.host_forget", forgotten_meanwhile)
    assert api_as(user).post(forget_path(gone)).status_code == 404
    monkeypatch.setattr("portal.views.hosts.hypervisor_remove", forgotten_meanwhile)
    client.force_login(user)
    path = f"/c/{gone.tenant.slug}/hosts/{gone.name}/remove/"
    assert client.post(path, {"remove-name": gone.name}).status_code == 404


def test_another_tenants_host_is_a_404_and_a_technician_without_the_right_to_delete_is_refused(
    gone, api_as
):
    stranger = api_as(MembershipFactory(role="msp-owner").user)
    assert stranger.post(forget_path(gone)).status_code == 404
    role = Role.objects.create(slug="racker", name="Racker", permissions=["hypervisor.manage"])
    membership = MembershipFactory.build(tenant=gone.tenant, user=UserFactory(), role=role)
    membership.save()
    answer = api_as(membership.user).post(forget_path(gone))
    assert answer.status_code == 403
    assert "vm.delete" in answer.json()["error"]["message"]
    assert VirtualMachine.objects.count() == 2
