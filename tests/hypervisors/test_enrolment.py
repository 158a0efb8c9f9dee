"""A machine becomes a host, by a join token, once."""

import base64
import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from agent.protocol import VERSION, generate_seal_key, generate_sign_key
from hypervisors.models import Hypervisor, JoinToken, Network
from hypervisors.services.join_tokens import (
    join_command,
    join_token_create,
    join_token_revoke,
)
from hypervisors.services.networks import default_subnet
from tenants.actor import SYSTEM
from tenants.errors import InvalidInputError
from tenants.models import AuditEvent
from tenants.scope import bound
from tests.factories import HypervisorFactory, SiteFactory

PATH = "/agent/v1/enrol/"


def request_of(token, **changes):
    """What a new machine sends."""
    return {
        "token": token,
        "name": "node",
        "machine_id": uuid.uuid4().hex,
        "sign_public": base64.b64encode(generate_sign_key()[1]).decode(),
        "seal_public": base64.b64encode(generate_seal_key()[1]).decode(),
        "protocol": VERSION,
        "agent_version": "0.1.0",
    } | changes


@pytest.fixture
def site(db):
    return SiteFactory()


@pytest.fixture
def enrol(client):
    def ask(body):
        return client.post(PATH, body, content_type="application/json")

    return ask


def token_of(site, **options):
    return join_token_create(actor=SYSTEM, site=site, **options)[1]


def test_a_machine_with_a_token_becomes_a_host_with_a_nat_network(site, enrol, settings):
    answer = enrol(request_of(token_of(site), name="rack-1"))
    assert answer.status_code == 201
    host = Hypervisor.objects.get()
    assert answer.json() == {
        "hypervisor_id": str(host.id),
        "name": "rack-1",
        "origin": settings.BASALT_ORIGIN,
    }
    assert (host.site, host.tenant, host.online) == (site, site.tenant, False)
    network = host.networks.get()
    assert (network.name, network.kind, network.addressing) == ("nat", "nat", "portal")
    assert network.subnet == str(default_subnet(host.id))
    assert network.gateway == network.subnet.replace(".0/24", ".1")
    event = AuditEvent.objects.get(action="hypervisor.enrol")
    assert event.object_id == host.id


def test_asking_again_with_the_same_keys_and_token_gives_the_same_host(site, enrol):
    wish = request_of(token_of(site))
    first, second = enrol(wish), enrol(wish)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert Hypervisor.objects.count() == 1
    assert JoinToken.objects.get().used_count == 1


def test_installing_again_with_a_new_token_of_the_same_site_keeps_the_host(site, enrol):
    wish = request_of(token_of(site))
    first = enrol(wish).json()
    again = enrol(wish | {"token": token_of(site)})
    assert again.json() == first
    assert sorted(JoinToken.objects.values_list("used_count", flat=True)) == [0, 1]


def test_a_host_of_one_site_cannot_join_another_with_the_same_keys(site, enrol):
    wish = request_of(token_of(site))
    enrol(wish)
    answer = enrol(wish | {"token": token_of(SiteFactory())})
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "keys_known"


def test_half_known_keys_are_refused(site, enrol):
    token = token_of(site, max_uses=2)
    wish = request_of(token)
    enrol(wish)
    answer = enrol(request_of(token, sign_public=wish["sign_public"]))
    assert answer.json()["error"]["code"] == "keys_known"


def test_a_token_that_is_used_up_says_so(site, enrol):
    token = token_of(site)
    enrol(request_of(token))
    answer = enrol(request_of(token))
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "token_used_up"
    assert "Make a new one" in answer.json()["error"]["message"]


def test_a_token_that_expired_says_so(site, enrol):
    token = token_of(site)
    JoinToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert enrol(request_of(token)).json()["error"]["code"] == "token_expired"


def test_a_token_that_was_revoked_says_so(site, enrol):
    made, token = join_token_create(actor=SYSTEM, site=site)
    join_token_revoke(actor=SYSTEM, token=made)
    assert enrol(request_of(token)).json()["error"]["code"] == "token_revoked"


def test_an_unknown_token_is_refused_and_guessing_is_slowed_down(site, enrol):
    answers = [enrol(request_of("bj_guess")) for _ in range(21)]
    assert {answer.json()["error"]["code"] for answer in answers[:20]} == {"token_invalid"}
    assert answers[20].status_code == 429
    assert answers[20]["Retry-After"] == "60"


