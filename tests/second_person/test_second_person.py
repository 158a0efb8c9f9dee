"""A second person: what many things are destroyed by, two people want."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import connections
from django.utils import timezone

from hypervisors.models import Hypervisor, Job
from tenants.actor import AGREED, Actor
from tenants.models import AuditEvent, Membership, SecondPersonRequest, SecondPersonRule, Tenant
from tenants.scope import bound, scope_of
from tenants.services.second_person import (
    AlreadyAskedError,
    AlreadyDecidedError,
    NotTheSecondPersonError,
    cannot_decide,
    rows_wanted,
    second_person_ask,
    second_person_carry_out,
    second_person_decide,
    second_person_resume,
    second_person_withdraw,
)
from tenants.services.second_person_kinds import kind_named
from tenants.services.second_person_rules import (
    NobodyToAgreeError,
    NotOfTheHouseError,
    SecondPersonNeededError,
    second_person_rule_set,
)
from tenants.services.tenant_removal import tenant_remove
from tests.factories import (
    CustomerFactory,
    HypervisorFactory,
    ImageFactory,
    MembershipFactory,
    MspFactory,
    VirtualMachineFactory,
    deny,
    grant,
)
from vms.models import VirtualMachine
from vms.services.changes import vm_delete
from vms.services.forgetting import host_forget
from vms.services.images import image_retire
from vms.services.power import vm_reboot, vm_shutdown, vm_stop

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_limits():
    cache.clear()


class Scene:
    """A customer with three VMs, two people who may delete them, and two of its MSP."""

    def __init__(self):
        self.msp = MspFactory(name="Northwind")
        self.vms = [
            VirtualMachineFactory(
                name="web",
                hypervisor__site__tenant__parent=self.msp,
                hypervisor__site__tenant__name="Alder",
            )
        ]
        self.host = self.vms[0].hypervisor
        self.customer = self.vms[0].tenant
        self.vms += [VirtualMachineFactory(name=n, hypervisor=self.host) for n in ("db", "mail")]
        self.ada = self.member("Ada")
        self.ben = self.member("Ben")
        self.tess = self.member("Tess", self.msp, "msp-technician")
        self.owner = self.member("Olga", self.msp, "msp-owner")

    def member(self, name, tenant=None, role="customer-administrator"):
        return MembershipFactory(tenant=tenant or self.customer, role=role, user__name=name).user

    def rule(self, threshold=2, tenant=None, user=None):
        user = user or self.ada
        with scope_of(user):
            second_person_rule_set(
                actor=Actor(user=user), tenant=tenant or self.customer, threshold=threshold
            )

    def ask(self, rows=None, user=None, kind="vm.delete", option=""):
        user, rows = user or self.ada, self.vms if rows is None else rows
        with scope_of(user):
            found = rows_wanted(kind_named(kind), user, [row.pk for row in rows])
            [request] = second_person_ask(
                actor=Actor(user=user),
                kind=kind_named(kind),
                rows=found,
                reason="We move.",
                option=option,
            )
        return request

    def decide(self, request, user=None, agree=True):
        user = user or self.ben
        with scope_of(user):
            decided = second_person_decide(actor=Actor(user=user), request=request, agree=agree)
            return second_person_carry_out(decided.pk) if agree else decided

    def delete(self, vm, user=None, **options):
        user = user or self.ada
        with scope_of(user):
            return vm_delete(actor=Actor(user=user), vm=vm, **options)


@pytest.fixture
def scene():
    return Scene()


def jobs():
    return sorted(Job.objects.values_list("kind", "subject_name"))


# ------------------------------------------------------------------ the rule


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


# ------------------------------------------------------------------ asking and agreeing


def test_asked_and_agreed_to_it_is_done_once_and_both_are_named(scene):
    scene.rule()
    request = scene.ask()
    assert not jobs()
    done = scene.decide(request)
    assert (done.state, done.done, done.skipped) == ("done", 3, [])
    assert jobs() == [("vm.delete", name) for name in ("db", "mail", "web")]
    assert set(Job.objects.values_list("requested_by", flat=True)) == {scene.ada.pk}
    deleted = AuditEvent.objects.filter(action="vm.delete")
    assert {(event.actor, event.credential) for event in deleted} == {(scene.ada, AGREED)}
    agreed = AuditEvent.objects.get(action="second_person.agree")
    assert (agreed.actor, agreed.after["asker"]) == (scene.ben, scene.ada.email)
    finished = AuditEvent.objects.get(action="second_person.done")
    assert (finished.after["asker"], finished.after["second_person"], finished.after["done"]) == (
        scene.ada.email, scene.ben.email, 3,
    )  # fmt: skip
    with pytest.raises(AlreadyDecidedError, match="done already by Ben"):
        scene.decide(request, scene.tess)
    # What two agreed on does not count against the one who asked.
    other = VirtualMachineFactory(name="other", hypervisor=scene.host)
    scene.delete(other)


def test_nobody_agrees_with_themselves_nor_a_service_account(scene):
    scene.rule()
    request = scene.ask()
    with pytest.raises(NotTheSecondPersonError, match="Nobody agrees with themselves"):
        scene.decide(request, scene.ada)
    scene.ben.is_service = True
    with pytest.raises(NotTheSecondPersonError, match="not a service account"):
        scene.decide(request, scene.ben)
    assert not jobs()


def test_whoever_may_not_do_it_to_all_of_it_neither_agrees_nor_refuses(scene):
    scene.rule()
    request = scene.ask()
    operator = scene.member("Op", role="customer-operator")
    for agree in (True, False):
        with pytest.raises(NotTheSecondPersonError, match="does not let you do this to all"):
            scene.decide(request, operator, agree=agree)
    # Who is kept from one of them does not even see it; nor does who has just one.
    deny(scene.tess, scene.vms[1])
    one = scene.member("One", CustomerFactory(parent=scene.msp))
    grant(one, scene.vms[0], role="customer-administrator")
    for user in (scene.tess, one):
        with scope_of(user):
            assert not SecondPersonRequest.objects.allowed(user, "agreement.manage").exists()
        with pytest.raises(NotTheSecondPersonError):
            scene.decide(request, user)


def test_who_holds_a_whole_site_agrees_to_what_is_there(scene):
    scene.rule()
    request = scene.ask()
    site = scene.member("Site", CustomerFactory(parent=scene.msp))
    grant(site, scene.host.site, role="customer-administrator")
    with scope_of(site):
        assert SecondPersonRequest.objects.allowed(site, "agreement.manage").get() == request
    assert scene.decide(request, site).done == 3


def test_refused_or_taken_back_nothing_is_done_and_it_can_be_asked_again(scene):
    scene.rule()
    first = scene.ask()
    with pytest.raises(AlreadyAskedError, match="Ada has asked for"):
        scene.ask(scene.vms[:1], scene.ben)
    assert scene.decide(first, agree=False).state == "refused"
    second = scene.ask()
    with scope_of(scene.ben), pytest.raises(NotTheSecondPersonError, match="Only who asked"):
        second_person_withdraw(actor=Actor(user=scene.ben), request=second)
    with scope_of(scene.ada):
        second_person_withdraw(actor=Actor(user=scene.ada), request=second)
    with pytest.raises(AlreadyDecidedError, match="taken back already"):
        scene.decide(second)
    assert not jobs()
    assert scene.ask() not in (first, second)


def test_after_a_day_it_is_over(scene):
    scene.rule()
    request = scene.ask()
    SecondPersonRequest.objects.update(expires_at=timezone.now())
    with pytest.raises(AlreadyDecidedError, match="over already"):
        scene.decide(request)
    assert not jobs()


def test_where_nobody_else_could_agree_that_is_said_at_once(scene):
    scene.rule()
    Membership.objects.exclude(user=scene.ada).update(expires_at=timezone.now())
    with pytest.raises(NobodyToAgreeError, match="invite somebody"):
        scene.ask()


def test_what_is_gone_or_changed_meanwhile_is_left_alone_and_told(scene):
    scene.rule()
    request = scene.ask()
    scene.vms[0].delete()
    disk = scene.vms[1].disks.get()
    disk.size_gib = 400
    disk.save()
    done = scene.decide(request)
    assert done.done == 1
    told = {thing["name"]: thing["told"] for thing in done.skipped}
    assert told["web"] == "it is gone already"
    assert "it changed since it was asked about" in told["db"]
    assert "400 GiB" in told["db"]
    assert jobs() == [("vm.delete", "mail")]


def test_a_rule_of_the_thing_itself_still_holds(scene):
    scene.rule()
    request = scene.ask()
    Hypervisor.objects.update(online=False)
    done = scene.decide(request)
    assert done.done == 0
    assert "offline" in done.skipped[0]["told"]


@pytest.mark.parametrize("who", ["ada", "ben"])
def test_both_peoples_permissions_are_looked_at_anew_for_each_row(scene, who):
    scene.rule()
    request = scene.ask()
    with scope_of(scene.ben):
        second_person_decide(actor=Actor(user=scene.ben), request=request, agree=True)
    # Between agreeing and doing.
    deny(getattr(scene, who), scene.vms[0])
    done = second_person_carry_out(request.pk)
    assert {thing["name"] for thing in done.skipped} == {"web"}
    assert "may not do this any more" in done.skipped[0]["told"]
    assert jobs() == [("vm.delete", "db"), ("vm.delete", "mail")]


def test_whose_account_was_closed_has_nothing_done_in_their_name(scene):
    scene.rule()
    request = scene.ask()
    scene.ada.is_active = False
    scene.ada.save()
    assert scene.decide(request).done == 0
    assert not jobs()


def test_what_the_portal_died_over_is_done_to_its_end_once(scene, monkeypatch):
    scene.rule()
    request = scene.ask()
    with scope_of(scene.ben):
        second_person_decide(actor=Actor(user=scene.ben), request=request, agree=True)
    from tenants.services import second_person

    assert second_person._next_done(request.pk)
    assert second_person_resume() == 0
    SecondPersonRequest.objects.update(decided_at=timezone.now() - timedelta(minutes=2))
    assert second_person_resume() == 1
    assert second_person_resume() == 0
    assert len(jobs()) == 3
    request.refresh_from_db()
    assert (request.state, request.done) == ("done", 3)


def test_disks_that_are_kept_are_kept(scene):
    scene.rule(1)
    with pytest.raises(SecondPersonNeededError) as needed:
        scene.delete(scene.vms[0], keep_disks=True)
    request = scene.ask(scene.vms[:1], option=needed.value.option)
    assert "its disks stay on the host" in request.things[0]["loss"]
    scene.decide(request)
    assert Job.objects.get().arguments == {"keep_disks": True}


# ------------------------------------------------------------------ at the same moment


def at_once(*acts):
    def run(act):
        try:
            return act()
        except (AlreadyDecidedError, SecondPersonNeededError) as error:
            return type(error).__name__
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(acts)) as pool:
        return [future.result() for future in [pool.submit(bound(run), act) for act in acts]]


@pytest.mark.django_db(transaction=True)
def test_of_two_who_agree_at_the_same_moment_one_does_and_it_is_done_once():
    scene = Scene()
    scene.rule()
    request = scene.ask()
    results = at_once(
        lambda: scene.decide(request, scene.ben), lambda: scene.decide(request, scene.tess)
    )
    assert results.count("AlreadyDecidedError") == 1
    assert len(jobs()) == 3
    assert AuditEvent.objects.filter(action="second_person.done").count() == 1


@pytest.mark.django_db(transaction=True)
def test_carried_out_by_several_at_once_each_row_is_done_once():
    scene = Scene()
    scene.rule()
    request = scene.ask()
    with scope_of(scene.ben):
        second_person_decide(actor=Actor(user=scene.ben), request=request, agree=True)
    at_once(*[lambda: second_person_carry_out(request.pk).pk] * 4)
    assert AuditEvent.objects.filter(action="vm.delete").count() == 3
    assert AuditEvent.objects.filter(action="second_person.done").count() == 1


@pytest.mark.django_db(transaction=True)
def test_deleting_one_by_one_at_the_same_moment_walks_around_nothing():
    scene = Scene()
    scene.rule()
    results = at_once(*[lambda vm=vm: scene.delete(vm) for vm in scene.vms])
    assert results.count("SecondPersonNeededError") == 2
    assert VirtualMachine.objects.count() == 3
    assert len(jobs()) == 1
