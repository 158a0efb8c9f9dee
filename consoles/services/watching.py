"""Whether who opened a console may still have it open."""

import uuid

from django.utils import timezone

from consoles.models import ConsoleTicket
from consoles.services.tickets import PERMISSION, console_may_be_open, token_is_good
from tenants.scope import scope_of, system_scope
from vms.models import VirtualMachine


def console_still_allowed(ticket_id: uuid.UUID) -> bool:
    """Whether the console that this ticket opened may stay open; if so, note that it is. Found
    anew each time: the person, what they reach, the token it was opened with, and the customer's
    consent."""
    with system_scope("an open console is looked at, whatever its person has lost"):
        tickets = ConsoleTicket.objects.select_related("user", "token__made_with")
        ticket = tickets.filter(pk=ticket_id).first()
        if ticket is None or not ticket.user.is_active or not token_is_good(ticket.token_id):
            return False
        whose = scope_of(ticket.user, ticket.token)
    with whose:
        vms = VirtualMachine.objects.allowed(ticket.user, PERMISSION).select_related("tenant")
        vm = vms.filter(pk=ticket.vm_id).first()
        if vm is None or not console_may_be_open(ticket.user, vm):
            return False
        ConsoleTicket.objects.filter(pk=ticket_id).update(seen_at=timezone.now())
    return True
