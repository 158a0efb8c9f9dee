"""Whether who opened a console may still have it open."""

import uuid

from django.db.models import Q
from django.utils import timezone

from consoles.models import ConsoleTicket
from consoles.services.tickets import PERMISSION, console_may_be_open
from tenants.models import ApiToken
from tenants.scope import scope_of, system_scope
from vms.models import VirtualMachine


def console_still_allowed(ticket_id: uuid.UUID) -> bool:
    """Whether the console that this ticket opened may stay open; if so, note that it is. Found
    anew each time: the person, what they reach, the token it was opened with, and the customer's
    consent."""
    with system_scope("an open console is looked at, whatever its person has lost"):
        ticket = ConsoleTicket.objects.select_related("user").filter(pk=ticket_id).first()
        if ticket is None or not ticket.user.is_active or not _token_is_good(ticket):
            return False
    with scope_of(ticket.user):
        vms = VirtualMachine.objects.allowed(ticket.user, PERMISSION).select_related("tenant")
        vm = vms.filter(pk=ticket.vm_id).first()
        if vm is None or not console_may_be_open(ticket.user, vm):
            return False
        ConsoleTicket.objects.filter(pk=ticket_id).update(seen_at=timezone.now())
    return True


def _token_is_good(ticket: ConsoleTicket) -> bool:
    if ticket.token_id is None:
        return True
    now = timezone.now()
    tokens = ApiToken.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)
    return tokens.filter(pk=ticket.token_id).exists()
