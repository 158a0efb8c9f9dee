"""Telling the customer's approvers that somebody waits for them."""

from smtplib import SMTPException

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.urls import reverse

from consoles.models import ConsentRequest
from consoles.services.consent import approvers
from tenants.scope import system_scope
from tenants.services.invitation_mail import mail_is_set_up

log = structlog.get_logger("consoles.consent")


def consent_mail(*, request: ConsentRequest) -> int:
    """One message to each approver; the page shows it to them in any case. Returns how many the
    mail server took. Never inside of a transaction, as it waits."""
    if not mail_is_set_up():
        return 0
    # Whoever asks from above a group of customers need not see who decides there.
    with system_scope("the customer's own people are told, by address"):
        addresses = sorted(approvers(request.tenant).values_list("email", flat=True))
    text = render_to_string(
        "mail/consent.txt",
        {
            "requester": " ".join(request.requester_name.split()),
            "vm": request.vm.name,
            "reason": request.reason,
            "link": f"{settings.BASALT_ORIGIN}{reverse('approvals')}",
        },
    )
    sent = 0
    for address in addresses:
        try:
            sent += EmailMessage(
                f"Approval wanted: console of {request.vm.name}", text, to=[address]
            ).send()
        except (OSError, SMTPException) as error:
            log.warning("an approver could not be told", cause=repr(error))
            break
    return sent
