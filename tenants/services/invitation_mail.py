"""The message that an invitation is, and whether it could be sent."""

from smtplib import SMTPException

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from tenants.models import Invitation
from tenants.words import until_words

log = structlog.get_logger("tenants.mail")

_NO_SERVER = frozenset({"console", "dummy"})


def mail_is_set_up() -> bool:
    """Whether there is a mail server to give messages to."""
    return settings.EMAIL_BACKEND.rpartition("backends.")[2].partition(".")[0] not in _NO_SERVER


def invitation_link(secret: str) -> str:
    """Where the invited person goes."""
    return f"{settings.BASALT_ORIGIN}{reverse('invitation-accept', args=(secret,))}"


def invitation_mail(*, invitation: Invitation, secret: str) -> bool:
    """Send the link. False where there is no mail server, or it did not take the message:
    then somebody must carry the link by hand. Never inside of a transaction, as it waits."""
    if not mail_is_set_up():
        return False
    inviter = invitation.invited_by
    text = render_to_string(
        "mail/invitation.txt",
        {
            "inviter": _line(f"{inviter} ({inviter.email})" if inviter else "Somebody"),
            "tenant": _line(invitation.tenant.name),
            "role": _line(invitation.role.name),
            "ends": until_words(invitation.membership_expires_at),
            "expires": f"{timezone.localtime(invitation.expires_at):%A %-d %B %Y, %H:%M %Z}",
            "link": invitation_link(secret),
        },
    )
    subject = f"Invitation to {_line(invitation.tenant.name)}"
    try:
        EmailMessage(subject, text, to=[invitation.email]).send()
    except (OSError, SMTPException) as error:
        log.warning("an invitation could not be sent", cause=repr(error))
        return False
    Invitation.objects.filter(pk=invitation.pk).update(mailed=True)
    return True


def _line(text: str) -> str:
    """Names stay on their line: what follows one would look like ours."""
    return " ".join(text.split())
