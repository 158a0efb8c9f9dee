"""What a scope lets through."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.db.utils import ProgrammingError
from django.utils import timezone

from tenants.models import ApiToken, Membership, Role, Site, Tenant, TenantSet, User
from tenants.scope import NOTHING, scope_of, sign_in_scope, system_scope, tenant_scope
from tenants.tasks import sweep_tenant_sets
from tests.factories import (
    CustomerFactory,
    ImageFactory,
    ImageVersionFactory,
    MembershipFactory,
    SiteFactory,
    UserFactory,
    VirtualMachineFactory,
)
from tests.tenants.conftest import names
from vms.models import Disk, Image, ImageVersion, Nic, VirtualMachine

REFUSED = pytest.raises(ProgrammingError, match="row-level security")


def test_who_forgets_the_scope_sees_nothing(ours):
    VirtualMachineFactory()
    with NOTHING:
        for model in (Tenant, Site, User, Membership, Role, VirtualMachine, Disk, Nic, Image):
            assert not model.objects.exists(), model


def test_who_forgets_the_scope_writes_nothing(ours):
    with NOTHING:
        assert Site.objects.update(name="mine") == 0
        assert Site.objects.filter(pk=ours.pk).delete() == (0, {})
        with REFUSED, transaction.atomic():
            Site.objects.create(tenant=ours.tenant, name="new", slug="new")
    assert names() == {ours.name}


def test_a_tenants_scope_sees_its_rows_and_no_others(ours, theirs):
    with tenant_scope([ours.tenant_id]):
        assert names() == {ours.name}
        assert not Site.objects.filter(pk=theirs.pk).exists()


def test_a_person_sees_what_their_memberships_reach(msp, ours, theirs):
    customer = MembershipFactory(tenant=ours.tenant).user
    technician = MembershipFactory(tenant=msp, role="msp-technician").user
    with scope_of(customer):
        assert names() == {ours.name}
    with scope_of(technician):
        assert names() == {ours.name, theirs.name}


def test_a_long_list_of_tenants_is_told_by_its_name(msp, theirs):
    sites = [SiteFactory(tenant=CustomerFactory(parent=msp)) for _ in range(20)]
    few, many = sites[:3], sites
    with tenant_scope([site.tenant_id for site in few]) as scope:
        assert not scope.name
        assert names() == {site.name for site in few}
    with tenant_scope([site.tenant_id for site in many]) as scope:
        assert scope.settings[1] == scope.name
        assert names() == {site.name for site in many}
        assert Site.objects.filter(pk=theirs.pk).update(name="mine") == 0
        with scope.including(theirs.tenant_id):
            assert theirs.name in names()
    again = tenant_scope([site.tenant_id for site in reversed(many)])
    assert (again.name, TenantSet.objects.count()) == (scope.name, 1)


def test_a_set_that_nobody_has_needed_for_long_is_forgotten_and_made_again(msp):
    tenants = [CustomerFactory(parent=msp).pk for _ in range(20)]
    name = tenant_scope(tenants).name
    TenantSet.objects.update(used_at=timezone.now() - timedelta(days=2))
    assert sweep_tenant_sets() == 0
    tenant_scope(tenants)
    assert TenantSet.objects.get().used_at > timezone.now() - timedelta(days=1)
    TenantSet.objects.update(used_at=timezone.now() - timedelta(days=31))
    assert sweep_tenant_sets() == 1
    with tenant_scope(tenants) as scope:
        assert scope.name == name
        assert Tenant.objects.count() == 21


def test_an_account_that_was_closed_sees_nothing(ours):
    user = MembershipFactory(tenant=ours.tenant).user
    user.is_active = False
    user.save()
    with scope_of(user):
        assert names() == set()


def test_of_the_tenants_above_one_reads_names_and_images_and_changes_neither(msp, ours):
    SiteFactory(tenant=msp)
    image = ImageVersionFactory(image=ImageFactory(tenant=msp)).image
    everybodys = ImageVersionFactory(image=ImageFactory(tenant=None)).image
    with tenant_scope([ours.tenant_id]):
        assert Tenant.objects.get(pk=msp.pk).name == msp.name
        assert set(Image.objects.all()) == {image, everybodys}
        assert ImageVersion.objects.count() == 2
        assert names() == {ours.name}
        assert Tenant.objects.filter(pk=msp.pk).update(name="mine") == 0
        assert Image.objects.update(name="mine") == 0
        assert ImageVersion.objects.update(problem="mine") == 0
        with REFUSED, transaction.atomic():
            ImageVersionFactory(image=image, number=7)
        with REFUSED, transaction.atomic():
            ImageFactory(tenant=None)


def test_rows_without_a_tenant_of_their_own_follow_their_parent(ours, theirs):
    vm = VirtualMachineFactory(hypervisor__site=ours)
    other = VirtualMachineFactory(hypervisor__site=theirs)
    with tenant_scope([ours.tenant_id]):
        assert [disk.vm_id for disk in Disk.objects.all()] == [vm.pk]
        assert [nic.vm_id for nic in Nic.objects.all()] == [vm.pk]
        with REFUSED, transaction.atomic():
            Disk.objects.create(vm_id=other.pk, position=5, size_gib=1)


def test_a_row_is_not_written_into_another_tenant(ours, theirs):
    with tenant_scope([ours.tenant_id]):
        with REFUSED, transaction.atomic():
            Site.objects.create(tenant_id=theirs.tenant_id, name="new", slug="new")
        with REFUSED, transaction.atomic():
            Site.objects.filter(pk=ours.pk).update(tenant_id=theirs.tenant_id)
        assert Site.objects.filter(pk=theirs.pk).update(name="mine") == 0
    theirs.refresh_from_db()
    assert theirs.name != "mine"


def test_colleagues_are_seen_and_strangers_are_not(ours, theirs):
    me = MembershipFactory(tenant=ours.tenant).user
    colleague = MembershipFactory(tenant=ours.tenant).user
    stranger = MembershipFactory(tenant=theirs.tenant).user
    with scope_of(me):
        assert set(User.objects.all()) == {me, colleague}
        assert set(Membership.objects.values_list("user", flat=True)) == {me.pk, colleague.pk}
        assert User.objects.filter(pk=colleague.pk).update(name="x") == 0
        assert User.objects.filter(pk=me.pk).update(name="x") == 1
        with REFUSED, transaction.atomic():
            ApiToken.objects.create(user=stranger, name="x", prefix="x", hash="x")
        with REFUSED, transaction.atomic():
            UserFactory()


def test_signing_in_sees_accounts_and_nothing_that_a_tenant_owns(ours):
    user = MembershipFactory(tenant=ours.tenant).user
    VirtualMachineFactory()
    with sign_in_scope():
        assert User.objects.get(pk=user.pk).memberships.get().role.name
        assert names() == set()
        assert not VirtualMachine.objects.exists()
        assert not Image.objects.exists()


def test_a_customer_is_made_below_what_one_reaches_and_nowhere_else(ours, theirs):
    from tenants.actor import SYSTEM
    from tenants.services.tenants import tenant_create

    group = CustomerFactory(parent=ours.tenant.parent, kind="group")
    with tenant_scope([group.id]):
        made = tenant_create(actor=SYSTEM, name="Newest", parent=group)
        with REFUSED, transaction.atomic():
            Tenant.objects.create(kind="customer", name="no", slug="no", parent_id=theirs.tenant_id)
    assert made.parent == group


def test_names_in_addresses_stay_unique_across_tenants_that_do_not_see_each_other(ours, theirs):
    from tenants.actor import SYSTEM
    from tenants.services.tenants import tenant_create

    mine, other = (
        CustomerFactory(parent=site.tenant.parent, kind="group") for site in (ours, theirs)
    )
    tenant_create(actor=SYSTEM, name="Twin", parent=other)
    with tenant_scope([mine.id]):
        assert tenant_create(actor=SYSTEM, name="Twin", parent=mine).slug == "twin-2"


def test_a_system_scope_needs_a_reason():
    with pytest.raises(ValueError, match="reason"):
        system_scope("")
