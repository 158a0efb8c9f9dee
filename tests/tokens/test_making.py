"""Making and revoking tokens: who may, for what, and what becomes of what they made."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from tenants.actor import Actor
from tenants.errors import InvalidInputError
from tenants.models import ApiToken
from tenants.scope import scope_of, system_scope
from tenants.services.people import (
    TokenElsewhereError,
    TokenTooWideError,
    api_token_create,
    api_token_revoke,
)
from tests.factories import MembershipFactory
from tests.tokens.conftest import client_of, client_with, names, token_of

pytestmark = pytest.mark.django_db


def make(client, **body):
    return client.post("/api/v1/tokens/", {"name": "made", **body})


def test_a_token_is_good_for_90_days_when_nothing_is_said(land):
    made = make(client_with(land.owner)).json()
    ends = ApiToken.objects.get(pk=made["id"]).expires_at
    assert timedelta(days=89) < ends - timezone.now() <= timedelta(days=90)


def test_the_secret_is_in_the_answer_once_and_nowhere_else(land):
    client = client_with(land.owner)
    made = make(client).json()
    assert made["secret"].startswith(made["prefix"])
    assert names(client_of(made["secret"])) == {"a-vm", "b-vm"}
    later = client.get(f"/api/v1/tokens/{made['id']}/").content.decode()
    listed = client.get("/api/v1/tokens/").content.decode()
    row = str(ApiToken.objects.values().get(pk=made["id"]))
    for text in (later, listed, row):
        assert made["secret"] not in text
        assert made["secret"][10:] not in text


def test_a_made_token_is_no_wider_than_the_one_that_made_it(land):
    client = client_with(land.owner, tenants=[land.alder])
    made = make(client).json()
    assert names(client_of(made["secret"])) == {"a-vm"}


def test_a_narrow_token_names_no_tenant_beyond_its_own(land):
    client = client_with(land.owner, tenants=[land.alder])
    beyond = make(client, tenants=[str(land.birch.pk)])
    never = make(client, tenants=["9b0f5d56-0000-4000-8000-000000000000"])
    assert (beyond.status_code, beyond.content) == (never.status_code, never.content)
    assert beyond.status_code == 400


def test_what_a_token_made_stays_inside_of_it_when_the_tree_changes(land):
    from tenants.services.tenants import tenant_move

    client = client_with(land.owner, tenants=[land.group])
    made = client_of(make(client, tenants=["Alder"]).json()["secret"])
    assert names(made) == {"a-vm"}
    with scope_of(land.owner):
        tenant_move(actor=Actor(user=land.owner), tenant=land.alder, parent=land.msp)
    assert made.get("/api/v1/vms/").status_code == 403


def test_a_token_for_some_permissions_makes_no_tokens(land):
    client = client_with(land.owner, permissions=["vm.view", "user.manage"])
    answer = make(client, permissions=["vm.view"])
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "token_too_wide"


def test_a_made_token_makes_no_others(land):
    made = make(client_with(land.owner)).json()
    assert make(client_of(made["secret"])).json()["error"]["code"] == "token_too_wide"


def test_a_made_token_does_not_outlive_its_maker(land):
    soon = timezone.now() + timedelta(days=2)
    client = client_with(land.owner, expires_at=soon)
    later = (soon + timedelta(days=1)).isoformat()
    assert make(client, expires_at=later).json()["error"]["code"] == "token_too_wide"
    for body in ({}, {"expires_at": None}):
        assert ApiToken.objects.get(pk=make(client, **body).json()["id"]).expires_at == soon


def test_revoking_a_token_revokes_what_it_made(land):
    token, secret = api_token_create(user=land.owner, name="mother")
    made = client_of(make(client_of(secret)).json()["secret"])
    assert names(made)
    assert api_token_revoke(token=token) == 2
    assert made.get("/api/v1/vms/").status_code == 401


def test_a_made_token_ends_when_its_maker_does(land):
    token, secret = api_token_create(user=land.owner, name="mother")
    made = client_of(make(client_of(secret)).json()["secret"])
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now())
    assert made.get("/api/v1/vms/").status_code == 401


def test_a_narrow_token_sees_and_revokes_only_itself_and_what_it_made(land):
    other = token_of(land.owner)
    client = client_with(land.owner, tenants=[land.alder])
    made = make(client).json()
    listed = {row["id"] for row in client.get("/api/v1/tokens/").json()["results"]}
    assert made["id"] in listed
    assert len(listed) == 2
    assert client.delete(f"/api/v1/tokens/{other.pk}/").status_code == 404
    assert client.delete(f"/api/v1/tokens/{made['id']}/").status_code == 204
    [own] = client.get("/api/v1/tokens/").json()["results"]
    assert client.delete(f"/api/v1/tokens/{own['id']}/").status_code == 204
    assert client.get("/api/v1/tokens/").status_code == 401


def test_a_narrow_token_is_refused_by_the_service_as_well(land):
    other = token_of(land.owner)
    narrow = token_of(land.owner, tenants=[land.alder])
    with scope_of(land.owner, narrow), pytest.raises(TokenElsewhereError):
        api_token_revoke(actor=Actor(user=land.owner, token=narrow), token=other)


def test_nobody_gets_at_another_persons_tokens_over_the_api(land):
    theirs = token_of(MembershipFactory(tenant=land.alder).user)
    client = client_with(land.owner)
    assert client.get(f"/api/v1/tokens/{theirs.pk}/").status_code == 404
    assert client.delete(f"/api/v1/tokens/{theirs.pk}/").status_code == 404
    assert str(theirs.pk) not in client.get("/api/v1/tokens/").content.decode()


def test_a_token_manages_nobody_beyond_its_scope(land):
    member = MembershipFactory(tenant=land.birch, role="customer-viewer")
    client = client_with(land.owner, tenants=[land.alder])
    role = {"user": str(member.user_id), "role": "customer-viewer"}
    answer = client.post("/api/v1/memberships/", {**role, "tenant": str(land.alder.pk)})
    assert answer.status_code == 400
    assert client.post(f"/api/v1/people/{member.user_id}/leave/").status_code == 404
    assert client.delete(f"/api/v1/memberships/{member.pk}/").status_code == 404


def test_a_token_gives_no_role_with_more_than_it_has(land):
    member = MembershipFactory(tenant=land.alder, role="customer-viewer")
    some = client_with(land.owner, permissions=["user.view", "user.manage", "tenant.view"])
    role = {"user": str(member.user_id), "tenant": str(land.alder.pk)}
    from tenants.models import Role

    admin = Role.objects.get(tenant=None, slug="customer-administrator")
    answer = some.post("/api/v1/memberships/", {**role, "role": str(admin.pk)})
    assert answer.json()["error"]["code"] == "surplus_permissions"


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        ({"name": " "}, InvalidInputError),
        ({"name": "a\nb"}, InvalidInputError),
        ({"permissions": []}, InvalidInputError),
        ({"permissions": ["vm.fly"]}, InvalidInputError),
        ({"permissions": ["vm.delete"]}, TokenTooWideError),
        ({"tenants": []}, InvalidInputError),
        ({"expires_at": timezone.now() - timedelta(days=1)}, InvalidInputError),
    ],
)
def test_what_makes_no_sense_is_refused(land, wish, error):
    viewer = MembershipFactory(tenant=land.alder, role="customer-viewer").user
    with pytest.raises(error):
        api_token_create(user=viewer, **{"name": "x", **wish})
    assert not ApiToken.objects.exists()


def test_a_tenant_that_the_owner_does_not_reach_is_refused(land):
    viewer = MembershipFactory(tenant=land.alder, role="customer-viewer").user
    with pytest.raises(TokenTooWideError):
        api_token_create(user=viewer, name="x", tenants=[land.birch])


def test_nobody_makes_a_token_of_another_person(land):
    viewer = MembershipFactory(tenant=land.alder, role="customer-viewer").user
    with scope_of(land.owner), pytest.raises(TokenElsewhereError):
        api_token_create(actor=Actor(user=land.owner), user=viewer, name="x")


def test_whoever_manages_somebody_everywhere_revokes_their_token(land):
    viewer = MembershipFactory(tenant=land.alder, role="customer-viewer").user
    token = token_of(viewer)
    admin = MembershipFactory(tenant=land.alder, role="customer-administrator").user
    with scope_of(admin):
        assert api_token_revoke(actor=Actor(user=admin), token=token) == 1


def test_whoever_manages_somebody_in_one_place_only_does_not(land):
    viewer = MembershipFactory(tenant=land.alder, role="customer-viewer").user
    MembershipFactory(tenant=land.birch, user=viewer, role="customer-viewer")
    token = token_of(viewer)
    admin = MembershipFactory(tenant=land.alder, role="customer-administrator").user
    with scope_of(admin), pytest.raises(TokenElsewhereError):
        api_token_revoke(actor=Actor(user=admin), token=token)


def test_the_last_use_is_noted_with_its_address(land):
    _, secret = api_token_create(user=land.owner, name="x")
    client = client_of(secret)
    client.get("/api/v1/vms/", REMOTE_ADDR="192.0.2.7")
    token = ApiToken.objects.get()
    assert token.last_used_ip == "192.0.2.7"
    first = token.last_used_at
    client.get("/api/v1/vms/", REMOTE_ADDR="192.0.2.7")
    token.refresh_from_db()
    assert token.last_used_at == first
    client.get("/api/v1/vms/", REMOTE_ADDR="2001:db8::1")
    token.refresh_from_db()
    assert token.last_used_ip == "2001:db8::1"


def test_an_expired_token_is_listed_for_a_month(land):
    token = token_of(land.owner)
    client = client_with(land.owner)
    for days, listed in ((29, True), (31, False)):
        ended = timezone.now() - timedelta(days=days)
        ApiToken.objects.filter(pk=token.pk).update(expires_at=ended)
        text = client.get("/api/v1/tokens/").content.decode()
        assert (str(token.pk) in text) is listed


@pytest.mark.django_db(transaction=True)
def test_of_revoking_and_making_at_once_no_token_is_left(land):
    """Whoever makes a token with one that is being revoked waits, and gets none; or was first, and
    then what they made is revoked, too."""
    mother = token_of(land.owner)
    begun, outcome = threading.Event(), []

    def make_one() -> None:
        begun.set()
        try:
            with scope_of(land.owner, mother):
                actor = Actor(user=land.owner, token=mother)
                api_token_create(actor=actor, user=land.owner, name="child")
                outcome.append("made")
        except TokenTooWideError:
            outcome.append("refused")
        finally:
            connection.close()

    thread = threading.Thread(target=make_one)
    with system_scope("a test"), transaction.atomic():
        ApiToken.objects.select_for_update().get(pk=mother.pk)
        thread.start()
        assert begun.wait(10)
        api_token_revoke(token=mother)
    thread.join(20)
    assert outcome == ["refused"]
    assert not ApiToken.objects.good().exists()


def test_a_use_after_revoking_does_not_bring_the_token_back(land):
    token, secret = api_token_create(user=land.owner, name="x")
    client = client_of(secret)
    assert names(client)
    api_token_revoke(token=token)
    assert client.get("/api/v1/vms/").status_code == 401
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_what_the_owner_may_do_nowhere_is_named(land):
    member = MembershipFactory(tenant=land.alder, role="customer-administrator")
    with pytest.raises(TokenTooWideError, match="Add and change customers"):
        api_token_create(user=member.user, name="x", permissions=["tenant.manage"])
