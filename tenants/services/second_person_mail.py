"""Telling those who could agree that somebody waits, and whoever asked what came of it."""

from collections.abc import Sequence
from smtplib import SMTPException

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.urls import reverse

from tenants.models import SecondPersonRequest
from tenants.scope import system_scope
from tenants.services.invitation_mail import mail_is_set_up
from tenants.services.second_person import kind_of
from tenants.services.second_person_people import agreers

log = structlog.get_logger("tenants.second_person")
_SHOWN = 20


def second_person_ask_mail(requests: Sequence[SecondPersonRequest]) -> int:
    """One message to each who could agree. Returns how many the mail server took. Never inside of
    a transaction, as it waits."""
    if not mail_is_set_up():
        return 0
    sent = 0
    for request in requests:
        kind = kind_of(request)
        with system_scope("those who could agree are told, by address"):
            rows = list(kind.rows().filter(pk__in=[thing["id"] for thing in request.things]))
            found = agreers(kind, rows, but=request.asker)
        addresses = sorted(membership.user.email for membership in found)
        sent += _send(request, f"A second person wanted: {_what(request)}", "asked", addresses)
    return sent


def second_person_answer_mail(request: SecondPersonRequest) -> int:
    """The answer, to whoever asked. As above."""
    if not mail_is_set_up():
        return 0
    with system_scope("whoever asked is told, by address"):
        address = request.asker.email
    word = "Refused" if request.state == request.State.REFUSED else "Agreed"
    return _send(request, f"{word}: {_what(request)}", "answered", [address])


def _what(request: SecondPersonRequest) -> str:
    kind, count = kind_of(request), len(request.things)
    return f"{kind.verb.lower()} {count} {kind.nouns[count != 1]} of {request.tenant.name}"


def _send(
    request: SecondPersonRequest, subject: str, template: str, addresses: Sequence[str]
) -> int:
    text = render_to_string(
        f"mail/second_person_{template}.txt",
        {
            "wish": request,
            "what": _what(request),
            "things": request.things[:_SHOWN],
            "more": max(0, len(request.things) - _SHOWN),
            "link": f"{settings.BASALT_ORIGIN}{reverse('second-person')}",
        },
    )
    sent = 0
    for address in addresses:
        try:
            sent += EmailMessage(" ".join(subject.split()), text, to=[address]).send()
        except (OSError, SMTPException) as error:
            log.warning("somebody could not be told", cause=repr(error))
            break
    return sent
