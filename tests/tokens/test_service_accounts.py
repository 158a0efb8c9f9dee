"""Service accounts: a tenant's own, and no wider than whoever makes them."""

import threading

import pytest
from django.db import connection, transaction
from django.test import Client

from tenants.actor import Actor
from tenants.errors import InvalidInputError, NameTakenError
from tenants.models import ApiToken, AuditEvent, Role, ServiceAccount, User
from tenants.scope import scope_of, system_scope
from tenants.services.authority import SurplusPermissionsError
from tenants.services.leaving import person_leave
from tenants.services.memberships import ServiceElsewhereError, access_grant, membership_add
from tenants.services.people import TokenElsewhereError, api_token_create
from tenants.services.service_accounts import (
    service_account_close,
    service_account_create,
    service_account_delete,
    service_account_open,
)
from tenants.services.tenants import tenant_move
from tests.factories import MembershipFactory, deny
from tests.tokens.conftest import client_of, client_with, names, token_of
from tests.tokens.service_accounts import make, role, secret_of

pytestmark = pytest.mark.django_db


def test_it_works_by_its_tokens_in_its_tenant(land, admin, robot):
    client = client_of(secret_of(admin, robot))
    assert names(client) == {"a-vm"}
    assert client.get(f"/api/v1/vms/{land.other.pk}/").status_code == 404


def test_its_events_say_what_it_is(land, admin, robot):
    client = client_of(secret_of(admin, robot))
    land.vm.observed_power = "running"
    land.vm.save()
    client.patch(f"/api/v1/sites/{land.vm.hypervisor.site_id}/", {"name": "x"})
    [event] = AuditEvent.objects.filter(actor=robot.user)
    assert (event.actor_kind, event.actor_name) == ("service", "Robot")
    page = Client()
    page.force_login(admin)
    text = page.get(f"/audit/{event.pk}/").content.decode()
    assert "Service account" in text
    assert f"made by {admin.email}" in text


def test_it_goes_on_when_its_maker_is_gone(land, admin, robot):
    client = client_of(secret_of(admin, robot))
    with scope_of(land.owner):
        person_leave(actor=Actor(user=land.owner), person=admin)
    with system_scope("a test"):
        User.objects.filter(pk=admin.pk).delete()
    assert names(client) == {"a-vm"}
    assert ServiceAccount.objects.get().made_by_name == admin.email


# ------------------------------------------------------------------ no wider than its makers


def test_nobody_makes_one_that_may_do_more(land, admin):
    with pytest.raises(SurplusPermissionsError):
        make(admin, land.alder, "msp-owner")
    assert not ServiceAccount.objects.exists()
    assert not User.objects.filter(is_service=True).exists()


def test_nobody_makes_one_where_they_do_not_manage_people(land, admin):
    with pytest.raises(SurplusPermissionsError):
        make(admin, land.birch, None)
    viewer = MembershipFactory(tenant=land.alder, role="customer-viewer").user
    with pytest.raises(SurplusPermissionsError):
        make(viewer, land.alder, None)


def test_whoever_is_denied_a_part_makes_none_that_sees_it(land, admin):
    deny(admin, land.vm)
    with pytest.raises(SurplusPermissionsError):
        make(admin, land.alder)


def test_nobody_makes_a_token_of_one_that_may_do_more_than_they(land, admin, robot):
    with scope_of(land.owner):
        membership_add(
            actor=Actor(user=land.owner), user=robot.user, tenant=land.alder, role=role("msp-owner")
        )
    with pytest.raises(SurplusPermissionsError):
        secret_of(admin, robot)
    assert secret_of(land.owner, robot)


def test_nobody_opens_one_again_that_may_do_more_than_they(land, admin, robot):
    with scope_of(land.owner):
        membership_add(
            actor=Actor(user=land.owner), user=robot.user, tenant=land.alder, role=role("msp-owner")
        )
    with scope_of(admin):
        service_account_close(actor=Actor(user=admin), account=robot)
        with pytest.raises(SurplusPermissionsError):
            service_account_open(actor=Actor(user=admin), account=robot)
    with scope_of(land.owner):
        service_account_open(actor=Actor(user=land.owner), account=robot)


