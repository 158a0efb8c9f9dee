"""Each successful change leaves exactly one event, a refused one none; and no secret is in any.

The pages and the API's routes are walked: a new one that is not in changes.py fails here.
"""

import logging
import re
from typing import Any

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.test import Client

from hypervisors.models import Job, JobEvent
from portal.views import urls as pages
from tenants.models import AuditEvent
from tests.audit.changes import CALLS, MARK, NO_EVENT, PAGES
from tests.audit.scene import Scene, scene_make
from tests.factories import MembershipFactory, MspFactory
from tests.policy.test_api import ROUTES

pytestmark = pytest.mark.django_db
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
OURS = re.compile(r"(bslt|bj)_[A-Za-z0-9_-]{16,}")


def names_of_pages() -> set[str]:
    return {
        str(pattern.name)
        for pattern in pages.urlpatterns
        if hasattr(pattern.callback.view_class, "post")
    }


def name_of(route: Any) -> str:
    path = route.path.removeprefix("^").removesuffix("$")
    path = path.replace("(?P<pk>[^/.]+)", "{pk}")
    path = re.sub(r"<str:(\w+)>", r"{\1}", path)
    return f"{route.method.upper()} {path}"


def names_of_calls() -> set[str]:
    return {name_of(route) for route in ROUTES if route.method != "get"}


def test_every_page_and_action_that_changes_something_is_walked():
    assert names_of_pages() | names_of_calls() == set(PAGES) | set(CALLS) | set(NO_EVENT)
    assert not (set(PAGES) | set(CALLS)) & set(NO_EVENT)


@pytest.fixture
def scene(settings, media) -> Scene:
    msp = MspFactory()
    user = MembershipFactory(tenant=msp, role="msp-owner").user
    return scene_make(msp, user)


@pytest.fixture
def nothing_before(scene) -> set[Any]:
    return set(AuditEvent.objects.values_list("id", flat=True))


def path_of(name: str, scene: Scene, pk: Any) -> str:
    template = name.split(" ")[1]
    return "/api/v1/" + template.format(pk=pk, nic_id=scene.fleet.vm.nics.get().id)


def events(before: set[Any]) -> list[AuditEvent]:
    return list(AuditEvent.objects.exclude(id__in=before))


def must_hold_no_secret(caplog, *secrets: str) -> None:
    """Not in any event, job, step of a job, or line of the log."""
    encoder = DjangoJSONEncoder(default=str)
    rows = [
        encoder.encode({key: str(value) for key, value in row.items()})
        for model in (AuditEvent, Job, JobEvent)
        for row in model.objects.values()
    ]
    lines = [str(vars(record)) for record in caplog.records if record.name != "django.db.backends"]
    for text in [*rows, *lines]:
        for secret in (MARK, *secrets):
            assert secret not in text
        assert not OURS.search(text)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_that_changes_something_leaves_one_event(name, scene, nothing_before, caplog):
    caplog.set_level(logging.DEBUG)
    client = Client(headers={"user-agent": AGENT})
    client.force_login(scene.user)
    address, data = PAGES[name](scene)
    answer = client.post(address, data)
    assert answer.status_code in (200, 201, 302), answer.content.decode()
    [event] = events(nothing_before)
    assert (event.actor, event.actor_name, event.actor_kind) == (
        scene.user, scene.user.email, "person",
    )  # fmt: skip
    assert (event.ip, event.user_agent) == ("127.0.0.1", "Firefox 140 on Linux")
    assert re.fullmatch("session [0-9a-f]{8}", event.credential)
    assert event.tenant_id is not None
    assert event.tenant_name
    assert event.object_name
    key = client.cookies["sessionid"].value
    must_hold_no_secret(caplog, key, key[:12])


@pytest.mark.parametrize("name", sorted(CALLS))
def test_an_action_of_the_api_that_changes_something_leaves_one_event(name, scene, api_as, caplog):
    client = api_as(scene.user)
    before = set(AuditEvent.objects.values_list("id", flat=True))
    caplog.set_level(logging.DEBUG)
    method, _ = name.split(" ")
    pk, body = CALLS[name](scene)
    path = path_of(name, scene, pk)
    form = {"format": "multipart"} if "file" in body else {}
    answer = getattr(client, method.lower())(path, body, **form)
    assert answer.status_code in (200, 201, 202, 204), answer.content.decode()
    [event] = events(before)
    assert (event.actor, event.actor_kind) == (scene.user, "token")
    assert event.token is not None
    assert event.credential == f"token {event.token.prefix}"
    must_hold_no_secret(caplog)


