"""The rule that wants a second person: from how many things on, whose it is, and who loosens it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from hypervisors.models import Hypervisor, Job
from tenants.actor import Actor
from tenants.models import AuditEvent, Membership, SecondPersonRule, Tenant
from tenants.scope import scope_of
from tenants.services.second_person import cannot_decide
from tenants.services.second_person_rules import (
    NobodyToAgreeError,
    NotOfTheHouseError,
    SecondPersonNeededError,
)
from tenants.services.tenant_removal import tenant_remove
from tests.factories import CustomerFactory, HypervisorFactory, ImageFactory, VirtualMachineFactory
from tests.second_person.conftest import jobs
from vms.services.changes import vm_delete
from vms.services.forgetting import host_forget
from vms.services.images import image_retire
from vms.services.power import vm_reboot, vm_shutdown, vm_stop

pytestmark = pytest.mark.django_db


def test_without_a_rule_one_person_deletes_as_many_as_they_like(scene):
    for vm in scene.vms:
        scene.delete(vm)
    assert len(jobs()) == 3


def test_one_by_one_goes_until_the_number_is_reached_within_ten_minutes(scene, monkeypatch):
    scene.rule(3)
    scene.delete(scene.vms[0])
    with scope_of(scene.ada):
        vm_stop(actor=Actor(user=scene.ada), vm=scene.vms[1])
    with pytest.raises(SecondPersonNeededError, match="before 3 or more things"):
        scene.delete(scene.vms[2])
    # What the same person did to the same VM is one thing.
    Job.objects.all().delete()
    scene.delete(scene.vms[1])
    # A colleague has a count of their own, and all is forgotten after the window.
    with scope_of(scene.ben):
        vm_shutdown(actor=Actor(user=scene.ben), vm=scene.vms[2])
    Job.objects.all().delete()
    later = timezone.now() + timedelta(minutes=11)
    monkeypatch.setattr("tenants.services.second_person_rules.timezone.now", lambda: later)
    scene.delete(scene.vms[2])


def test_from_one_on_nothing_is_destroyed_alone_by_any_way(scene):
    scene.rule(1)
    away = HypervisorFactory(site=scene.host.site, name="away", online=False)
    VirtualMachineFactory(hypervisor=away, name="far")
    image = ImageFactory(tenant=scene.customer)
    actor, tech = Actor(user=scene.ada), Actor(user=scene.tess)
    vm = scene.vms[0]
    for who, act in (
        (actor, lambda: vm_delete(actor=actor, vm=vm)),
        (actor, lambda: vm_stop(actor=actor, vm=vm)),
        (actor, lambda: vm_reboot(actor=actor, vm=vm, force=True)),
        (tech, lambda: host_forget(actor=tech, hypervisor=away)),
        (tech, lambda: image_retire(actor=tech, image=image)),
    ):
        with scope_of(who.user), pytest.raises(SecondPersonNeededError, match="before anything"):
            act()
    with scope_of(scene.ada):
        vm_reboot(actor=actor, vm=vm)
    assert jobs() == [("vm.reboot", "web")]
    assert AuditEvent.objects.filter(action="vm.delete").count() == 0


def test_forgetting_a_host_counts_its_vms(scene):
    scene.rule(3)
    away = HypervisorFactory(site=scene.host.site, name="away", online=False)
    two = [VirtualMachineFactory(hypervisor=away, name=name) for name in ("a", "b")]
    with scope_of(scene.tess), pytest.raises(SecondPersonNeededError):
        host_forget(actor=Actor(user=scene.tess), hypervisor=away)
    two[0].delete()
    with scope_of(scene.tess):
        host_forget(actor=Actor(user=scene.tess), hypervisor=away)
    assert not Hypervisor.objects.filter(name="away").exists()


def test_a_customer_is_deleted_by_two_where_its_msp_wants_it_so(scene):
    scene.rule(1, scene.msp, scene.owner)
    olaf = scene.member("Olaf", scene.msp, "msp-owner")
    leaving = CustomerFactory(parent=scene.msp, name="Leaving")
    with scope_of(scene.owner), pytest.raises(SecondPersonNeededError):
        tenant_remove(actor=Actor(user=scene.owner), tenant=leaving)
    request = scene.ask([leaving], scene.owner, "tenant.remove")
    assert request.tenant == scene.msp
    done = scene.decide(request, olaf)
    assert (done.state, done.done) == ("done", 1)
    assert not Tenant.objects.filter(name="Leaving").exists()


def test_rules_are_a_tenants_own_and_nobody_elses(scene):
    scene.rule()
    for tenant, user in (
        (scene.customer, scene.owner),
        (scene.customer, scene.tess),
        (scene.msp, scene.ada),
        (scene.customer, scene.member("Op", role="customer-operator")),
    ):
        with pytest.raises(NotOfTheHouseError):
            scene.rule(1, tenant, user)
    scene.rule(5, scene.msp, scene.owner)
    # Both hold, below.
    scene.delete(scene.vms[0])
    with pytest.raises(SecondPersonNeededError, match="Alder wants"):
        scene.delete(scene.vms[1])
    event = AuditEvent.objects.filter(action="second_person.rule").earliest("created_at")
    assert (event.before, event.after) == (
        {"second_person_from": None},
        {"second_person_from": 2},
    )


def test_the_msps_rule_holds_for_people_of_the_customer_who_dont_see_it(scene):
    scene.rule(2, scene.msp, scene.owner)
    scene.delete(scene.vms[0])
    with pytest.raises(SecondPersonNeededError, match="Northwind wants"):
        scene.delete(scene.vms[1])


def test_a_rule_is_loosened_by_two_and_tightened_by_one(scene):
    scene.rule(5)
    scene.rule(3)
    for less in (4, None):
        with pytest.raises(SecondPersonNeededError):
            scene.rule(less)
    rule = SecondPersonRule.objects.get()
    request = scene.ask([rule], kind="second_person.loosen")
    assert "one person is enough" in request.things[0]["loss"]
    with scope_of(scene.owner):
        # Not of the house, so not the second person either.
        assert cannot_decide(scene.owner, request)
    done = scene.decide(request)
    assert done.done == 1
    assert not SecondPersonRule.objects.exists()


def test_where_there_is_one_person_alone_it_can_not_be_switched_on(scene):
    Membership.objects.exclude(user=scene.ada).delete()
    with pytest.raises(NobodyToAgreeError, match="Invite a second one"):
        scene.rule()
