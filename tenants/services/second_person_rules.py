"""When a second person must agree, and who says so. See docs/decisions/0015-second-person.md.

Rules are a tenant's own: they hold for it and for what is below it, and only its own people set
them. What one person destroys is counted over ten minutes, whichever way they take.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from tenants.actor import AGREED, Actor
from tenants.errors import InvalidInputError, RuleError
from tenants.models import (
    AuditEvent,
    DeletedTenant,
    SecondPersonRule,
    Tenant,
    User,
)
from tenants.models.second_person import MOST_THINGS
from tenants.models.tenant import at_or_below
from tenants.scope import system_scope
from tenants.services.audit import audit_record
from tenants.services.house import of_the_house
from tenants.services.live import live_publish
from tenants.services.second_person_kinds import Kind, Thing, kind_named, kind_register, kinds
from tenants.services.second_person_people import two_can

MANAGE = "consent.manage"
LOOSEN = "second_person.loosen"
_HOLDS = "a rule holds for whoever reaches what is below it"
WINDOW = timedelta(minutes=10)
"""Over which things destroyed one by one are counted together."""


class SecondPersonNeededError(Exception):
    """A second person must agree first. No RuleError: pages lead from here to asking for it,
    rather than tell it beside a field."""

    code = "second_person_needed"
    status = 409

    def __init__(self, kind: Kind, row: Any, rule: SecondPersonRule, option: str = "") -> None:
        self.kind, self.row_id, self.option = kind, row.pk, option
        self.why = _why(rule)
        self.message = (
            f"{self.why} Ask for it by POST to /api/v1/second-person/ with kind “{kind.name}”, "
            "the ids as rows, and a reason."
        )
        super().__init__(self.message)


class NotOfTheHouseError(RuleError):
    """Only the tenant's own people may do this."""

    code = "not_of_the_house"
    status = 403


class NobodyToAgreeError(RuleError):
    code = "nobody_to_agree"
    status = 409


@dataclass(frozen=True)
class Needed:
    """Which of some rows need a second person, and by which rules."""

    ids: frozenset[UUID]
    rules: tuple[SecondPersonRule, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.ids)

    @property
    def words(self) -> str:
        """Why, one sentence for each rule."""
        return " ".join(_why(rule) for rule in self.rules)


NOT_NEEDED = Needed(frozenset())


def _why(rule: SecondPersonRule) -> str:
    name = rule.tenant.name
    if rule.threshold == 1:
        return f"{name} wants a second person to agree before anything is deleted or forced off."
    return (
        f"{name} wants a second person to agree before {rule.threshold} or more things are deleted "
        "or forced off within ten minutes."
    )


def second_person_needed(*, actor: Actor, kind: Kind, rows: Sequence[Any]) -> Needed:
    """Which of `rows` this person can't do `kind` to alone. Two queries where no rule is near."""
    user = actor.user
    tenants = {row.pk: kind.tenant(row) for row in rows if row.pk not in actor.agreed}
    lines = _lines(tenants.values())
    rules = _rules_near(lines)
    if user is None or not rules:
        return NOT_NEEDED
    with system_scope(_HOLDS):
        ids: set[UUID] = set()
        caught = []
        for rule in rules:
            below = [row for row in rows if rule.tenant_id in _line(tenants.get(row.pk), lines)]
            things = set().union(*(kind.objects(row) for row in below))
            if len(things | _lately(user, rule.tenant)) >= rule.threshold:
                caught.append(rule)
                ids |= {row.pk for row in below}
    return Needed(frozenset(ids), tuple(caught))


def second_person_check(*, actor: Actor, kind: str, row: Any, option: str = "") -> None:
    """Before anything is destroyed, inside of the transaction that does it, and before it locks
    anything else. Raises SecondPersonNeededError."""
    found = kind_named(kind)
    if found is None:
        raise LookupError(kind)
    if actor.user is None or row.pk in actor.agreed or not _rules_near(_lines([found.tenant(row)])):
        return
    with system_scope("one person's acts are counted one after the other"):
        User.objects.select_for_update(no_key=True).get(pk=actor.user.pk)
    needed = second_person_needed(actor=actor, kind=found, rows=[row])
    if needed:
        raise SecondPersonNeededError(found, row, needed.rules[0], option)


def _lines(tenants: Iterable[Tenant | None]) -> dict[UUID, tuple[UUID, ...]]:
    """Of each tenant its id and those of the tenants above it. One query for all."""
    wanted = {tenant.pk for tenant in tenants if tenant is not None}
    with system_scope(_HOLDS):
        rows = Tenant.objects.filter(id__in=wanted).order_by()
        found = list(rows.values_list("id", "parent_id", "parent__parent_id")) if wanted else []
    return {own: tuple(filter(None, (own, above, top))) for own, above, top in found}


def _line(tenant: Tenant | None, lines: dict[UUID, tuple[UUID, ...]]) -> tuple[UUID, ...]:
    return lines.get(tenant.pk, ()) if tenant is not None else ()


