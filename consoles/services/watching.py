"""Whether who opened a console may still have it open."""

import uuid

from django.db.models import Q
from django.utils import timezone

from consoles.models import ConsoleTicket
from consoles.services.tickets import PERMISSION
from tenants.models import ApiToken
from tenants.scope import scope_of, system_scope
from vms.models import VirtualMachine


def console_still_allowed(ticket_id: uuid.UUID) -> bool:
    """Whether the console that this ticket opened may stay open; if so, note that it is. Found
    anew each time: the person, what they reach, and the token it was opened with."""
    with system_scope("an open console is looked at, whatever its person has lost"):
        ticket = ConsoleTicket.objects.select_related("user").filter(pk=ticket_id).first()
        if ticket is None or not ticket.user.is_active or not _token_is_good(ticket):
            return False
    with scope_of(ticket.user):
        if not VirtualMachine.objects.allowed(ticket.user, PERMISSION).filter(
            pk=ticket.vm_id
        ).exists():  # fmt: skip
            return False
        ConsoleTicket.objects.filter(pk=ticket_id).update(seen_at=timezone.now())
    return True


def _token_is_good(ticket: ConsoleTicket) -> bool:
    if ticket.token_id is None:
        return True
    now = timezone.now()
    tokens = ApiToken.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)
    return tokens.filter(pk=ticket.token_id).exists()
