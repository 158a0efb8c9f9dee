"""Console tickets."""

from consoles.models.ticket import ConsoleTicket

__all__ = ["ConsoleTicket"]