def _rules_near(lines: dict[UUID, tuple[UUID, ...]]) -> list[SecondPersonRule]:
    """Of these tenants and those above them."""
    near = {one for line in lines.values() for one in line}
    if not near:
        return []
    with system_scope(_HOLDS):
        return list(SecondPersonRule.objects.filter(tenant__in=near).select_related("tenant"))


def _lately(user: User, tenant: Tenant) -> set[UUID]:
    """What this person alone destroyed of the tenant, and below it, within the window."""
    acts = Q()
    for kind in kinds():
        for action, mark in kind.counted.items():
            acts |= Q(action=action, **({f"after__{mark}": True} if mark else {}))
    tenants = list(Tenant.objects.filter(at_or_below([tenant.pk])).values_list("id", flat=True))
    gone = DeletedTenant.objects.filter(reach_tenant__in=tenants).values("id")
    events = (
        AuditEvent.objects.filter(acts, actor=user, created_at__gt=timezone.now() - WINDOW)
        .filter(Q(tenant__in=tenants) | Q(tenant__in=gone))
        .exclude(credential=AGREED)
        .order_by()
    )
    return {one for one in events.values_list("object_id", flat=True) if one is not None}


# ------------------------------------------------------------------ rules


@transaction.atomic
def second_person_rule_set(*, actor: Actor, tenant: Tenant, threshold: int | None) -> None:
    """A second person agrees from `threshold` things on; None: never. To ask for less than before
    a second person agrees, too.

    Raises InvalidInputError, NotOfTheHouseError, NobodyToAgreeError, SecondPersonNeededError.
    """
    if threshold is not None and not 1 <= threshold <= MOST_THINGS:
        raise InvalidInputError(f"Choose a number from 1 to {MOST_THINGS}.", field="threshold")
    if actor.user is None or not of_the_house(actor.user, tenant, MANAGE):
        raise NotOfTheHouseError(
            f"Only people of {tenant.name} itself decide on this: those with a role there that "
            "may approve consoles."
        )
    # One after the other: of two that set it, the second sees what the first did.
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    rule = SecondPersonRule.objects.select_for_update(of=("self",)).filter(tenant=tenant).first()
    before = rule.threshold if rule else None
    if before == threshold:
        return
    if rule is not None and (threshold is None or threshold > rule.threshold):
        if rule.pk not in actor.agreed:
            kind = kind_named(LOOSEN)
            assert kind is not None  # noqa: S101 - registered below
            raise SecondPersonNeededError(kind, rule, rule, str(threshold or ""))
    elif not two_can(tenant):
        raise NobodyToAgreeError(
            f"Fewer than two people may delete VMs of {tenant.name}, so nobody could agree with "
            "the other. Invite a second one with a role that may, then switch it on."
        )
    if threshold is None:
        SecondPersonRule.objects.filter(tenant=tenant).delete()
    else:
        SecondPersonRule.objects.update_or_create(tenant=tenant, defaults={"threshold": threshold})
    audit_record(
        actor=actor,
        tenant=tenant,
        action="second_person.rule",
        object_kind="tenant",
        object_id=tenant.id,
        object_name=tenant.name,
        before={"second_person_from": before},
        after={"second_person_from": threshold},
    )
    live_publish(tenant_id=tenant.id, kind="agreement", object_id=tenant.id)


def _loosen_good(option: str) -> bool:
    if option == "":
        return True
    return option.isascii() and option.isdigit() and len(option) < 4 and int(option) > 1


def _loosened(rule: SecondPersonRule, option: str) -> Thing:
    wish = f"a second person from {option} things on" if option else "one person is enough"
    return Thing(
        name=f"The rule of {rule.tenant.name}",
        where=f"a second person from {rule.threshold} thing{'s' * (rule.threshold != 1)} on",
        loss=f"is loosened: {wish}",
    )


def kinds_register() -> None:
    """Kinds of this app."""
    from tenants.services.tenant_removal import tenant_remove

    kind_register(
        Kind(
            name=LOOSEN,
            verb="Loosen",
            done="loosened",
            nouns=("rule", "rules"),
            permissions=(MANAGE,),
            rows=lambda: SecondPersonRule.objects.select_related("tenant"),
            thing=_loosened,
            carry_out=lambda actor, rule, option: second_person_rule_set(
                actor=actor, tenant=rule.tenant, threshold=int(option) if option else None
            ),
            option_good=_loosen_good,
            also=lambda user, rule: of_the_house(user, rule.tenant, MANAGE),
        )
    )
    kind_register(
        Kind(
            name="tenant.remove",
            verb="Delete",
            done="deleted",
            nouns=("customer", "customers"),
            permissions=("tenant.manage",),
            rows=lambda: Tenant.objects.select_related("parent"),
            thing=lambda tenant, _: Thing(
                tenant.name,
                tenant.parent.name if tenant.parent else "",
                "is deleted, with its images, roles and memberships",
            ),
            carry_out=lambda actor, tenant, _: tenant_remove(actor=actor, tenant=tenant),
            counted={"tenant.remove": ""},
            # It is not there any more afterwards.
            tenant=lambda tenant: tenant.parent,
        )
    )