def test_it_gets_no_role_of_another_tenant(land, robot):
    with scope_of(land.owner):
        for tenant in (land.birch, land.msp, land.group):
            with pytest.raises(ServiceElsewhereError):
                membership_add(
                    actor=Actor(user=land.owner),
                    user=robot.user,
                    tenant=tenant,
                    role=role("customer-viewer"),
                )
        with pytest.raises(ServiceElsewhereError):
            access_grant(
                actor=Actor(user=land.owner),
                user=robot.user,
                thing=land.other,
                role=role("customer-viewer"),
            )


def test_what_moves_away_from_its_tenant_is_out_of_its_reach(land):
    woodcutter = make(land.owner, land.group, name="Woodcutter")
    with scope_of(land.owner):
        membership_add(
            actor=Actor(user=land.owner),
            user=woodcutter.user,
            tenant=land.alder,
            role=role("customer-viewer"),
        )
    client = client_of(secret_of(land.owner, woodcutter))
    assert names(client) == {"a-vm"}
    with scope_of(land.owner):
        tenant_move(actor=Actor(user=land.owner), tenant=land.alder, parent=land.msp)
    assert names(client) == set()


def test_whoever_looks_after_another_tenant_does_not_find_it(land, robot):
    stranger = MembershipFactory(tenant=land.birch, role="customer-administrator").user
    client = client_with(stranger)
    assert client.get("/api/v1/service-accounts/").json()["results"] == []
    assert client.delete(f"/api/v1/service-accounts/{robot.pk}/").status_code == 404
    page = Client()
    page.force_login(stranger)
    assert page.get(f"/service-accounts/{robot.pk}/").status_code == 404
    with scope_of(stranger), pytest.raises(TokenElsewhereError):
        api_token_create(actor=Actor(user=stranger), user=robot.user, name="x")


def test_what_a_narrow_token_makes_ends_with_it(land):
    mother = token_of(land.owner, tenants=[land.alder])
    with scope_of(land.owner, mother):
        by = Actor(user=land.owner, token=mother)
        robot = service_account_create(
            actor=by, tenant=land.alder, name="Robot", role=role("customer-viewer")
        )
        _, secret = api_token_create(actor=by, user=robot.user, name="t")
    client = client_of(secret)
    assert names(client) == {"a-vm"}
    from tenants.services.people import api_token_revoke

    api_token_revoke(token=mother)
    assert client.get("/api/v1/vms/").status_code == 401


# ------------------------------------------------------------------ its end


@pytest.mark.parametrize("end", [service_account_close, service_account_delete])
def test_its_tokens_end_with_it_at_once(land, admin, robot, end):
    client = client_of(secret_of(admin, robot))
    assert names(client) == {"a-vm"}
    with scope_of(admin):
        assert end(actor=Actor(user=admin), account=robot) == 1
    assert client.get("/api/v1/vms/").status_code == 401


def test_opened_again_its_old_tokens_stay_shut(land, admin, robot):
    old = client_of(secret_of(admin, robot))
    with scope_of(admin):
        service_account_close(actor=Actor(user=admin), account=robot)
        with pytest.raises(InvalidInputError, match="closed"):
            api_token_create(actor=Actor(user=admin), user=robot.user, name="x")
        service_account_open(actor=Actor(user=admin), account=robot)
    assert old.get("/api/v1/vms/").status_code == 401
    assert names(client_of(secret_of(admin, robot))) == {"a-vm"}


def test_what_it_did_is_told_when_it_is_deleted(land, admin, robot):
    client = client_of(secret_of(admin, robot))
    client.post(f"/api/v1/vms/{land.vm.pk}/shutdown/")
    kept = AuditEvent.objects.filter(actor=robot.user).count()
    with scope_of(admin):
        service_account_delete(actor=Actor(user=admin), account=robot)
    assert not User.objects.filter(is_service=True).exists()
    assert AuditEvent.objects.filter(actor_name="Robot", actor_kind="service").count() == kept
    last = AuditEvent.objects.get(action="service_account.delete")
    assert last.before["made_by"] == admin.email


