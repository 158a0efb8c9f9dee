"""A second person: what many things are destroyed by, two people want."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from hypervisors.models import Hypervisor, Job
from tenants.actor import AGREED, Actor
from tenants.models import AuditEvent, Membership, SecondPersonRequest
from tenants.scope import bound, scope_of
from tenants.services.second_person import (
    AlreadyAskedError,
    AlreadyDecidedError,
    NotTheSecondPersonError,
    second_person_carry_out,
    second_person_decide,
    second_person_resume,
    second_person_withdraw,
)
from tenants.services.second_person_rules import NobodyToAgreeError, SecondPersonNeededError
from tests.factories import CustomerFactory, VirtualMachineFactory, deny, grant
from tests.second_person.conftest import Scene, jobs
from vms.models import VirtualMachine

pytestmark = pytest.mark.django_db


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
