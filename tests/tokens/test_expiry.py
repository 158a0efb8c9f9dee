"""People are told, once, that a token of theirs ends soon."""

from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from tenants.models import ApiToken, User
from tenants.services.people import api_token_create, api_token_revoke
from tenants.services.token_expiry import token_expiry_tell
from tenants.tasks import tell_of_ending_tokens
from tests.factories import MembershipFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def person():
    return MembershipFactory(role="customer-operator").user


def token_of(person, *, ends, made=timedelta(days=90), name="backup"):
    token, _ = api_token_create(user=person, name=name)
    now = timezone.now()
    rows = ApiToken.objects.filter(pk=token.pk)
    rows.update(created_at=now - made, expires_at=None if ends is None else now + ends)
    return rows.get()


def test_whose_token_ends_within_a_week_gets_one_mail(person, mailoutbox):
    token = token_of(person, ends=timedelta(days=6))
    other = token_of(person, ends=timedelta(days=2), name="deploy")
    token_of(person, ends=timedelta(days=8), name="later")
    token_of(person, ends=None, name="never")
    assert tell_of_ending_tokens() == 1
    [message] = mailoutbox
    assert message.to == [person.email]
    assert f"“backup” ({token.prefix}…)" in message.body
    assert f"“deploy” ({other.prefix}…)" in message.body
    assert "later" not in message.body
    assert "/me/tokens/" in message.body
    assert tell_of_ending_tokens() == 0
    assert len(mailoutbox) == 1


def test_nobody_is_told_of_what_ended_or_was_made_for_a_few_days(person, mailoutbox):
    token_of(person, ends=-timedelta(minutes=1))
    token_of(person, ends=timedelta(days=3), made=timedelta(days=1))
    api_token_revoke(token=token_of(person, ends=timedelta(days=3)))
    gone = MembershipFactory(role="customer-operator").user
    token_of(gone, ends=timedelta(days=3))
    User.objects.filter(pk=gone.pk).update(is_active=False)
    assert token_expiry_tell() == 0
    assert mailoutbox == []


def test_it_is_tried_again_when_the_mail_server_does_not_answer(person, mailoutbox, settings):
    token_of(person, ends=timedelta(days=3))
    works = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    assert token_expiry_tell() == 0
    settings.EMAIL_BACKEND = works
    assert token_expiry_tell() == 1
    assert len(mail.outbox) == 1


def test_without_a_mail_server_it_waits_for_one(person, mailoutbox, settings):
    token_of(person, ends=timedelta(days=3))
    works = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    assert token_expiry_tell() == 0
    settings.EMAIL_BACKEND = works
    assert token_expiry_tell() == 1


def test_the_list_says_so(person, client):
    token_of(person, ends=timedelta(days=3))
    client.force_login(person)
    assert client.get("/me/tokens/").content.decode().count('data-testid="ends-soon"') == 1
    ApiToken.objects.update(expires_at=timezone.now() + timedelta(days=8))
    assert 'data-testid="ends-soon"' not in client.get("/me/tokens/").content.decode()