def test_two_of_one_name_are_refused(land, admin, robot):
    with pytest.raises(NameTakenError):
        make(admin, land.alder, name="robot")
    assert make(land.owner, land.birch, name="Robot")


@pytest.mark.django_db(transaction=True)
def test_closing_one_while_a_token_is_made_leaves_no_token(land, admin, robot):
    begun, outcome = threading.Event(), []

    def make_one() -> None:
        begun.set()
        try:
            secret_of(admin, robot)
            outcome.append("made")
        except InvalidInputError:
            outcome.append("refused")
        finally:
            connection.close()

    thread = threading.Thread(target=make_one)
    with scope_of(admin), transaction.atomic():
        service_account_close(actor=Actor(user=admin), account=robot)
        thread.start()
        assert begun.wait(10)
    thread.join(20)
    assert outcome == ["refused"]
    assert not ApiToken.objects.good().filter(user=robot.user).exists()


# ------------------------------------------------------------------ pages and API


def test_the_page_of_one_makes_and_revokes_tokens(land, admin, robot):
    page = Client()
    page.force_login(admin)
    address = f"/service-accounts/{robot.pk}/"
    wish = {
        "token-name": "nightly", "token-days": "never", "token-may": "some",
        "token-permissions": ["vm.view"], "token-where": "some",
        "token-tenants": [str(land.alder.pk)],
    }  # fmt: skip
    answer = page.post(f"{address}tokens/", wish)
    assert answer.status_code == 200
    token = ApiToken.objects.get()
    assert (token.permissions, token.tenants, token.expires_at) == (
        ["vm.view"], [land.alder.pk], None,
    )  # fmt: skip
    assert answer.context["secret"] not in page.get(address).content.decode()
    assert "Never expires" in page.get(address).content.decode()
    page.post(f"{address}tokens/{token.pk}/revoke/")
    token.refresh_from_db()
    assert token.revoked_at


def test_deleting_one_asks_for_its_name(land, admin, robot):
    page = Client()
    page.force_login(admin)
    address = f"/service-accounts/{robot.pk}/delete/"
    assert page.post(address, {"name": "robot"}).status_code == 422
    assert ServiceAccount.objects.exists()
    assert page.post(address, {"name": "Robot"}).status_code == 302
    assert not ServiceAccount.objects.exists()


def test_whoever_may_only_look_changes_nothing(land, robot):
    viewer = MembershipFactory(tenant=land.alder, role="customer-operator").user
    Role.objects.filter(slug="customer-operator").update(permissions=["user.view"])
    page = Client()
    page.force_login(viewer)
    text = page.get(f"/service-accounts/{robot.pk}/").content.decode()
    assert "Make the token" not in text
    for what in ("close/", "delete/", "change/", "tokens/"):
        assert page.post(f"/service-accounts/{robot.pk}/{what}").status_code in (403, 404)


def test_the_whole_of_it_over_the_api(land, admin):
    client = client_with(admin)
    made = client.post(
        "/api/v1/service-accounts/",
        {"name": "Backup", "tenant": "Alder", "role": "customer-operator"},
    ).json()
    assert made["made_by_name"] == admin.email
    token = client.post(
        f"/api/v1/service-accounts/{made['id']}/tokens/",
        {"name": "nightly", "permissions": ["vm.view"]},
    ).json()
    assert names(client_of(token["secret"])) == {"a-vm"}
    seen = client.get(f"/api/v1/service-accounts/{made['id']}/").json()
    assert [row["name"] for row in seen["tokens"]] == ["nightly"]
    assert [row["role"]["slug"] for row in seen["memberships"]] == ["customer-operator"]
    assert client.delete(f"/api/v1/tokens/{token['id']}/").status_code == 204
    closed = client.patch(f"/api/v1/service-accounts/{made['id']}/", {"active": False}).json()
    assert closed["active"] is False
    assert client.delete(f"/api/v1/service-accounts/{made['id']}/").status_code == 204
