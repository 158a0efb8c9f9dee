"""Console tickets: made for a person who may, redeemed once, within seconds."""

import hashlib
import secrets
import uuid
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.utils import timezone

from consoles.models import ConsoleTicket
from consoles.services.consent import ConsentNeededError, consent_check
from hypervisors.services.jobs import host_must_be_online
from tenants.actor import Actor
from tenants.errors import InvalidInputError, RuleError
from tenants.models import ApiToken, User
from tenants.scope import scope_of, system_scope
from tenants.services.audit import audit_record
from vms.models import Power, VirtualMachine

TICKET_LIFE = timedelta(seconds=10)
PERMISSION = "vm.console"
_KEPT = timedelta(hours=1)


class VmNotRunningError(RuleError):
    """There is no screen to show."""

    code = "vm_not_running"
    status = 409


class TicketInvalidError(RuleError):
    """Unknown, used, too old, somebody else's, or its VM is out of sight: all the same."""

    code = "ticket_invalid"
    status = 404


def console_url(secret: str) -> str:
    """The WebSocket that a ticket opens."""
    return f"ws{settings.BASALT_ORIGIN.removeprefix('http')}/console/{secret}/"


@transaction.atomic
def console_ticket_create(
    *, actor: Actor, vm: VirtualMachine, kind: str
) -> tuple[ConsoleTicket, str]:
    """A ticket for the acting person, and its secret. The caller has fetched `vm` among those
    on which the person holds vm.console.

    Raises InvalidInputError, ConsentNeededError, HostOfflineError, VmNotRunningError.
    """
    if actor.user is None:
        raise InvalidInputError("A console is opened by a person.")
    if kind not in ConsoleTicket.Kind.values:
        raise InvalidInputError("A console is “vnc” or “serial”.", field="kind")
    consent_check(actor.user, vm)
    host_must_be_online(vm.hypervisor)
    if vm.observed_power in {Power.OFF, Power.CRASHED}:
        raise VmNotRunningError(f"“{vm.name}” is off, so it has no console. Start it first.")
    now = timezone.now()
    old = ConsoleTicket.objects.filter(user=actor.user, expires_at__lt=now - _KEPT)
    old.exclude(pk__in=ConsoleTicket.objects.open().values("pk")).delete()
    secret = secrets.token_urlsafe(32)
    ticket = ConsoleTicket.objects.create(
        tenant_id=vm.tenant_id,
        vm=vm,
        user=actor.user,
        token=actor.token,
        kind=kind,
        hash=_hash(secret),
        expires_at=now + TICKET_LIFE,
    )
    audit_record(
        actor=actor,
        tenant=vm.tenant,
        action="vm.console",
        object_kind="vm",
        object_id=vm.id,
        object_name=vm.name,
        site_id=vm.hypervisor.site_id,
        after={"kind": kind},
    )
    return ticket, secret


@transaction.atomic
def console_ticket_redeem(*, user: User | AnonymousUser | None, secret: str) -> ConsoleTicket:
    """Use a ticket up. `user` is who is signed in where the socket comes from: it must be the
    ticket's own. A program that works with an API token has no session: there the ticket
    alone speaks for its user, who must still hold the permission.

    Raises TicketInvalidError.
    """
    now = timezone.now()
    with system_scope("a ticket's secret says whose it is"):
        tickets = ConsoleTicket.objects.filter(
            hash=_hash(secret), used_at=None, expires_at__gt=now, user__is_active=True
        )
        if user is not None and user.is_authenticated:
            tickets = tickets.filter(user=user)
        ticket = tickets.select_related("user", "token__made_with").first()
        if ticket is None or not token_is_good(ticket.token_id):
            raise _ticket_invalid()
        whose = scope_of(ticket.user, ticket.token)
    with whose:
        vms = VirtualMachine.objects.allowed(ticket.user, PERMISSION)
        vm = vms.select_related("hypervisor", "tenant").filter(pk=ticket.vm_id).first()
        if vm is not None and not console_may_be_open(ticket.user, vm):
            raise _ticket_invalid()
        # The update decides: of two that redeem at once, one finds no unused row any more.
        unused = ConsoleTicket.objects.filter(pk=ticket.pk, used_at=None)
        if vm is None or not unused.update(used_at=now, seen_at=now):
            raise _ticket_invalid()
    ticket.vm = vm
    return ticket


@transaction.atomic
def console_closed(*, actor: Actor, ticket: ConsoleTicket, seconds: int) -> None:
    """A console that was open for `seconds` is not any more."""
    vm = ticket.vm
    # Whoever had it open may see nothing of the VM any more: that may be why it ended.
    with system_scope("the end of a console is noted, whoever it was"):
        ConsoleTicket.objects.filter(pk=ticket.pk).update(closed_at=timezone.now())
        audit_record(
            actor=actor,
            tenant=vm.tenant,
            action="vm.console_close",
            object_kind="vm",
            object_id=vm.id,
            object_name=vm.name,
            site_id=vm.hypervisor.site_id,
            after={"kind": ticket.kind, "seconds": seconds},
        )


def console_may_be_open(user: User, vm: VirtualMachine) -> bool:
    """Whether the customer's consent, where it is needed, is there."""
    try:
        consent_check(user, vm)
    except ConsentNeededError:
        return False
    return True


def token_is_good(token_id: uuid.UUID | None) -> bool:
    """Whether the API token that a ticket was made with still opens anything; True without one."""
    return token_id is None or ApiToken.objects.good().filter(pk=token_id).exists()


def _ticket_invalid() -> TicketInvalidError:
    return TicketInvalidError("This console ticket is used or too old. Open the console again.")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
