"""One module for each group of jobs. Importing this package registers them all."""

from agent.handlers import changes, creation, deletion, nics, power, telling
from agent.handlers.registry import handler_for, handles

__all__ = [
    "changes",
    "creation",
    "deletion",
    "handler_for",
    "handles",
    "nics",
    "power",
    "telling",
]
