"""What a token may do is what its owner may do at that moment, and what it is good for: never
more than either, however the one or the other is asked."""

import itertools
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from tenants.actor import Actor
from tenants.models import ApiToken, AuditEvent, Membership, Role, Tenant, User
from tenants.models.holdings import Held, Limit, holdings_of
from tenants.scope import current, scope_of, system_scope
from tenants.services.reach import reach_tenants
from tenants.services.tenants import tenant_move
from tests.factories import MembershipFactory, UserFactory, deny, grant
from tests.policy.matrix import no_first_wall
from tests.tokens.conftest import client_with, names, token_of
from vms.models import VirtualMachine

pytestmark = pytest.mark.django_db


def seen(user, token, permission="vm.view"):
    with scope_of(user, token):
        return {vm.name for vm in VirtualMachine.objects.allowed(user, permission)}


def test_a_token_without_limits_sees_what_its_owner_sees(land):
    assert seen(land.owner, token_of(land.owner)) == {"a-vm", "b-vm"}


def test_a_token_for_a_customer_sees_no_other(land):
    assert seen(land.owner, token_of(land.owner, tenants=[land.alder])) == {"a-vm"}


def test_a_token_for_a_group_is_good_for_all_below_it(land):
    assert seen(land.owner, token_of(land.owner, tenants=[land.group])) == {"a-vm"}


def test_a_token_for_the_msp_is_good_for_all(land):
    assert seen(land.owner, token_of(land.owner, tenants=[land.msp])) == {"a-vm", "b-vm"}


def test_a_token_for_some_permissions_has_no_others(land):
    token = token_of(land.owner, permissions=["vm.view"])
    assert seen(land.owner, token) == {"a-vm", "b-vm"}
    assert seen(land.owner, token, "vm.power") == set()
    with scope_of(land.owner, token):
        assert Membership.objects.permissions_of(land.owner) == {"vm.view"}
        assert Membership.objects.permissions_on(land.owner, land.vm) == {"vm.view"}
        assert Membership.objects.permissions_along(land.owner, land.vm).tenant == {"vm.view"}


def test_the_second_wall_is_as_narrow_as_the_token(land):
    token = token_of(land.owner, tenants=[land.alder])
    client = client_with(land.owner, tenants=[land.alder])
    with scope_of(land.owner, token):
        assert current().tenants == {land.alder.pk}
        assert current().above == {land.group.pk, land.msp.pk}
    with no_first_wall():
        assert names(client) == {"a-vm"}
        assert client.get(f"/api/v1/vms/{land.other.pk}/").status_code == 404


def test_a_token_with_nothing_left_reaches_no_tenant(land):
    token = token_of(land.owner, permissions=["billing.view"])
    Role.objects.filter(slug="msp-owner").update(permissions=["vm.view"])
    with scope_of(land.owner, token):
        assert current().tenants == frozenset()


# ------------------------------------------------------------------ where narrowing might be lost


def test_a_person_fetched_anew_is_as_narrow(land):
    with scope_of(land.owner, token_of(land.owner, tenants=[land.alder])):
        again = User.objects.get(pk=land.owner.pk)
        assert {vm.name for vm in VirtualMachine.objects.allowed(again, "vm.view")} == {"a-vm"}


def test_looking_beyond_the_scope_does_not_widen_the_token(land):
    with (
        scope_of(land.owner, token_of(land.owner, tenants=[land.alder])),
        system_scope("as services do"),
    ):
        again = User.objects.get(pk=land.owner.pk)
        assert {vm.name for vm in VirtualMachine.objects.allowed(again, "vm.view")} == {"a-vm"}
        assert Membership.objects.permissions_on(again, land.birch) == frozenset()
        assert set(reach_tenants(again)) == {land.alder.pk}


def test_a_scope_of_the_same_person_inside_stays_narrow(land):
    with (
        scope_of(land.owner, token_of(land.owner, tenants=[land.alder])),
        scope_of(land.owner),
    ):
        assert current().tenants == {land.alder.pk}
        assert Membership.objects.permissions_on(land.owner, land.birch) == frozenset()


def test_another_person_is_not_narrowed_by_somebodys_token(land):
    colleague = MembershipFactory(tenant=land.msp, role="msp-read-only").user
    token = token_of(land.owner, tenants=[land.alder], permissions=["vm.view"])
    with scope_of(land.owner, token), system_scope("as services judge others"):
        assert "hypervisor.view" in holdings_of(colleague).anywhere()
        assert "vm.view" in Membership.objects.permissions_on(colleague, land.birch)


def test_a_signed_in_browser_does_not_widen_a_token(land):
    client = client_with(land.owner, tenants=[land.alder])
    client.force_login(land.owner)
    assert names(client) == {"a-vm"}


def test_a_refusal_says_that_it_is_the_token(land):
    client = client_with(land.owner, permissions=["vm.view"])
    answer = client.get("/api/v1/sites/")
    assert answer.status_code == 403
    assert "this token" in answer.json()["error"]["message"]


def test_reading_the_audit_log_is_as_narrow(land):
    for tenant in (land.alder, land.birch):
        AuditEvent.objects.create(
            tenant=tenant, actor_name="x", action="vm.start", object_kind="vm", object_name="x"
        )
    client = client_with(land.owner, tenants=[land.alder], permissions=["audit.view"])
    found = client.get("/api/v1/audit/").json()["results"]
    assert {row["tenant"]["id"] for row in found} == {str(land.alder.pk)}