# Whoever may look makes tokens that look. Of others' tokens there are none to revoke.
@pytest.mark.parametrize("name", sorted(set(CALLS) - {"POST tokens/", "DELETE tokens/{pk}/"}))
def test_an_action_that_is_refused_is_noted_as_refused_and_as_nothing_else(name, scene, api_as):
    # Who may look, and change nothing.
    reader = MembershipFactory(tenant=scene.msp, role="msp-read-only").user
    client = api_as(reader)
    before = set(AuditEvent.objects.values_list("id", flat=True))
    method, _ = name.split(" ")
    pk, body = CALLS[name](scene)
    path = path_of(name, scene, pk)
    form = {"format": "multipart"} if "file" in body else {}
    for _ in range(3):
        answer = getattr(client, method.lower())(path, body, **form)
        assert answer.status_code == 403
    [event] = events(before)
    assert (event.action, event.actor) == ("access.refuse", reader)


@pytest.mark.parametrize("name", sorted(set(PAGES) - {"account", "tokens", "token-revoke"}))
def test_a_page_that_is_refused_changes_nothing_and_says_so_at_most_once(
    name, scene, nothing_before
):
    reader = MembershipFactory(tenant=scene.msp, role="msp-read-only").user
    client = Client()
    client.force_login(reader)
    address, data = PAGES[name](scene)
    answer = client.post(address, data)
    assert [event.action for event in events(nothing_before)] in ([], ["access.refuse"])
    assert answer.status_code != 201


def test_a_wish_that_a_rule_forbids_leaves_no_event(scene, api_as):
    client = api_as(scene.user)
    before = set(AuditEvent.objects.values_list("id", flat=True))
    taken = {"name": scene.empty_site.name, "tenant": str(scene.fleet.customer.id)}
    assert client.post("/api/v1/sites/", taken).status_code in (400, 409)
    assert client.delete(f"/api/v1/networks/{scene.fleet.network.id}/").status_code == 409
    assert client.delete(f"/api/v1/sites/{scene.fleet.site.id}/").status_code == 409
    assert events(before) == []


# ------------------------------------------------------------------ the door


def sign_in(client: Client, email: str, password: str) -> Any:
    return client.post("/account/login/", {"login": email, "password": password})


def test_signing_in_and_out_and_failing_to_are_events(scene, nothing_before, caplog):
    caplog.set_level(logging.DEBUG)
    scene.user.set_password(MARK)
    scene.user.save()
    client = Client(headers={"user-agent": AGENT})
    sign_in(client, scene.user.email, f"wrong-{MARK}")
    # A password where the address belongs: what was typed is not kept.
    sign_in(client, f"{MARK}@example.com", "x")
    assert sign_in(client, scene.user.email, MARK).status_code == 302
    client.post("/account/logout/")
    found = events(nothing_before)
    assert [(event.action, event.object_name) for event in sorted(found, key=_when)] == [
        ("user.sign_in_failed", scene.user.email),
        ("user.sign_in_failed", "An address that has no account"),
        ("user.sign_in", scene.user.email),
        ("user.sign_out", scene.user.email),
    ]
    assert {event.ip for event in found} == {"127.0.0.1"}
    assert {event.tenant_id for event in found} == {scene.msp.id}
    must_hold_no_secret(caplog)


def _when(event: AuditEvent) -> Any:
    return event.created_at


def test_a_changed_password_is_an_event_without_it(scene, nothing_before, caplog):
    caplog.set_level(logging.DEBUG)
    scene.user.set_password(f"old-{MARK}")
    scene.user.save()
    client = Client()
    client.force_login(scene.user)
    answer = client.post(
        "/account/password/change/",
        {"oldpassword": f"old-{MARK}", "password1": f"new-{MARK}", "password2": f"new-{MARK}"},
    )
    assert answer.status_code == 302
    assert "user.password" in [event.action for event in events(nothing_before)]
    must_hold_no_secret(caplog)
