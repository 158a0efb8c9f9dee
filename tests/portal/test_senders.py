"""Whose uploads may take up room: known people who may add images somewhere."""

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import Client

from portal.senders import may_send_images
from tenants.models import User
from tenants.services.people import api_token_create, api_token_revoke
from tests.factories import MembershipFactory

pytestmark = pytest.mark.django_db(transaction=True)


def scope(**headers: str) -> dict[str, Any]:
    return {"headers": [(name.encode(), value.encode()) for name, value in headers.items()]}


def somebody(role: str) -> User:
    return MembershipFactory(role=role).user


def session_of(user: User) -> str:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return f"sessionid={client.cookies['sessionid'].value}"


async def ask(**headers: str) -> bool:
    return await may_send_images(scope(**headers))


@pytest.mark.parametrize(("role", "may"), [("msp-technician", True), ("customer-viewer", False)])
def test_a_token_counts_for_what_its_user_may(role, may):
    _, secret = api_token_create(user=somebody(role), name="t")
    assert async_to_sync(ask)(authorization=f"Bearer {secret}") is may


@pytest.mark.parametrize(("role", "may"), [("msp-technician", True), ("customer-viewer", False)])
def test_a_session_counts_for_what_its_user_may(role, may):
    assert async_to_sync(ask)(cookie=session_of(somebody(role))) is may


def test_a_revoked_token_counts_for_nothing():
    token, secret = api_token_create(user=somebody("msp-technician"), name="t")
    api_token_revoke(token=token)
    assert async_to_sync(ask)(authorization=f"Bearer {secret}") is False


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer bslt_nothing"},
        {"authorization": "Basic \x00"},
        {"cookie": "sessionid=nothing"},
        {"cookie": 'sessionid="\x01; =;;;'},
    ],
)
def test_nobody_is_nobody(headers):
    assert async_to_sync(ask)(**headers) is False
