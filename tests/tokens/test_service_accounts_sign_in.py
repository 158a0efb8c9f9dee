"""Service accounts: nobody signs in as one, nor owns, invites or looks about as one."""

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from portal.adapters import AccountAdapter
from tenants.actor import Actor
from tenants.errors import InvalidInputError
from tenants.models import Membership
from tenants.scope import scope_of
from tenants.services.invitations import invitation_create
from tenants.services.leaving import person_leave
from tenants.services.owners import LastOwnerError
from tenants.services.see_as import SeeAsError, see_as_check
from tests.factories import MembershipFactory
from tests.tokens.service_accounts import make, role

pytestmark = pytest.mark.django_db


def test_its_session_opens_nothing(land, robot):
    client = Client()
    client.force_login(robot.user)
    answer = client.get("/vms/")
    assert answer.status_code == 302
    assert "login" in answer["location"]
    assert client.get("/api/v1/vms/").status_code in (401, 403)


def test_it_has_no_password_and_can_be_given_none(robot):
    assert not robot.user.has_usable_password()
    robot.user.set_password("a-good-long-passphrase-7531")
    with pytest.raises(IntegrityError), transaction.atomic():
        robot.user.save()


def test_a_link_to_set_a_password_sets_none(robot, mailoutbox):
    client = Client()
    client.post("/account/password/reset/", {"email": robot.user.email})
    assert mailoutbox == []
    from django.core.exceptions import PermissionDenied

    with pytest.raises(PermissionDenied):
        AccountAdapter().set_password(robot.user, "a-good-long-passphrase-7531")


def test_signing_in_by_any_way_stops_at_the_last_step(robot, rf):
    from django.core.exceptions import PermissionDenied

    with pytest.raises(PermissionDenied):
        AccountAdapter().pre_login(
            rf.get("/"), robot.user, email_verification=None, signal_kwargs=None,
            email=None, signup=False, redirect_url=None,
        )  # fmt: skip


def test_it_can_not_be_invited(land, admin, robot):
    with scope_of(admin), pytest.raises(InvalidInputError):
        invitation_create(
            actor=Actor(user=admin),
            tenant=land.alder,
            role=role("customer-viewer"),
            email=robot.user.email,
        )


def test_nobody_looks_at_the_portal_as_it(land, robot):
    with scope_of(land.owner), pytest.raises(SeeAsError, match="no pages"):
        see_as_check(viewer=land.owner, user=robot.user)


def test_it_is_not_the_owner_that_an_msp_keeps(land):
    robot = make(land.owner, land.msp, "msp-owner")
    assert Membership.objects.filter(user=robot.user).exists()
    colleague = MembershipFactory(tenant=land.msp, role="msp-owner").user
    with scope_of(colleague):
        person_leave(actor=Actor(user=colleague), person=land.owner)
    with scope_of(colleague), pytest.raises(LastOwnerError):
        person_leave(actor=Actor(user=colleague), person=colleague)


def test_it_is_not_among_the_people(land, admin, robot):
    client = Client()
    client.force_login(admin)
    assert "Robot" not in client.get("/people/").content.decode()
    assert client.get(f"/people/{robot.user_id}/").status_code == 404
    assert "Robot" in client.get("/service-accounts/").content.decode()
