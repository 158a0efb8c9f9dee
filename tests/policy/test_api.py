"""The walls of the API, walked rather than listed: a new route is tested the day it appears.

Every action declares a known permission; and for every role of one tenant, every id of
another tenant, wherever it may be put, is answered exactly as an id that never was.
"""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver
from django.utils import timezone
from rest_framework.test import APIClient

import portal.api.urls
from consoles.models import ConsentRequest
from tenants.actor import Actor
from tenants.api.base import OWN, TenantViewSet
from tenants.models import AuditEvent, Invitation, Role, SecondPersonRequest
from tenants.permissions import BUILT_IN_ROLES, PERMISSIONS
from tenants.services.audit import audit_record
from tenants.services.people import api_token_create
from tests.factories import (
    SSH_KEY,
    CustomerFactory,
    HypervisorFactory,
    IdentityProviderFactory,
    ImageFactory,
    ImageVersionFactory,
    JobFactory,
    JoinTokenFactory,
    MembershipFactory,
    MspFactory,
    NetworkFactory,
    SiteFactory,
    UserFactory,
    VirtualMachineFactory,
    grant,
)
from tests.policy.worlds import service_account_make
from vms.models import Nic, Quota

# Documents about the API, and its word for no such address: there are no rows in them.
PUBLIC = {"api-schema", "api-docs", "api-not-found"}


@dataclass(frozen=True)
class Route:
    path: str
    method: str
    action: str
    view: type[TenantViewSet[Any]]

    @property
    def name(self) -> str:
        return f"{self.method.upper()} {self.path}"


