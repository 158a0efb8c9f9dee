"""Filters for what NICs' guards have dropped."""

from django import template

from portal.views import guard_words
from vms.models import Nic

register = template.Library()


@register.filter
def dropped_total(nic: Nic) -> int:
    """All frames that the NIC's guard has dropped."""
    return guard_words.dropped_total(nic)


@register.filter
def dropped_words(nic: Nic) -> list[tuple[int, str]]:
    """How many of which kind, the most first."""
    return guard_words.dropped_words(nic)
