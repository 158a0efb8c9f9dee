"""Telling people that a token of theirs ends soon: what works with it would stop without a word."""

from datetime import datetime
from smtplib import SMTPException
from zoneinfo import ZoneInfo

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import F, QuerySet
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from tenants.models import ApiToken, User
from tenants.models.api_token import ENDS_SOON
from tenants.scope import system_scope
from tenants.services.invitation_mail import mail_is_set_up

log = structlog.get_logger("tenants.mail")


def token_expiry_tell() -> int:
    """One message to each person of whom tokens end within a week, about all of these, once.
    Returns how many the mail server took; for the others it is tried again. Tokens that were made
    for a week or less are not told of: whoever made one knows. Nor are those of service accounts,
    which have no mailbox. Never inside of a transaction, as it waits.
    """
    if not mail_is_set_up():
        return 0
    with system_scope("tokens of everybody end"):
        people = User.objects.filter(api_tokens__in=_untold()).distinct()
        return sum(_tell(person) for person in people)


def _untold() -> "QuerySet[ApiToken]":
    soon = timezone.now() + ENDS_SOON
    return ApiToken.objects.good().filter(
        expires_at__lte=soon,
        expires_at__gt=F("created_at") + ENDS_SOON,
        expiry_told_at=None,
        user__is_service=False,
    )


def _tell(person: User) -> bool:
    # Taken first: of two workers, or of one that is stopped half-way, one at most tells.
    now = timezone.now()
    with transaction.atomic():
        found = _untold().filter(user=person).select_for_update(of=("self",), skip_locked=True)
        tokens = list(found.order_by("expires_at", "id"))
        ids = [token.pk for token in tokens]
        ApiToken.objects.filter(pk__in=ids).update(expiry_told_at=now)
    if not tokens:
        return False
    link = f"{settings.BASALT_ORIGIN}{reverse('tokens')}"
    facts = {"lines": [_line(token, person) for token in tokens], "link": link}
    text = render_to_string("mail/tokens_end.txt", facts)
    subject = "An API token of yours ends soon" if len(ids) == 1 else "API tokens of yours end soon"
    try:
        EmailMessage(f"Basalt: {subject}", text, to=[person.email]).send()
    except (OSError, SMTPException) as error:
        log.warning("nobody could be told that a token ends", cause=repr(error))
        ApiToken.objects.filter(pk__in=ids, expiry_told_at=now).update(expiry_told_at=None)
        return False
    return True


def _line(token: ApiToken, person: User) -> str:
    # Names stay on their line: what follows one would look like ours.
    name = " ".join(token.name.split())
    return f"“{name}” ({token.prefix}…), {_when(token.expires_at, person)}"


def _when(at: datetime | None, person: User) -> str:
    return f"{timezone.localtime(at, ZoneInfo(person.time_zone)):%A %-d %B %Y, %H:%M %Z}"
