"""A customer's consent to consoles: who needs it, who gives it, and for how long it is good.

People of the house are those with a customer's role on the customer itself, or on a group of
customers over it: they open consoles as their role says, and decide on what others ask. Whoever
comes from the MSP asks: by a role on the MSP, by one of the MSP's roles on the customer, or because
they were given a single site or VM.
"""

from datetime import timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from consoles.models import ConsentRequest, ConsentRule
from tenants.actor import Actor
from tenants.errors import InvalidInputError, RuleError
from tenants.models import Tenant, User
from tenants.scope import system_scope
from tenants.services.audit import audit_record
from tenants.services.house import held_in_the_house, of_the_house
from tenants.services.limits import limit_use
from tenants.services.live import live_publish, person_recheck
from vms.models import VirtualMachine

MANAGE = "consent.manage"
_CONSOLE = "vm.console"
HOURS = (1, 4)
"""For how long an approval can be given."""


class ConsentNeededError(RuleError):
    """The customer has not approved, or not any more."""

    code = "consent_needed"
    status = 403


class NotOfTheHouseError(RuleError):
    """Only the customer's own people may do this."""

    code = "not_of_the_house"
    status = 403


class AlreadyDecidedError(RuleError):
    code = "already_decided"
    status = 409


def consent_needed(user: User, vm: VirtualMachine) -> bool:
    """Whether `user` must have asked before opening this VM's console. Two queries at most."""
    if not ConsentRule.objects.about(vm).exists():
        return False
    return not of_the_house(user, vm.tenant, _CONSOLE)


def consent_check(user: User, vm: VirtualMachine) -> None:
    """The one question before every look at a guest: tickets, open consoles and small pictures
    all ask it. Raises ConsentNeededError."""
    if not consent_needed(user, vm):
        return
    if ConsentRequest.objects.good().filter(requester=user, vm=vm).exists():
        return
    waiting = consent_waiting(user, vm)
    raise ConsentNeededError(
        f"Waiting for approval of {vm.tenant.name}."
        if waiting is not None
        else f"{vm.tenant.name} wants to approve it before you open the console of “{vm.name}”. "
        "Ask on the console's page, or by POST to …/console/request/, and say why."
    )


def consent_waiting(user: User, vm: VirtualMachine) -> ConsentRequest | None:
    """What this person asked, and nobody has decided on yet."""
    return ConsentRequest.objects.waiting().filter(requester=user, vm=vm).first()


@transaction.atomic
def consent_ask(*, actor: Actor, vm: VirtualMachine, reason: str) -> tuple[ConsentRequest, bool]:
    """Ask the customer. Returns the request and whether it is new: whoever asks again gets the one
    that waits already. The caller has fetched `vm` among those on which the person holds
    vm.console, and tells the approvers of a new one.

    Raises InvalidInputError, NotOfTheHouseError, TooOftenError.
    """
    reason = " ".join(reason.split())
    if actor.user is None or not reason or len(reason) > 500:
        raise InvalidInputError("Say in a few words why, 500 letters at most.", field="reason")
    # One at a time: of two that ask at once, the second finds the first.
    with system_scope("a person asks for themselves, one request after the other"):
        User.objects.select_for_update().get(pk=actor.user.pk)
    waiting = consent_waiting(actor.user, vm)
    if waiting is not None:
        return waiting, False
    if not approvers(vm.tenant).exists():
        raise NotOfTheHouseError(
            f"Nobody at {vm.tenant.name} can approve it. Invite somebody there as “Customer "
            "administrator”, or with a role that may approve consoles."
        )
    limit_use(
        f"consent:{actor.user.pk}:{vm.tenant_id}",
        most=20,
        per_s=3600,
        message=f"You asked {vm.tenant.name} 20 times within an hour. Go on in an hour.",
    )
    request = ConsentRequest.objects.create(
        tenant=vm.tenant,
        vm=vm,
        requester=actor.user,
        requester_name=str(actor.user)[:254],
        reason=reason,
    )
    _note(actor, request, "consent.ask", {"reason": reason})
    return request, True


