"""A session that nobody uses ends; what counts as use, and what does not."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from django.core.cache import cache
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from tenants.gate import LAST_SEEN_GRAIN_S, SIGNED_IN_AT
from tenants.models import AuditEvent, SignInPolicy
from tenants.scope import bound
from tenants.services.people import api_token_create
from tenants.services.sessions import BACKGROUND, session_open, sessions_of, sessions_sweep
from tests.factories import MembershipFactory, SignInPolicyFactory

pytestmark = pytest.mark.django_db

LOGIN = "/account/login/"
MINUTE = 60


@pytest.fixture
def person(customer):
    return MembershipFactory(tenant=customer, role="customer-administrator").user


@pytest.fixture
def policy(customer):
    return SignInPolicyFactory(tenant=customer, idle_minutes=30)


@pytest.fixture
def browser(client, person):
    client.force_login(person)
    client.get("/vms/")
    return client


def idle_for(client, seconds):
    """As if the session had begun before, and was last used so long ago."""
    session = client.session
    session[SIGNED_IN_AT] = time.time() - 8 * 3600
    session.save()
    rows = UserSession.objects.filter(session_key=session.session_key)
    assert rows.update(last_seen_at=timezone.now() - timedelta(seconds=seconds)) == 1
    cache.clear()


def seconds_idle(client):
    row = UserSession.objects.get(session_key=client.session.session_key)
    return (timezone.now() - row.last_seen_at).total_seconds()


def test_a_session_that_nobody_used_ends_and_leads_back_to_where_one_was(browser, policy):
    idle_for(browser, 31 * MINUTE)
    answer = browser.get("/vms/?q=web")
    assert answer["Location"] == f"{LOGIN}?next=%2Fvms%2F%3Fq%3Dweb"
    assert "_auth_user_id" not in browser.session
    page = browser.get(answer["Location"]).content.decode()
    assert "nobody used this session for 30 minutes" in page
    assert 'value="/vms/?q=web"' in page


def test_a_part_of_a_page_leads_back_to_the_page(browser, policy):
    idle_for(browser, 31 * MINUTE)
    asked = {"hx-request": "true", "hx-current-url": "http://testserver/hosts/"}
    assert browser.get("/vms/", headers=asked)["HX-Redirect"] == f"{LOGIN}?next=%2Fhosts%2F"


def test_it_goes_on_while_it_is_used(browser, policy):
    idle_for(browser, 29 * MINUTE)
    assert browser.get("/vms/").status_code == 200
    assert seconds_idle(browser) < MINUTE


def test_without_an_idle_time_it_goes_on(browser, policy):
    SignInPolicy.objects.update(idle_minutes=None)
    idle_for(browser, 7 * 24 * 60 * MINUTE)
    assert browser.get("/vms/").status_code == 200


@pytest.mark.parametrize("address", ["/vms/", "/api/v1/vms/"])
def test_what_a_page_asks_by_itself_is_no_use(browser, policy, address):
    idle_for(browser, 29 * MINUTE)
    assert browser.get(address, headers={BACKGROUND: "1"}).status_code == 200
    assert seconds_idle(browser) > 28 * MINUTE
    idle_for(browser, 31 * MINUTE)
    browser.get(address, headers={BACKGROUND: "1"})
    assert "_auth_user_id" not in browser.session


@pytest.mark.parametrize("address", ["/me/presence/", "/api/v1/vms/", "/vms/"])
def test_whatever_somebody_does_is_use(browser, policy, address):
    idle_for(browser, 29 * MINUTE)
    assert browser.get(address).status_code in (200, 204)
    assert seconds_idle(browser) < MINUTE


def test_being_there_again_does_not_bring_an_idle_session_back(browser, policy):
    idle_for(browser, 31 * MINUTE)
    browser.get("/me/presence/")
    assert browser.get("/vms/")["Location"].startswith(LOGIN)
    assert not sessions_of(browser_person(policy))


def browser_person(policy):
    return policy.tenant.memberships.get().user


def test_it_ends_not_a_moment_early(browser, policy):
    # Use is noted twice a minute at most: the last of it may be so much later than what is kept.
    idle_for(browser, 30 * MINUTE + LAST_SEEN_GRAIN_S - 5)
    assert browser.get("/vms/").status_code == 200


def test_the_shortest_time_of_all_ones_tenants_counts(browser, policy, customer):
    SignInPolicyFactory(tenant=customer.parent, idle_minutes=10, for_customers=True)
    idle_for(browser, 11 * MINUTE)
    assert browser.get("/vms/")["Location"].startswith(LOGIN)


def test_a_customers_time_binds_technicians_who_reach_it(client, policy, customer):
    client.force_login(MembershipFactory(tenant=customer.parent, role="msp-technician").user)
    client.get("/vms/")
    idle_for(client, 31 * MINUTE)
    assert client.get("/vms/")["Location"].startswith(LOGIN)


def test_the_api_says_why_not(browser, policy):
    idle_for(browser, 31 * MINUTE)
    answer = browser.get("/api/v1/vms/")
    assert answer.status_code == 401
    assert "nobody used this session" in answer.content.decode()


def test_a_token_of_the_api_is_never_idle(person, policy, api):
    _, secret = api_token_create(user=person, name="backup")
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    assert api.get("/api/v1/vms/").status_code == 200


def test_the_list_shows_idle_sessions_no_more(browser, person, policy):
    other = Client()
    other.force_login(person)
    other.get("/vms/")
    assert len(sessions_of(person)) == 2
    idle_for(other, 31 * MINUTE)
    assert [row.session_key for row in sessions_of(person)] == [browser.session.session_key]


def test_sockets_of_an_idle_session_open_nothing(browser, person, policy):
    assert session_open(browser.session, person)
    idle_for(browser, 31 * MINUTE)
    assert not session_open(browser.session, person)


def test_a_longer_time_brings_nothing_back_that_was_swept(browser, person, policy):
    used = Client()
    used.force_login(person)
    used.get("/vms/")
    idle_for(browser, 31 * MINUTE)
    assert sessions_sweep() == 1
    SignInPolicy.objects.update(idle_minutes=60)
    assert browser.get("/vms/")["Location"].startswith(LOGIN)
    assert used.get("/vms/").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_whoever_uses_a_session_while_it_is_swept_keeps_it(browser, policy):
    idle_for(browser, 31 * MINUTE)
    with ThreadPoolExecutor(max_workers=1) as threads:
        with transaction.atomic():
            UserSession.objects.update(last_seen_at=timezone.now())
            swept = threads.submit(bound(_sweep))
            while not _somebody_waits():
                assert not swept.done()
        assert swept.result(timeout=10) == 0
    assert browser.get("/vms/").status_code == 200


def _sweep():
    try:
        return sessions_sweep()
    finally:
        connection.close()


def _somebody_waits():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0] > 0


def test_a_session_that_was_ended_in_the_meantime_is_not_listed_anew(browser, person, policy):
    UserSession.objects.get().end()
    cache.clear()
    browser.get("/vms/")
    assert not UserSession.objects.exists()


def test_the_page_and_the_api_set_it(browser, person, customer, api_as):
    address = "/c/alder-ltd/sign-in/"
    wanted = {"mfa_for": "nobody", "methods": ["password"], "idle_minutes": "30"}
    assert browser.post(address, wanted).status_code == 302
    assert AuditEvent.objects.get(action="sign_in_policy.change").after == {
        "idle_minutes": 30,
        "methods": ["password"],
    }
    assert 'value="30"' in browser.get(address).content.decode()
    api, place = api_as(person), f"/api/v1/tenants/{customer.id}/sign-in/"
    assert api.get(place).json()["policy"]["idle_minutes"] == 30
    assert api.put(place, {"idle_minutes": 15}).json()["idle_minutes"] == 15
    assert api.put(place, {}).json()["idle_minutes"] is None


@pytest.mark.parametrize("wrong", [0, 4, 1441, -5])
def test_a_time_that_makes_no_sense_is_refused(browser, person, customer, api_as, wrong):
    wanted = {"mfa_for": "nobody", "methods": ["password"], "idle_minutes": str(wrong)}
    assert browser.post("/c/alder-ltd/sign-in/", wanted).status_code == 422
    place = f"/api/v1/tenants/{customer.id}/sign-in/"
    assert api_as(person).put(place, {"idle_minutes": wrong}).status_code == 400
    assert not SignInPolicy.objects.exists()
