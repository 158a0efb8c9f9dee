"""A customer with three VMs, and people of it and of its MSP who may delete them."""

import pytest
from django.core.cache import cache

from hypervisors.models import Job
from tenants.actor import Actor
from tenants.scope import scope_of
from tenants.services.second_person import (
    rows_wanted,
    second_person_ask,
    second_person_carry_out,
    second_person_decide,
)
from tenants.services.second_person_kinds import kind_named
from tenants.services.second_person_rules import second_person_rule_set
from tests.factories import MembershipFactory, MspFactory, VirtualMachineFactory
from vms.services.changes import vm_delete


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
