"""An invitation goes over a real SMTP connection."""

import re
import socket

import pytest
from aiosmtpd.controller import Controller

from tenants.actor import Actor
from tenants.models import Role
from tenants.scope import scope_of
from tenants.services.invitation_mail import invitation_mail
from tenants.services.invitations import invitation_create
from tests.factories import MembershipFactory

pytestmark = pytest.mark.django_db


class Mailbox:
    """What a mail server took: envelopes with their raw messages."""

    def __init__(self):
        self.envelopes = []

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - aiosmtpd's name
        self.envelopes.append(envelope)
        return "250 Taken"


@pytest.fixture
def mailbox(settings):
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = "127.0.0.1"
    settings.EMAIL_PORT = port
    settings.DEFAULT_FROM_EMAIL = "Basalt <basalt@portal.example>"
    yield box
    controller.stop()


def test_the_server_gets_a_plain_message_with_the_link(mailbox):
    admin = MembershipFactory(
        tenant__name="Bäckerei Müller", role="customer-administrator", user__name="Zoë"
    )
    with scope_of(admin.user):
        invitation, secret = invitation_create(
            actor=Actor(user=admin.user),
            tenant=admin.tenant,
            role=Role.objects.get(tenant=None, slug="customer-viewer"),
            email="new@example.com",
        )
        assert invitation_mail(invitation=invitation, secret=secret)
    [envelope] = mailbox.envelopes
    assert envelope.rcpt_tos == ["new@example.com"]
    assert envelope.mail_from == "basalt@portal.example"
    from email import message_from_bytes, policy

    message = message_from_bytes(envelope.content, policy=policy.default)
    assert message["Subject"] == "Invitation to Bäckerei Müller"
    assert message.get_content_type() == "text/plain"
    text = message.get_content()
    assert f"Zoë ({admin.user.email}) invites you to Bäckerei Müller" in text
    assert re.search(rf"^\S+/invited/{secret}/\r?$", text, re.M)