@transaction.atomic
def consent_decide(*, actor: Actor, request: ConsentRequest, hours: int) -> ConsentRequest:
    """Approve for so many hours, or refuse with 0. The caller has fetched `request` among those
    on which the person holds consent.manage.

    Raises InvalidInputError, NotOfTheHouseError, AlreadyDecidedError.
    """
    request = _locked(request)
    if hours not in (0, *HOURS):
        raise InvalidInputError("Approve for 1 hour or for 4, or refuse.", field="hours")
    house_check(actor, request.tenant)
    if actor.user is not None and request.requester_id == actor.user.pk:
        raise NotOfTheHouseError("Nobody approves what they asked for themselves.")
    if request.state != ConsentRequest.State.WAITING:
        raise AlreadyDecidedError(
            f"It is {request.state.label.lower()} already. If it is still needed, it must be asked "
            "again."
        )
    request.decided_by, request.decided_at = actor.user, timezone.now()
    if hours:
        request.approved_until = request.decided_at + timedelta(hours=hours)
    request.save(update_fields=["decided_by", "decided_at", "approved_until"])
    _note(actor, request, "consent.approve" if hours else "consent.refuse", {"hours": hours})
    return request


@transaction.atomic
def consent_end(*, actor: Actor, request: ConsentRequest) -> None:
    """Take an approval back: a console that is open closes at once.

    Raises NotOfTheHouseError, AlreadyDecidedError.
    """
    request = _locked(request)
    house_check(actor, request.tenant)
    if request.state != ConsentRequest.State.APPROVED:
        raise AlreadyDecidedError("This approval does not hold any more.")
    request.approved_until = timezone.now()
    request.save(update_fields=["approved_until"])
    _note(actor, request, "consent.end", {})
    person_recheck(request.requester_id)


@transaction.atomic
def consent_rule_set(
    *, actor: Actor, tenant: Tenant, vm: VirtualMachine | None, wanted: bool
) -> None:
    """Ask for consent to consoles of `vm`, or of all VMs of `tenant`; or ask no more. Consoles
    that are open without it close. Raises NotOfTheHouseError."""
    house_check(actor, tenant)
    rules = ConsentRule.objects.filter(tenant=tenant, vm=vm)
    if wanted == rules.exists():
        return
    if wanted:
        ConsentRule.objects.create(tenant=tenant, vm=vm)
    else:
        rules.delete()
    audit_record(
        actor=actor,
        tenant=tenant,
        action="consent.rule",
        object_kind="vm" if vm else "tenant",
        object_id=vm.id if vm else tenant.id,
        object_name=vm.name if vm else tenant.name,
        site_id=vm.hypervisor.site_id if vm else None,
        before={"approval_needed": not wanted},
        after={"approval_needed": wanted},
    )
    live_publish(tenant_id=tenant.id, kind="consent", object_id=tenant.id)
    _recheck_consoles(tenant, vm)


def house_check(actor: Actor, tenant: Tenant) -> None:
    """Raises NotOfTheHouseError unless the actor may decide for the customer itself."""
    if actor.user is None or not of_the_house(actor.user, tenant, MANAGE):
        raise NotOfTheHouseError(
            f"Only people of {tenant.name} itself decide on this: those with a role there that "
            "may approve consoles."
        )


def approvers(tenant: Tenant) -> "QuerySet[User]":
    """Who can decide for this customer."""
    held = held_in_the_house(tenant, MANAGE)
    people = User.objects.filter(is_active=True, is_service=False)
    return people.filter(id__in=held.order_by().values("user_id"))


def _recheck_consoles(tenant: Tenant, vm: VirtualMachine | None) -> None:
    from consoles.models import ConsoleTicket

    with system_scope("whoever has a console open here, from wherever they come"):
        opened = ConsoleTicket.objects.open()
        below = Q(tenant=tenant) | Q(tenant__parent=tenant)
        opened = opened.filter(vm=vm) if vm else opened.filter(below)
        for user_id in set(opened.values_list("user_id", flat=True)):
            person_recheck(user_id)


def _locked(request: ConsentRequest) -> ConsentRequest:
    rows = ConsentRequest.objects.select_for_update(of=("self",)).select_related(
        "tenant", "vm__hypervisor"
    )
    return rows.get(pk=request.pk)


def _note(actor: Actor, request: ConsentRequest, action: str, after: dict[str, object]) -> None:
    audit_record(
        actor=actor,
        tenant=request.tenant,
        action=action,
        object_kind="vm",
        object_id=request.vm_id,
        object_name=request.vm.name,
        site_id=request.vm.hypervisor.site_id,
        after={"requester": request.requester_name, **after},
    )
    live_publish(tenant_id=request.tenant_id, kind="consent", object_id=request.id)