def test_a_fleet_that_joins_is_not_slowed_down(site, enrol):
    token = token_of(site, max_uses=40)
    assert {enrol(request_of(token)).status_code for _ in range(40)} == {201}


def test_a_second_host_of_a_name_gets_a_number(site, enrol):
    token = token_of(site, max_uses=4)
    names = [enrol(request_of(token, name=name)).json()["name"] for name in ("kvm", "KVM", "kvm")]
    assert names == ["kvm", "KVM-2", "kvm-3"]
    HypervisorFactory(name="kvm-4")
    assert enrol(request_of(token, name="kvm")).json()["name"] == "kvm-4"


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("host.example.com", "host-example-com"),
        ("../../etc", "etc"),
        ("ünïcode", "n-code"),
        ("", "host"),
        ("-", "host"),
        ("x" * 200, "x" * 63),
    ],
)
def test_whatever_a_machine_calls_itself_the_name_fits_an_address(site, enrol, hostname, name):
    assert enrol(request_of(token_of(site), name=hostname)).json()["name"] == name


@pytest.mark.parametrize(
    "changes",
    [
        {"sign_public": "AAAA"},
        {"sign_public": "not base64!"},
        {"sign_public": 5},
        {"seal_public": base64.b64encode(bytes(32)).decode()},
        {"machine_id": "; rm -rf /"},
        {"machine_id": "\x00" * 32},
        {"protocol": 7},
        {"protocol": "1"},
        {"protocol": True},
        {"name": None},
        {"name": "a\x00b"},
        {"agent_version": "1" * 300},
        {"token": ["bj_"]},
    ],
)
def test_a_request_that_is_not_right_is_refused_and_uses_nothing_up(site, enrol, changes):
    answer = enrol(request_of(token_of(site)) | changes)
    assert answer.status_code == 400, answer.content
    assert answer.json()["error"]["message"]
    assert Hypervisor.objects.count() == 0
    assert JoinToken.objects.get().used_count == 0


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b"[" * 5000, b"\xff", b" " * 9000])
def test_a_body_that_is_no_object_is_refused(db, client, body):
    answer = client.post(PATH, body, content_type="application/json")
    assert answer.status_code == 400


def test_both_keys_the_same_are_refused(site, enrol):
    wish = request_of(token_of(site))
    assert enrol(wish | {"seal_public": wish["sign_public"]}).status_code == 400


@pytest.mark.django_db(transaction=True)
def test_many_machines_with_one_token_at_once_never_use_it_too_often(settings):
    from django.test import Client

    token = token_of(SiteFactory(), max_uses=3)
    statuses = []

    def join():
        answer = Client().post(PATH, request_of(token), content_type="application/json")
        statuses.append(answer.status_code)
        connection.close()

    threads = [threading.Thread(target=bound(join)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] * 3 + [403] * 5
    assert JoinToken.objects.get().used_count == 3
    assert sorted(Hypervisor.objects.values_list("name", flat=True)) == [
        "node",
        "node-2",
        "node-3",
    ]
    assert Network.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_hosts_of_one_name_that_join_by_different_tokens_at_once_all_get_in():
    from django.test import Client

    site = SiteFactory()
    tokens = [token_of(site) for _ in range(6)]
    statuses = []

    def join(token):
        answer = Client().post(PATH, request_of(token), content_type="application/json")
        statuses.append(answer.status_code)
        connection.close()

    threads = [threading.Thread(target=bound(join), args=[token]) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [201] * 6


def test_a_token_is_kept_only_as_a_hash(site):
    made, secret = join_token_create(actor=SYSTEM, site=site)
    assert secret.startswith("bj_")
    assert secret not in str(JoinToken.objects.values().get())
    assert made.prefix == secret[:10]


@pytest.mark.parametrize(
    "options",
    [
        {"max_uses": 0},
        {"max_uses": 1001},
        {"expires_in": timedelta(0)},
        {"expires_in": timedelta(days=31)},
    ],
)
def test_a_token_without_bounds_is_not_made(site, options):
    with pytest.raises(InvalidInputError):
        join_token_create(actor=SYSTEM, site=site, **options)


def test_the_command_names_the_portal_and_the_token(settings):
    settings.BASALT_ORIGIN = "https://portal.example"
    assert join_command("bj_x") == "curl -fsSL https://portal.example/install | sh -s -- bj_x"
