"""Consoles of guests."""

from consoles.models.consent import ConsentRequest, ConsentRule
from consoles.models.ticket import ConsoleTicket

__all__ = ["ConsentRequest", "ConsentRule", "ConsoleTicket"]
