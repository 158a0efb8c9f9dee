"""Nothing answers that does not say what it needs: each kind of it, with a bad example of each.

Pages and their permissions are in test_pages, the API's in test_api, sockets in test_sockets,
tables, tasks and commands in test_walls.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import shared_task
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.urls import URLPattern, URLResolver, get_resolver, path
from rest_framework.test import APIRequestFactory, force_authenticate

from portal.views.base import PageView
from tenants.api.base import TenantViewSet
from tenants.models import Site
from tenants.permissions import UnknownPermissionError
from tenants.scope import NOTHING, system_scope
from tenants.scoped_command import ScopedCommand
from tests.factories import MembershipFactory

PUBLIC = {
    "health": "says ok and nothing else",
    "security-txt": "whom to tell of a weakness",
    "api-schema": "describes the API, and holds no rows",
    "api-docs": "shows the same",
    "api-not-found": "there is no such address",
    "company-sign-in": "finds a provider by its domain",
    "install": "the installer's script",
    "agent-bundle": "the agent's program, named by its checksum",
    "agent-enrol": "a join token in the body is the key",
    "agent-image": "a host's signature is the key",
    "saml_acs": "the provider's signature is the key",
    "saml_finish_acs": "goes on with what acs has checked",
    "saml_login": "leads to the provider",
    "saml_metadata": "what a provider must know of the portal",
    "saml_sls": "answers that it is not supported",
    "openid_connect_login": "leads to the provider",
    "openid_connect_callback": "state, nonce and the provider's signature are the key",
    "socialaccount_login_cancelled": "says so",
}
"""Views that need no permission, and why that is right."""
_OTHERS = ("allauth.",)
"""allauth's pages of signing in, which the gate and the sign-in scope stand around."""


def views(patterns: Any) -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from views(pattern.url_patterns)
        elif isinstance(pattern, URLPattern):
            yield pattern.name or str(pattern.pattern), pattern.callback


def undeclared(patterns: Any) -> list[str]:
    """Names of all that answers without having said what it needs."""
    found = []
    for name, view in views(patterns):
        cls = getattr(view, "view_class", None) or getattr(view, "cls", None)
        if name in PUBLIC or view.__module__.startswith(_OTHERS):
            continue
        page = isinstance(cls, type) and issubclass(cls, PageView) and hasattr(cls, "permission")
        api = (
            isinstance(cls, type)
            and issubclass(cls, TenantViewSet)
            and (set(view.actions.values()) <= set(cls.permissions_by_action))
        )
        if not page and not api:
            found.append(name)
    return found


def test_every_address_leads_to_something_that_says_what_it_needs():
    assert undeclared(get_resolver().url_patterns) == []


def test_what_needs_nothing_is_still_there():
    assert set(PUBLIC) <= {name for name, _ in views(get_resolver().url_patterns)}


class ForgetfulViewSet(TenantViewSet[Site]):
    queryset = Site.objects.all()
    permissions_by_action = {"list": "site.view"}

    def list(self, _request):
        raise AssertionError("it answered")

    def retrieve(self, _request):
        raise AssertionError("it answered")


class ForgetfulPage(PageView):
    def get(self, _request):
        raise AssertionError("it answered")


def forgetful(_request):
    return HttpResponse()


def test_each_kind_that_says_nothing_is_found():
    patterns = [
        path("a/", forgetful, name="a-function"),
        path("b/", ForgetfulPage.as_view(), name="a-page"),
        path("c/", ForgetfulViewSet.as_view({"get": "retrieve"}), name="an-action"),
    ]
    assert undeclared(patterns) == ["a-function", "a-page", "an-action"]
    assert undeclared([path("d/", ForgetfulViewSet.as_view({"get": "list"}), name="d")]) == []


@pytest.mark.django_db
def test_an_action_that_says_nothing_does_not_answer():
    request = APIRequestFactory().get("/")
    force_authenticate(request, MembershipFactory(role="msp-owner").user)
    # The action enters the scope of who asks, in place of this one.
    with NOTHING:
        answer = ForgetfulViewSet.as_view({"get": "retrieve"})(request)
    assert answer.status_code == 500


def test_nor_does_a_page(rf):
    with pytest.raises(ImproperlyConfigured, match="declares no permission"):
        ForgetfulPage.as_view()(rf.get("/"))


def test_a_permission_that_is_none_is_not_declared():
    with pytest.raises(UnknownPermissionError):
        type("Inventive", (PageView,), {"permission": "vm.everything"})


def test_a_task_that_says_nothing_does_not_run():
    @shared_task(name="tests.forgetful")
    def forgetful_task():
        raise AssertionError("it ran")

    @shared_task(name="tests.mindful", scope=system_scope("a test"))
    def mindful_task():
        return "ran"

    try:
        with pytest.raises(ImproperlyConfigured, match="declares no scope"):
            forgetful_task()
        assert mindful_task() == "ran"
    finally:
        for task in (forgetful_task, mindful_task):
            task.app.tasks.unregister(task.name)


def test_nor_does_a_command():
    class Forgetful(ScopedCommand):
        def handle(self, *_arguments, **_options):
            raise AssertionError("it ran")

    with pytest.raises(ImproperlyConfigured, match="declares no scope"):
        Forgetful().execute()