def walk(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from walk(pattern.url_patterns, prefix + str(pattern.pattern))
        elif pattern.name not in PUBLIC:
            yield prefix + str(pattern.pattern), pattern.callback


def routes() -> list[Route]:
    return [
        Route(path=path, method=method, action=action, view=callback.cls)
        for path, callback in walk(portal.api.urls.urlpatterns)
        for method, action in callback.actions.items()
        if method != "head"
    ]


ROUTES = routes()
# What is one's own has another's nowhere: tests/tokens/test_api.py tries it.
DETAIL_ROUTES = [
    route
    for route in ROUTES
    if "pk" in route.path and route.view.permissions_by_action[route.action] != OWN
]
EACH = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
EACH_DETAIL = pytest.mark.parametrize("route", DETAIL_ROUTES, ids=lambda route: route.name)
EACH_ROLE = pytest.mark.parametrize("role", sorted(BUILT_IN_ROLES))


def test_the_walk_finds_the_api():
    names = {route.name for route in ROUTES}
    assert len(names) > 25
    assert any("vms" in name and "start" in name for name in names)


@EACH
def test_every_action_declares_a_known_permission(route):
    assert issubclass(route.view, TenantViewSet)
    assert route.view.permissions_by_action[route.action] in {*PERMISSIONS, OWN}


def test_only_tokens_are_anybodys_own():
    own = {
        route.path.removeprefix("^").split("/")[0]
        for route in ROUTES
        if route.view.permissions_by_action[route.action] == OWN
    }
    assert own == {"tokens"}


@EACH
def test_no_action_lets_in_whoever_has_not_signed_in(route):
    from rest_framework.permissions import IsAuthenticated

    assert route.view.permission_classes == [IsAuthenticated]


@EACH
def test_what_changes_something_needs_more_than_a_view_permission(route):
    permission = route.view.permissions_by_action[route.action]
    assert permission == OWN or (route.method == "get") == permission.endswith(".view")


# ------------------------------------------------------------------ another tenant's ids


class World:
    """One customer's things, all of them."""

    def __init__(self) -> None:
        self.tenant = CustomerFactory(parent=MspFactory())
        self.site = SiteFactory(tenant=self.tenant)
        self.hypervisor = HypervisorFactory(site=self.site)
        self.join_token = JoinTokenFactory(site=self.site)
        self.identity_provider = IdentityProviderFactory(tenant=self.tenant)
        self.network = NetworkFactory(hypervisor=self.hypervisor)
        self.image = ImageVersionFactory(image=ImageFactory(tenant=self.tenant)).image
        self.vm = VirtualMachineFactory(hypervisor=self.hypervisor, network=self.network)
        self.job = JobFactory(hypervisor=self.hypervisor, subject_id=self.vm.id)
        self.role = Role.objects.create(
            tenant=self.tenant,
            slug="helper",
            name=f"Helper of {self.tenant}",
            permissions=["vm.view"],
        )
        self.membership = MembershipFactory(tenant=self.tenant, role="customer-viewer")
        self.user = self.membership.user
        self.access_rule = grant(self.user, self.site)
        self.object = self.vm
        self.quota = Quota.objects.create(tenant=self.tenant, vms=10)
        membership = MembershipFactory(tenant=self.tenant)
        self.people = membership.user
        self.consent = ConsentRequest.objects.create(
            tenant=self.tenant, vm=self.vm, requester=self.user, requester_name="T", reason="why"
        )
        self.second_person = SecondPersonRequest.objects.create(
            tenant=self.tenant, kind="vm.stop", asker=self.user, asker_name="T", reason="why",
            things=[{"id": str(self.vm.id), "name": self.vm.name, "where": "x", "loss": "x"}],
        )  # fmt: skip
        self.invitation = Invitation.objects.create(
            tenant=self.tenant, role=membership.role, email="invited@example.com",
            invited_by=self.people, hash=uuid.uuid4().hex,
            expires_at=timezone.now() + timedelta(days=1),
        )  # fmt: skip
        self.service_account = service_account_make(self.tenant, f"Robot of {self.tenant}")
        self.token = api_token_create(user=self.user, name="theirs")[0]
        self.audit = audit_record(
            actor=Actor(user=self.user), tenant=self.tenant, action="vm.start", object_kind="vm",
            object_id=self.vm.id, object_name=self.vm.name, site_id=self.site.id,
        )  # fmt: skip

    def events(self) -> int:
        """How many there are of this customer, but for those that it begins with."""
        events = AuditEvent.objects.filter(tenant=self.tenant).exclude(pk=self.audit.pk)
        return events.exclude(object_id=self.token.pk).count()

    def row(self, path: str) -> Any:
        """The row that a detail route is about."""
        kind = path.removeprefix("^").split("/")[0]
        return getattr(self, kind.replace("-", "_").removesuffix("s"))


@pytest.fixture
def theirs(db) -> World:
    return World()


@pytest.fixture
def ours(db) -> World:
    return World()


@pytest.fixture
def client_of(api_as) -> Callable[[str, World], APIClient]:
    def make(role: str, world: World) -> APIClient:
        tenant = world.tenant.parent if role.startswith("msp") else world.tenant
        return api_as(MembershipFactory(role=role, tenant=tenant).user)

    return make


def address(route: Route, pk: Any) -> str:
    path = route.path.removeprefix("^").removesuffix("$")
    for pattern in ("(?P<pk>[^/.]+)", "<str:pk>"):
        path = path.replace(pattern, str(pk))
    nic = Nic.objects.filter(vm=pk).first() if "<str:nic_id>" in path else None
    path = path.replace("<str:nic_id>", str(nic.pk if nic else uuid.uuid4()))
    assert "<" not in path
    return f"/api/v1/{path}"


@EACH_ROLE
@EACH_DETAIL
def test_another_tenants_id_in_the_path_is_like_none_at_all(route, role, theirs, ours, client_of):
    client = client_of(role, ours)
    foreign = getattr(client, route.method)(address(route, theirs.row(route.path).pk), {})
    missing = getattr(client, route.method)(address(route, uuid.uuid4()), {})
    assert foreign.status_code in (403, 404)
    assert (foreign.status_code, foreign.content) == (missing.status_code, missing.content)
    own = getattr(client, route.method)(address(route, ours.row(route.path).pk), {})
    if own.status_code == 403 and own.json()["error"]["code"] == "not_of_the_house":
        return  # the role may, and the row is there: but it is for the customer's own people
    # A role either may do it, and then the row alone made the difference, or may not at all.
    assert (own.status_code == 403) == (foreign.status_code == 403)
    assert own.status_code != 404
    assert theirs.events() == 0


FILTERS = {
    "sites": ["tenant"],
    "quotas": ["tenant", "site"],
    "tenants": ["parent"],
    "hypervisors": ["tenant", "site"],
    "join-tokens": ["tenant", "site"],
    "networks": ["tenant", "site", "hypervisor"],
    "images": ["tenant"],
    "vms": ["tenant", "site", "hypervisor", "image"],
    "roles": ["tenant"],
    "memberships": ["tenant", "user", "role"],
    "access-rules": ["tenant", "site", "vm", "user"],
    "jobs": ["tenant", "site", "hypervisor", "vm"],
    "audit": ["tenant", "site", "user", "object"],
    "people": [],
    "tokens": [],
    "service-accounts": ["tenant"],
    "invitations": ["tenant"],
    "consents": ["tenant", "vm"],
    "second-person": ["tenant"],
}


@EACH_ROLE
@pytest.mark.parametrize(("kind", "names"), FILTERS.items(), ids=FILTERS)
def test_another_tenants_id_in_a_filter_finds_nothing(kind, names, role, theirs, ours, client_of):
    client = client_of(role, ours)
    mine = client.get(f"/api/v1/{kind}/")
    if mine.status_code == 403:
        return  # the role sees no such things at all
    assert mine.json()["results"]
    for name in names:
        row = theirs.tenant.parent if name == "parent" else getattr(theirs, name)
        foreign = client.get(f"/api/v1/{kind}/?{name}={row.pk}")
        missing = client.get(f"/api/v1/{kind}/?{name}={uuid.uuid4()}")
        assert foreign.status_code == 200
        assert foreign.json() == missing.json()
        assert foreign.json()["results"] == []


def test_every_filter_by_id_is_in_the_table():
    from django_filters.rest_framework import UUIDFilter

    for route in ROUTES:
        if route.action == "list":
            kind = route.path.removeprefix("^").split("/")[0]
            filters = route.view.filterset_class.get_filters()
            ids = {name for name, found in filters.items() if isinstance(found, UUIDFilter)}
            assert ids == set(FILTERS[kind]), kind


@EACH_ROLE
@pytest.mark.parametrize("kind", FILTERS)
def test_lists_hold_nothing_of_another_tenant(kind, role, theirs, ours, client_of):
    text = client_of(role, ours).get(f"/api/v1/{kind}/?page_size=500").content.decode()
    for row in vars(theirs).values():
        assert str(row.pk) not in text


def bodies(world: World) -> dict[str, tuple[str, dict[str, Any]]]:
    """A body that is right in all it says, for each route that takes references."""
    return {
        "tenants": ("parent", {"name": "Newest", "parent": str(world.tenant.parent_id)}),
        "sites": ("tenant", {"name": "Newest", "tenant": str(world.tenant.pk)}),
        "networks": (
            "hypervisor",
            {
                "name": "new",
                "hypervisor": str(world.hypervisor.pk),
                "kind": "nat",
                "subnet": "10.99.0.0/24",
            },
        ),
        "images": (
            "tenant",
            {
                "name": "new",
                "tenant": str(world.tenant.pk),
                "url": "https://1.1.1.1/x",
                "sha256": "ab" * 32,
            },
        ),
        "vms": (
            "hypervisor image nics",
            {
                "name": "new",
                "hypervisor": str(world.hypervisor.pk),
                "image": str(world.image.pk),
                "nics": [{"network": str(world.network.pk)}],
                "ssh_keys": [SSH_KEY],
            },
        ),
        "quotas": ("tenant", {"tenant": str(world.tenant.pk), "vms": 20}),
        "roles": (
            "tenant",
            {"tenant": str(world.tenant.pk), "name": "new", "permissions": ["vm.view"]},
        ),
        "memberships": (
            "user tenant role",
            {
                "user": str(world.user.pk),
                "tenant": str(world.tenant.pk),
                "role": str(world.role.pk),
            },
        ),
        "access-rules": (
            "user vm role",
            {
                "user": str(world.user.pk),
                "effect": "allow",
                "vm": str(world.vm.pk),
                "role": str(world.role.pk),
            },
        ),
        "service-accounts": (
            "tenant",
            {"name": "Newest", "tenant": str(world.tenant.pk), "role": "customer-viewer"},
        ),
        "invitations": (
            "tenant",
            {
                "email": "new@example.com",
                "tenant": str(world.tenant.pk),
                "role": "customer-viewer",
            },
        ),
    }


@EACH_ROLE
@pytest.mark.parametrize("by", ["pk", "name"])
@pytest.mark.parametrize(
    "kind",
    [
        *("tenants", "sites", "networks", "images", "vms", "quotas"),
        *("roles", "memberships", "access-rules", "invitations", "service-accounts"),
    ],
)
def test_another_tenants_row_in_a_body_is_like_none_at_all(kind, by, role, theirs, ours, client_of):
    client = client_of(role, ours)
    fields, right = bodies(ours)[kind]
    for field in fields.split():
        row = {
            "parent": theirs.tenant.parent,
            "nics": theirs.network,
        }.get(field) or getattr(theirs, field, None)

        def with_reference(value: str, field: str = field) -> dict[str, Any]:
            reference: Any = [{"network": value}] if field == "nics" else value
            return right | {field: reference}

        foreign = client.post(f"/api/v1/{kind}/", with_reference(str(getattr(row, by))))
        nobodys = str(uuid.uuid4()) if by == "pk" else "never was"
        missing = client.post(f"/api/v1/{kind}/", with_reference(nobodys))
        assert foreign.status_code in (400, 403), foreign.json()
        assert (foreign.status_code, foreign.content) == (missing.status_code, missing.content)
    own = client.post(f"/api/v1/{kind}/", right)
    assert own.status_code in (200, 201, 202, 403), own.json()
    assert theirs.events() == 0


def test_a_site_of_another_tenant_makes_no_vm(theirs, ours, client_of):
    client = client_of("msp-owner", ours)
    _, right = bodies(ours)["vms"]
    del right["hypervisor"]
    foreign = client.post("/api/v1/vms/", right | {"site": str(theirs.site.pk)})
    missing = client.post("/api/v1/vms/", right | {"site": str(uuid.uuid4())})
    assert (foreign.status_code, foreign.content) == (missing.status_code, missing.content)
    assert foreign.status_code == 400


def test_an_upload_for_another_tenant_is_refused_like_one_for_none(theirs, ours, client_of, media):
    from django.core.files.uploadedfile import SimpleUploadedFile

    client = client_of("customer-administrator", ours)
    content = (bytes(510) + b"\x55\xaa").ljust(1024, b"\0")
    answers = [
        client.post(
            "/api/v1/images/upload/",
            {"name": "new", "tenant": str(pk), "file": SimpleUploadedFile("x", content)},
            format="multipart",
        )
        for pk in (theirs.tenant.pk, uuid.uuid4())
    ]
    assert {answer.status_code for answer in answers} == {400}
    assert answers[0].content == answers[1].content


def test_a_disk_of_another_tenants_vm_is_no_disk_of_ones_own(theirs, ours, client_of):
    client = client_of("msp-owner", ours)
    ours.job.delete()
    ours.vm.observed_power = "off"
    ours.vm.save()
    answers = [
        client.post(
            f"/api/v1/vms/{ours.vm.pk}/resize/", {"disks": [{"id": str(pk), "size_gib": 50}]}
        )
        for pk in (theirs.vm.disks.get().pk, uuid.uuid4())
    ]
    assert {answer.status_code for answer in answers} == {400}
    assert answers[0].content == answers[1].content


def test_without_any_membership_everything_is_refused(theirs, api_as, db):

    client = api_as(UserFactory())
    for route in ROUTES:
        pk = theirs.row(route.path).pk if "pk" in route.path else ""
        answer = getattr(client, route.method)(address(route, pk), {})
        assert answer.status_code == 403, route.name
