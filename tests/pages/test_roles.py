"""The pages of roles: what each may do, and composing one's own."""

import pytest

from tenants.models import Role
from tests.factories import MembershipFactory

pytestmark = pytest.mark.django_db


def test_every_role_stands_in_the_matrix_with_words(as_technician):
    text = as_technician.get("/roles/").content.decode()
    assert "Customer viewer" in text
    assert "Start, stop and restart VMs" in text


def test_a_role_is_made_changed_and_deleted(as_technician, msp):
    wishes = {"tenant": msp.slug, "name": "Night shift", "permissions": ["vm.view", "vm.power"]}
    assert as_technician.post("/roles/new/", wishes).status_code == 302
    role = Role.objects.get(tenant=msp)
    assert role.permissions == ["vm.view", "vm.power"]
    page = f"/roles/{role.id}/"
    assert "Night shift" in as_technician.get(page).content.decode()
    as_technician.post(page, {"name": "Day shift", "permissions": ["vm.view"]})
    role.refresh_from_db()
    assert (role.name, role.permissions) == ("Day shift", ["vm.view"])
    as_technician.post(f"{page}delete/")
    assert not Role.objects.filter(tenant=msp).exists()


def test_a_copy_begins_with_what_the_other_holds(as_technician):
    role = Role.objects.get(tenant=None, slug="customer-viewer")
    text = as_technician.get(f"/roles/new/?from={role.id}").content.decode()
    assert "Customer viewer (copy)" in text
    assert as_technician.get("/roles/new/?from=nonsense").status_code == 200


def test_more_than_one_holds_is_refused_beside_the_boxes(as_customer, fleet):
    answer = as_customer.post(
        "/roles/new/",
        {"tenant": fleet.customer.slug, "name": "Too much", "permissions": ["site.manage"]},
    )
    assert answer.status_code == 422
    assert "Add and change sites" in answer.content.decode()
    assert not Role.objects.filter(name="Too much").exists()


def test_who_may_not_make_roles_reads_them(client, fleet):
    client.force_login(MembershipFactory(tenant=fleet.customer, role="customer-operator").user)
    assert client.get("/roles/").status_code == 200
    assert client.get("/roles/new/").status_code == 403


def test_roles_of_customers_are_not_their_neighbours(as_customer, others):
    theirs = Role.objects.create(
        tenant=others.customer, slug="x", name="Their own", permissions=["vm.view"]
    )
    assert "Their own" not in as_customer.get("/roles/").content.decode()
    assert as_customer.get(f"/roles/{theirs.id}/").status_code == 404
