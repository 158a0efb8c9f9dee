"""Where a person gets, why, and changing it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from tenants.models import AccessRule, Membership, Role, Tenant
from tests.factories import CustomerFactory, MembershipFactory, UserFactory, deny, grant

pytestmark = pytest.mark.django_db


@pytest.fixture
def colleague(msp):
    return MembershipFactory(tenant=msp, role="msp-technician", user__name="Ada").user


def page_of(user) -> str:
    return f"/people/{user.id}/reach/"


def said(client, user) -> str:
    answer = client.get(page_of(user))
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_it_says_what_gives_access_and_what_takes_it(as_technician, colleague, fleet, others):
    deny(colleague, others.customer)
    text = said(as_technician, colleague)
    assert "Can see alder Ltd" in text
    assert "MSP technician of Northwind, since" in text
    assert "Cannot see birch Ltd" in text
    assert "Kept from birch Ltd, since" in text
    assert "In spite of: MSP technician of Northwind" in text


def test_it_says_when_something_has_ended(as_technician, fleet):
    past = timezone.now() - timedelta(days=2)
    user = MembershipFactory(tenant=fleet.customer, expires_at=past).user
    text = said(as_technician, user)
    assert "Cannot see alder Ltd" in text
    assert "Ended" in text


def test_it_tells_of_single_sites_and_vms(as_technician, fleet):
    user = grant(UserFactory(), fleet.vm).user
    text = said(as_technician, user)
    assert "Can see a part of alder Ltd" in text
    assert "Can see the VM alder-vm" in text
    deny(user, fleet.site)
    assert "Cannot see the VM alder-vm" in said(as_technician, user)


def test_a_customer_sees_its_own_part_of_somebodys_reach(as_customer, fleet, others):
    user = MembershipFactory(tenant=fleet.customer, role="customer-viewer").user
    MembershipFactory(user=user, tenant=others.customer, role="customer-viewer")
    text = said(as_customer, user)
    assert "alder Ltd" in text
    assert "birch" not in text


def test_whom_one_does_not_know_is_nobody(as_customer, colleague, others):
    assert as_customer.get(page_of(colleague)).status_code == 404
    assert as_customer.get(page_of(others.owner)).status_code == 404


def test_a_role_is_given_changed_and_ended(as_customer, fleet):
    user = MembershipFactory(tenant=fleet.customer, role="customer-viewer").user
    operator = Role.objects.get(tenant=None, slug="customer-operator")
    friday = (timezone.localdate() + timedelta(days=3)).isoformat()
    answer = as_customer.post(
        f"/people/{user.id}/memberships/",
        {
            "membership-tenant": fleet.customer.slug,
            "membership-role": operator.id,
            "membership-until": friday,
        },
    )
    assert answer.status_code == 302, answer.content.decode()
    given = Membership.objects.get(user=user, role=operator)
    assert (
        given.expires_at.date().isoformat()
        == (timezone.localdate() + timedelta(days=4)).isoformat()
    )
    admin = Role.objects.get(tenant=None, slug="customer-administrator")
    as_customer.post(
        f"/memberships/{given.id}/change/", {"change-role": admin.id, "change-until": friday}
    )
    given.refresh_from_db()
    assert given.role == admin
    as_customer.post(f"/memberships/{given.id}/end/")
    assert not Membership.objects.filter(pk=given.pk).exists()


def test_what_one_may_not_give_is_not_offered_and_refused(as_customer, fleet):
    user = MembershipFactory(tenant=fleet.customer, role="customer-viewer").user
    owner = Role.objects.get(tenant=None, slug="msp-owner")
    assert str(owner.id) not in said(as_customer, user)
    answer = as_customer.post(
        f"/people/{user.id}/memberships/",
        {"membership-tenant": fleet.customer.slug, "membership-role": owner.id},
    )
    assert answer.status_code == 422
    assert not Membership.objects.filter(user=user, role=owner).exists()


def test_something_is_kept_from_a_person_and_given_back(as_technician, colleague, fleet):
    answer = as_technician.post(
        f"/people/{colleague.id}/denials/",
        {"denial-tenant": fleet.customer.slug, "denial-part": "vm", "denial-name": "alder-vm"},
    )
    assert answer.status_code == 302, answer.content.decode()
    rule = AccessRule.objects.get(user=colleague)
    assert rule.vm == fleet.vm
    as_technician.post(f"/access-rules/{rule.id}/end/")
    assert not AccessRule.objects.exists()


def test_one_site_is_given_by_its_name(as_technician, fleet):
    user = MembershipFactory(tenant=CustomerFactory(parent=fleet.msp)).user
    viewer = Role.objects.get(tenant=None, slug="customer-viewer")
    wishes = {"grant-tenant": fleet.customer.slug, "grant-part": "site", "grant-role": viewer.id}
    answer = as_technician.post(f"/people/{user.id}/grants/", {**wishes, "grant-name": "nowhere"})
    assert answer.status_code == 422
    assert "has no site of this name" in answer.content.decode()
    as_technician.post(f"/people/{user.id}/grants/", {**wishes, "grant-name": "alder OFFICE"})
    assert AccessRule.objects.get(user=user).site == fleet.site


def test_ones_own_page_has_nothing_to_change(as_technician, technician):
    text = said(as_technician, technician)
    assert "Give a role" not in text
    assert "Can see Northwind" in text


# ------------------------------------------------------------------ pages of those with a part


def test_who_has_one_vm_finds_it_and_no_way_around_it(client, fleet, others):
    client.force_login(grant(UserFactory(), fleet.vm, role="msp-owner").user)
    assert "alder-vm" in client.get("/vms/").content.decode()
    text = client.get(fleet.vm_page).content.decode()
    assert "alder-host" in text
    for address in (fleet.host_page, fleet.site_page, f"/c/{fleet.customer.slug}/"):
        assert client.get(address).status_code == 404
        assert f'href="{address}"' not in text
    for address in ("/", "/hosts/", "/sites/", "/customers/", "/activity/", "/search/?q=alder"):
        assert client.get(address).status_code == 200


def test_ones_account_tells_of_single_things(client, fleet):
    client.force_login(grant(UserFactory(), fleet.site).user)
    assert "of alder office alone" in client.get("/me/").content.decode()


def test_counts_leave_out_what_is_denied(client, fleet, msp):
    user = MembershipFactory(tenant=msp, role="msp-owner").user
    deny(user, fleet.vm)
    client.force_login(user)
    assert "1 VM" not in client.get(f"/c/{fleet.customer.slug}/").content.decode()
    assert "0 VMs" in client.get(f"/c/{fleet.customer.slug}/").content.decode()


# ------------------------------------------------------------------ groups of customers


def test_a_group_is_made_and_a_customer_moved_into_it(as_technician, fleet):
    as_technician.post(
        "/customers/new/", {"name": "North", "parent": fleet.msp.id, "kind": "group"}
    )
    group = Tenant.objects.get(kind="group")
    answer = as_technician.post(f"/c/{fleet.customer.slug}/move/", {"move-parent": group.slug})
    assert answer.status_code == 302
    fleet.customer.refresh_from_db()
    assert fleet.customer.parent == group
    text = as_technician.get(f"/c/{group.slug}/").content.decode()
    assert "Group of customers" in text
    assert "alder Ltd" in text
    assert "alder Ltd" in as_technician.get(f"/customers/?group={group.slug}").content.decode()
