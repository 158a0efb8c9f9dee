"""`.allowed`, `permissions_of` and `reach_tenants` against the rules said naively, over random
trees, memberships, denials and grants."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hypervisors.models import Hypervisor, Job, Network
from tenants.models import AccessRule, Membership, Role, Site, Tenant
from tenants.scope import scope_of
from tenants.services.reach import reach_tenants
from tests.factories import (
    CustomerFactory,
    HypervisorFactory,
    JobFactory,
    MspFactory,
    NetworkFactory,
    SiteFactory,
    UserFactory,
    VirtualMachineFactory,
)
from vms.models import VirtualMachine

pytestmark = pytest.mark.django_db

PERMISSIONS = ("vm.view", "vm.power", "site.view")
HELD = st.frozensets(st.sampled_from(PERMISSIONS), min_size=1)
EXPIRY = st.sampled_from([None, None, timedelta(days=1), timedelta(days=-1)])
# Of a tree of 7 tenants, each with a site with a host with two VMs, by number.
TENANT, SITE, VM = (st.integers(0, most) for most in (6, 6, 13))


@dataclass(frozen=True)
class Wish:
    """A membership, a denial or a grant, as the model understands it."""

    effect: str
    kind: str
    number: int
    permissions: frozenset[str] = frozenset()
    expires: timedelta | None = None

    @property
    def holds(self) -> bool:
        return self.expires is None or self.expires > timedelta(0)


def wishes(effect: str, **numbers: st.SearchStrategy[int]) -> st.SearchStrategy[Wish]:
    held = st.just(frozenset()) if effect == "deny" else HELD
    return st.one_of(
        [st.builds(Wish, st.just(effect), st.just(kind), number, held, EXPIRY)
         for kind, number in numbers.items()]
    )  # fmt: skip


WISHES = st.lists(
    st.one_of(
        wishes("allow", tenant=TENANT, site=SITE, vm=VM), wishes("deny", tenant=TENANT),
        wishes("deny", site=SITE, vm=VM),
    ),
    max_size=7,
)  # fmt: skip


@dataclass
class Land:
    """Two MSPs: one with a group of two customers and a customer of its own, one with one."""

    tenants: list[Tenant] = field(default_factory=list)
    sites: list[Site] = field(default_factory=list)
    hosts: list[Hypervisor] = field(default_factory=list)
    networks: list[Network] = field(default_factory=list)
    vms: list[VirtualMachine] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)

    def __post_init__(self) -> None:
        one, two = MspFactory(), MspFactory()
        group = CustomerFactory(parent=one, kind="group")
        customers = [CustomerFactory(parent=parent) for parent in (group, group, one, two)]
        self.tenants = [one, two, group, *customers]
        for tenant in self.tenants:
            site = SiteFactory(tenant=tenant)
            host = HypervisorFactory(site=site)
            self.sites.append(site)
            self.hosts.append(host)
            self.networks.append(NetworkFactory(hypervisor=host))
            for _ in range(2):
                vm = VirtualMachineFactory(hypervisor=host, network=self.networks[-1])
                self.vms.append(vm)
                self.jobs.append(JobFactory(hypervisor=host, subject_id=vm.id))

    def line(self, tenant: Tenant) -> list[Tenant]:
        return [tenant, *self.line(tenant.parent)] if tenant.parent else [tenant]


@pytest.fixture
def land(db) -> Land:
    return Land()


def naive(land: Land, wishes: list[Wish], tenant: Tenant, site=None, vm=None) -> frozenset[str]:
    """The rules in words: a denial of the thing, of its site, or of a tenant above takes all;
    else what is held is what memberships above give, and grants on it or on its site."""
    things = {"tenant": land.line(tenant), "site": [site], "vm": [vm]}
    rows = {"tenant": land.tenants, "site": land.sites, "vm": land.vms}
    met = [w for w in wishes if w.holds and rows[w.kind][w.number] in things[w.kind]]
    if any(wish.effect == "deny" for wish in met):
        return frozenset()
    return frozenset().union(*(wish.permissions for wish in met))


def store(land: Land, wishes: list[Wish], user) -> None:
    rows = {"tenant": land.tenants, "site": land.sites, "vm": land.vms}
    for number, wish in enumerate(wishes):
        thing = rows[wish.kind][wish.number]
        ends = wish.expires and timezone.now() + wish.expires
        role = None
        if wish.effect == "allow":
            role = Role.objects.create(
                tenant=None, slug=f"r{number}", name=f"r{number}",
                permissions=sorted(wish.permissions),
            )  # fmt: skip
        if wish.effect == "allow" and wish.kind == "tenant":
            Membership.objects.create(user=user, tenant=thing, role=role, expires_at=ends)
            continue
        about = {"tenant": thing if wish.kind == "tenant" else thing.tenant}
        if wish.kind != "tenant":
            about[wish.kind] = thing
        AccessRule.objects.create(
            user=user, effect=wish.effect, role=role, expires_at=ends, **about
        )


def once(wishes: list[Wish]) -> list[Wish]:
    """The first of each denial: the database keeps one of a kind."""
    found: dict[tuple, Wish] = {}
    for number, wish in enumerate(wishes):
        found.setdefault((wish.kind, wish.number) if wish.effect == "deny" else (number,), wish)
    return list(found.values())


@settings(
    max_examples=25,
    deadline=None,
    # Each example writes rows: making a failing one smaller takes minutes, and it is small.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(wishes=WISHES.map(once))
def test_the_queries_say_what_the_rules_say(land, wishes):
    with transaction.atomic():
        user = UserFactory()
        store(land, wishes, user)
        with scope_of(user):
            _compare(land, wishes, user)
        transaction.set_rollback(True)


def _compare(land: Land, wishes: list[Wish], user) -> None:
    def expected(rows, permission, of):
        return {row for row in rows if permission in naive(land, wishes, *of(row))}

    host_of = lambda row: (row.tenant, row.site)  # noqa: E731
    net_of = lambda row: (row.tenant, row.hypervisor.site)  # noqa: E731
    vm_of = lambda row: (row.tenant, row.hypervisor.site, row)  # noqa: E731
    by_id = {vm.id: vm for vm in land.vms}
    kinds = (
        (Tenant, land.tenants, lambda row: (row,)),
        (Site, land.sites, lambda row: (row.tenant, row)),
        (Hypervisor, land.hosts, host_of),
        (Network, land.networks, net_of),
        (VirtualMachine, land.vms, vm_of),
        (Job, land.jobs, lambda row: vm_of(by_id[row.subject_id])),
    )
    for permission in PERMISSIONS:
        for model, rows, of in kinds:
            found = list(model.objects.allowed(user, permission))
            assert len(found) == len(set(found))
            assert set(found) == expected(rows, permission, of), (model, permission)
    reached = set()
    for _, rows, of in kinds[:5]:
        for row in rows:
            held = naive(land, wishes, *of(row))
            assert Membership.objects.permissions_on(user, row) == held, row
            if held:
                reached.add(of(row)[0].id)
    assert set(reach_tenants(user)) >= reached
    denied = {
        tenant.id
        for tenant in land.tenants
        for wish in wishes
        if wish.holds
        and (wish.effect, wish.kind) == ("deny", "tenant")
        and land.tenants[wish.number] in land.line(tenant)
    }
    assert not denied & set(reach_tenants(user))
