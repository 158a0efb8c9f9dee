"""Times as people say them, for pages and messages alike."""

from datetime import datetime, timedelta

from django.utils import timezone


def until_words(at: datetime | None) -> str:
    """ "until Friday 27 Nov": the last day that it holds, in the zone of who reads; with the
    hour where it does not end with a day, with the year where it is another. "" for None."""
    if at is None:
        return ""
    end = timezone.localtime(at)
    clock = ""
    if (end.hour, end.minute) == (0, 0):
        end -= timedelta(seconds=1)
    elif (end.hour, end.minute) != (23, 59):
        clock = f", {end:%H:%M}"
    year = f" {end.year}" if end.year != timezone.localtime().year else ""
    return f"until {end:%A} {end.day} {end:%b}{year}{clock}"