def test_an_answer_kept_for_a_wide_token_is_not_given_to_a_narrow_one(land):
    body = {"name": "x"}
    keyed = {"HTTP_IDEMPOTENCY_KEY": "the-key"}
    wide = client_with(land.owner)
    narrow = client_with(land.owner, tenants=[land.alder])
    from tenants.services.idempotency import answer_once

    answer_once(user=land.owner, key="the-key", request=body, answer=lambda: (202, {"vm": "b-vm"}))
    assert wide.post("/api/v1/vms/", body, **keyed).json() == {"vm": "b-vm"}
    answer = narrow.post("/api/v1/vms/", body, **keyed)
    assert answer.status_code == 422
    assert "b-vm" not in answer.content.decode()


# ------------------------------------------------------------------ what changes afterwards


def test_a_role_that_shrinks_takes_it_from_the_token(land):
    client = client_with(land.owner, permissions=["vm.view", "site.view"])
    assert client.get("/api/v1/sites/").status_code == 200
    Role.objects.filter(slug="msp-owner").update(permissions=["vm.view"])
    assert client.get("/api/v1/sites/").status_code == 403
    assert names(client) == {"a-vm", "b-vm"}


def test_a_role_that_grows_gives_the_token_no_more(land):
    viewer = MembershipFactory(tenant=land.alder, role="customer-viewer")
    client = client_with(viewer.user, permissions=["vm.view"])
    viewer.role = Role.objects.get(tenant=None, slug="customer-administrator")
    viewer.save()
    assert client.post(f"/api/v1/vms/{land.vm.pk}/stop/").status_code == 403


def test_a_membership_that_ends_leaves_the_token_nothing(land):
    client = client_with(land.owner)
    assert names(client) == {"a-vm", "b-vm"}
    Membership.objects.filter(user=land.owner).update(expires_at=timezone.now())
    assert client.get("/api/v1/vms/").status_code == 403


def test_a_customer_that_moves_out_of_the_group_moves_out_of_the_token(land):
    client = client_with(land.owner, tenants=[land.group])
    assert names(client) == {"a-vm"}
    with scope_of(land.owner):
        tenant_move(actor=Actor(user=land.owner), tenant=land.alder, parent=land.msp)
    assert names(client) == set()
    with scope_of(land.owner):
        birch = Tenant.objects.get(pk=land.birch.pk)
        tenant_move(actor=Actor(user=land.owner), tenant=birch, parent=land.group)
    assert names(client) == {"b-vm"}


def test_a_customer_that_moves_stays_in_a_token_that_names_it(land):
    client = client_with(land.owner, tenants=[land.alder])
    with scope_of(land.owner):
        tenant_move(actor=Actor(user=land.owner), tenant=land.alder, parent=land.msp)
    assert names(client) == {"a-vm"}


def test_a_token_for_a_customer_that_is_gone_reaches_nothing(land):
    token = token_of(land.owner, tenants=[land.alder])
    ApiToken.objects.filter(pk=token.pk).update(tenants=[uuid4()])
    assert seen(land.owner, ApiToken.objects.get(pk=token.pk)) == set()


def test_a_denial_holds_for_the_token_too(land):
    token = token_of(land.owner, tenants=[land.group])
    deny(land.owner, land.alder)
    assert seen(land.owner, token) == set()


def test_a_denial_above_the_tokens_tenant_holds_too(land):
    token = token_of(land.owner, tenants=[land.alder])
    deny(land.owner, land.group)
    assert seen(land.owner, token) == set()


def test_a_denied_vm_is_not_seen_by_the_token(land):
    token = token_of(land.owner, tenants=[land.alder])
    deny(land.owner, land.vm)
    assert seen(land.owner, token) == set()


def test_a_grant_on_one_vm_goes_with_its_tenant(land):
    user = UserFactory()
    grant(user, land.vm)
    grant(user, land.other)
    assert seen(user, token_of(user)) == {"a-vm", "b-vm"}
    assert seen(user, token_of(user, tenants=[land.alder])) == {"a-vm"}
    reads_other_things = token_of(user, tenants=[land.alder], permissions=["job.view"])
    assert seen(user, reads_other_things) == set()


# ------------------------------------------------------------------ the rule, said naively


def test_narrowing_says_the_same_as_asking_for_each_tenant():
    """Every membership, grant and denial in a tree of three levels, under every limit: what is
    left on each tenant is what is held there, where the limit has it or one above."""
    top, mid, low, beside = (uuid4() for _ in range(4))
    tree = {top: (top,), mid: (mid, top), low: (low, mid, top), beside: (beside, top)}
    for (at, line), chosen in itertools.product(
        tree.items(), itertools.chain.from_iterable(itertools.combinations(tree, n) for n in (1, 2))
    ):
        held = Held(line, None, None, frozenset({"vm.view", "vm.power"}))
        limit = Limit(
            permissions=frozenset({"vm.view", "vm.edit"}),
            lines=frozenset(tree[one] for one in chosen),
        )
        left = list(limit.narrowed(held))
        for asked in tree.values():
            given = frozenset().union(*(one.permissions for one in left if one.tenant_id in asked))
            inside = at in asked and any(one in asked for one in chosen)
            assert given == (frozenset({"vm.view"}) if inside else frozenset())


def test_a_limit_leaves_denials_as_they_are():
    at = uuid4()
    taken = Held((at,), None, None, None)
    assert list(Limit(frozenset(), frozenset()).narrowed(taken)) == [taken]


def test_an_expired_token_opens_nothing_though_its_owner_could(land):
    client = client_with(land.owner, expires_at=timezone.now() + timedelta(hours=1))
    assert names(client) == {"a-vm", "b-vm"}
    ApiToken.objects.update(expires_at=timezone.now())
    assert client.get("/api/v1/vms/").status_code == 401
