"""Tenants with one of everything, whose every word tells whose it is.

All ids and names of a tenant hold `f00d` and four digits that are its alone, so that one look at
an answer says whose things are in it. What those below a tenant may read of it (its name, its
images, its shared roles) has other digits than the rest.
"""

import hashlib
import itertools
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.utils import timezone

from consoles.models import ConsentRequest, ConsentRule, ConsoleTicket
from hypervisors.models import HostUsage, Hypervisor, JobEvent, JoinToken
from hypervisors.models.usage import MINUTE
from tenants.models import (
    AuditCheckpoint,
    AuditEvent,
    AuditVerification,
    DeletedTenant,
    IdempotentAnswer,
    IdentityProviderDomain,
    Invitation,
    KnownDevice,
    Role,
    SavedView,
    SecondPersonRequest,
    SecondPersonRule,
    ServiceAccount,
    Tenant,
    User,
)
from tenants.permissions import BUILT_IN_ROLES
from tenants.services.people import READ_ONLY, api_token_create
from tests.factories import (
    CustomerFactory,
    HypervisorFactory,
    IdentityProviderFactory,
    ImageFactory,
    ImageVersionFactory,
    JobFactory,
    MembershipFactory,
    MspFactory,
    NetworkFactory,
    SignInPolicyFactory,
    SiteFactory,
    UserFactory,
    VirtualMachineFactory,
    deny,
    grant,
)
from vms.models import Quota, VmUsage

PUBLIC = 0x1000
"""Added to the digits of what those below may read."""
IMAGES = 0x2000
"""Added to the digits of images that those may see who have a role on a site of their tenant."""
AT_MSP = frozenset({1, 2, 3, 6, 7, 8, 9, 10, 1 + PUBLIC, 6 + PUBLIC, 8 + PUBLIC, 8 + IMAGES})
"""The digits of an MSP with all that is below it."""
NOBODY = 0xDEAD
"""The digits of what never was."""
_serial = itertools.count(1)


GIVEN: set[int] = {NOBODY}
"""The digits that were given to somebody: other ones stand in random ids by chance."""


def word(digits: int) -> str:
    GIVEN.add(digits)
    return f"f00d{digits:04x}"


def ident(digits: int) -> uuid.UUID:
    """An id that tells whose it is."""
    return uuid.UUID(f"{word(digits)}-0000-4000-8000-{next(_serial):012x}")


@dataclass(frozen=True)
class World:
    """What calls can name of one tenant: ids by kind, and words of addresses."""

    digits: int
    ids: dict[str, str]
    customer: str
    site: str
    host: str
    vm: str
    secret: str
    """Of a console ticket that nobody has used."""

    def words(self) -> list[str]:
        return [*self.ids.values(), self.customer, self.site, self.host, self.vm, self.secret]


@dataclass(frozen=True)
class Caller:
    """Somebody who asks. `sees`: the digits that may be in an answer; `behind`: those besides
    that only the first wall hides from them, as the second knows tenants alone."""

    name: str
    session: str
    token: str
    sees: frozenset[int]
    behind: frozenset[int] = frozenset()


@dataclass
class Scene:
    """All tenants by their relation to the customer `own`, and all who ask."""

    worlds: dict[str, World] = field(default_factory=dict)
    callers: list[Caller] = field(default_factory=list)


def nobody() -> World:
    """As a tenant's, but nothing of it is in the database."""
    kinds = (
        "tenant site hypervisor network image image_version vm disk nic job join_token ticket "
        "user api_token membership access_rule role audit_event saved_view sign_in_policy "
        "identity_provider domain invitation consent service_account quota second_person"
    )
    ids = {kind: str(ident(NOBODY)) for kind in kinds.split()}
    name = word(NOBODY)
    return World(NOBODY, ids, f"t-{name}", f"s-{name}", f"h-{name}", f"v-{name}", f"x-{name}")


def scene_make() -> Scene:
    """Rows of two MSPs with customers, and somebody for each role at each place."""
    scene = Scene()
    msp = MspFactory(**_named(1 + PUBLIC, "t"))
    own = CustomerFactory(parent=msp, **_named(2, "t"))
    sibling = CustomerFactory(parent=msp, **_named(3, "t"))
    elsewhere = MspFactory(**_named(4 + PUBLIC, "t"))
    stranger = CustomerFactory(parent=elsewhere, **_named(5, "t"))
    for relation, digits, tenant in (
        ("own", 2, own),
        ("sibling", 3, sibling),
        ("above", 1, msp),
        ("another MSP", 4, elsewhere),
        ("another MSP's", 5, stranger),
    ):
        scene.worlds[relation] = _world(digits, tenant)
    scene.worlds["nobody"] = nobody()
    at_customer = frozenset({2, 1 + PUBLIC})
    at_msp = AT_MSP
    for role in sorted(BUILT_IN_ROLES):
        for place, tenant, sees in (("customer", own, at_customer), ("MSP", msp, at_msp)):
            user = MembershipFactory(tenant=tenant, role=role).user
            scene.callers.append(_caller(f"{role} of the {place}", user, sees))
    scene.callers += _by_rules(scene, msp, own, sibling)
    scene.callers += _by_tokens(msp, own)
    gone = MembershipFactory(tenant=msp, role="msp-owner")
    gone.expires_at = timezone.now() - timedelta(days=1)
    gone.save()
    scene.callers.append(_caller("msp-owner until yesterday", gone.user, frozenset()))
    scene.callers.append(_caller("nobody's", UserFactory(), frozenset()))
    return scene


def _by_rules(scene: Scene, msp: Tenant, own: Tenant, sibling: Tenant) -> list[Caller]:
    """People whose reach is not a membership's: denied a customer, member of a group, or with a
    role on one site or VM of a customer in which there is more, that nobody may tell them of."""
    owner = MembershipFactory(tenant=msp, role="msp-owner").user
    deny(owner, sibling)
    callers = [_caller("msp-owner but not of one", owner, AT_MSP - {3})]

    group = CustomerFactory(parent=msp, kind="group", **_named(6 + PUBLIC, "t"))
    scene.worlds["group"] = _world(6, group)
    inside = CustomerFactory(parent=group, **_named(7, "t"))
    scene.worlds["in the group"] = _world(7, inside)
    member = MembershipFactory(tenant=group, role="msp-owner").user
    sees = frozenset({6, 6 + PUBLIC, 7, 1 + PUBLIC})
    callers.append(_caller("msp-owner of the group", member, sees))

    # A customer in which all but one site, and all but one VM, is another's business.
    parted = CustomerFactory(parent=msp, **_named(8 + PUBLIC, "t"))
    scene.worlds["parted"] = _world(8, parted, images=8 + IMAGES)
    host, other = _part(9, parted), _part(10, parted)
    on_site, on_vm = UserFactory(), UserFactory()
    grant(on_site, host.site, role="msp-owner")
    grant(on_vm, other.virtual_machines.get(), role="msp-owner")
    VirtualMachineFactory(hypervisor=other, id=ident(8), name=f"w-{word(8)}")
    names = {8 + PUBLIC, 1 + PUBLIC}
    callers.append(
        _caller(
            "msp-owner of a site", on_site, frozenset({9, 8 + IMAGES, *names}), frozenset({8, 10})
        )
    )
    # Of the VM's host and site, its page says the names and links to neither.
    behind = frozenset({8, 9, 8 + IMAGES})
    callers.append(_caller("msp-owner of a VM", on_vm, frozenset({10, *names}), behind))
    return callers


def _by_tokens(msp: Tenant, own: Tenant) -> list[Caller]:
    """Tokens that are good for less than their owner, who sees all of the MSP: in no session, as
    there the owner would be asking. And a service account, whose session opens nothing."""
    owner = MembershipFactory(tenant=msp, role="msp-owner").user
    _, narrow = api_token_create(user=owner, name="matrix", tenants=[own])
    _, reads = api_token_create(user=owner, name="matrix", permissions=READ_ONLY)
    _, both = api_token_create(
        user=owner, name="matrix", tenants=[own], permissions=["vm.view", "user.manage"]
    )
    owner.api_tokens.update(last_used_at=timezone.now(), last_used_ip="127.0.0.1")
    at_customer = frozenset({2, 1 + PUBLIC})
    # Made by a person of the MSP, with a role above its own tenant, such as none can be given.
    account = service_account_make(own, "matrix")
    MembershipFactory(user=account.user, tenant=msp, role="msp-owner")
    return [
        Caller("msp-owner's token for one", "", narrow, at_customer),
        Caller("msp-owner's token that reads", "", reads, AT_MSP),
        Caller("msp-owner's token for some of one", "", both, at_customer),
        _caller("service account of the customer", account.user, at_customer),
    ]


def service_account_make(tenant: Tenant, name: str, **fields: Any) -> ServiceAccount:
    """An account with its user, in no scope."""
    user = User.objects.create_user(
        email=f"{uuid.uuid4()}@service.invalid", name=name, is_service=True
    )
    return ServiceAccount.objects.create(tenant=tenant, user=user, name=name, **fields)


def _part(digits: int, tenant: Tenant) -> Hypervisor:
    """A host with a VM on a site of its own."""
    mine = word(digits)
    site = SiteFactory(tenant=tenant, **_named(digits, "s"))
    host = HypervisorFactory(site=site, id=ident(digits), name=f"h-{mine}")
    network = NetworkFactory(hypervisor=host, id=ident(digits), name=f"n-{mine}")
    VirtualMachineFactory(
        hypervisor=host, network=network, id=ident(digits), name=f"v-{mine}", username=f"u-{mine}"
    )
    return host


def _named(digits: int, letter: str) -> dict[str, Any]:
    name = f"{letter}-{word(digits)}"
    return {"id": ident(digits), "name": name, "slug": name}


def _caller(
    name: str, user: User, sees: frozenset[int], behind: frozenset[int] = frozenset()
) -> Caller:
    client = Client()
    client.force_login(user)
    _, token = api_token_create(user=user, name="matrix")
    # Else the first use of each minute is written down, and here every use is the first.
    user.api_tokens.update(last_used_at=timezone.now(), last_used_ip="127.0.0.1")
    return Caller(name, client.cookies["sessionid"].value, token, sees, behind)


def _world(digits: int, tenant: Tenant, *, images: int | None = None) -> World:
    """One row of every kind. A new kind of row belongs here: a test asks for it."""
    shared = digits + PUBLIC if tenant.kind == Tenant.Kind.MSP else digits
    mine = word(digits)
    site = SiteFactory(tenant=tenant, address=mine, **_named(digits, "s"))
    host = HypervisorFactory(site=site, id=ident(digits), name=f"h-{mine}", machine_id=mine)
    network = NetworkFactory(hypervisor=host, id=ident(digits), name=f"n-{mine}")
    pictured = images or shared
    image = ImageFactory(tenant=tenant, id=ident(pictured), name=f"i-{word(pictured)}")
    sha256 = hashlib.sha256(mine.encode()).hexdigest()
    version = ImageVersionFactory(image=image, id=ident(pictured), sha256=sha256)
    user = UserFactory(id=ident(digits), email=f"p@{mine}.example", name=f"p-{mine}")
    vm = VirtualMachineFactory(
        hypervisor=host, network=network, image_version=version, created_by=user,
        id=ident(digits), name=f"v-{mine}", username=f"u-{mine}",
    )  # fmt: skip
    for row in (vm.disks.get(), vm.nics.get()):
        type(row).objects.filter(pk=row.pk).update(id=ident(digits))
    job = JobFactory(
        hypervisor=host, id=ident(digits), subject_id=ident(digits), subject_name=f"v-{mine}",
        requested_by=user, step=f"step {mine}",
    )  # fmt: skip
    JobEvent.objects.create(job=job, status=job.status, message=f"event {mine}")
    role = Role.objects.create(
        tenant=tenant, id=ident(shared), slug=f"r-{word(shared)}", name=f"r-{word(shared)}",
        permissions=["vm.view"],
    )  # fmt: skip
    membership = MembershipFactory(user=user, tenant=tenant, id=ident(digits))
    soon = timezone.now() + timedelta(days=1)
    token = JoinToken.objects.create(
        tenant=tenant, site=site, id=ident(digits), prefix=mine, hash=f"j-{mine}",
        expires_at=soon, created_by=user,
    )  # fmt: skip
    secret = f"secret-{mine}"
    ticket = ConsoleTicket.objects.create(
        tenant=tenant, vm=vm, user=user, kind="vnc", id=ident(digits), expires_at=soon,
        hash=hashlib.sha256(secret.encode()).hexdigest(),
    )  # fmt: skip
    api_token, _ = api_token_create(user=user, name=f"a-{mine}")
    IdempotentAnswer.objects.create(user=user, key=f"k-{mine}", body={"vm": mine})
    event = AuditEvent.objects.create(
        tenant=tenant, id=ident(digits), actor=user, actor_name=user.email, action="vm.start",
        object_kind="vm", object_id=vm.id, object_name=vm.name,
    )  # fmt: skip
    DeletedTenant.objects.create(
        id=ident(digits), name=f"d-{mine}", reach_tenant=tenant, chain_id=tenant.id
    )
    told = {"chain_id": tenant.id, "name": f"c-{mine}", "seq": 1}
    AuditVerification.objects.create(problem=f"e-{mine}", events=1, **told)
    AuditCheckpoint.objects.create(hash=b"", key=mine, signature=mine, **told)
    # As a commit would: the event gets its place in the chain.
    connection.check_constraints()
    _grant(user, vm)
    policy, provider, domain = _sign_in(digits, tenant, user)
    rule = grant(user, vm, id=ident(digits))
    busy = {"tenant": tenant, "at": timezone.now(), "span_s": MINUTE, "cpu_percent": 1.0}
    HostUsage.objects.create(hypervisor=host, **busy)
    VmUsage.objects.create(vm=vm, **busy)
    ConsentRule.objects.create(tenant=tenant, vm=vm, id=ident(digits))
    consent = ConsentRequest.objects.create(
        tenant=tenant, vm=vm, id=ident(digits), requester=user, requester_name=f"q-{mine}",
        reason=mine,
    )  # fmt: skip
    # So high that nothing here needs one.
    SecondPersonRule.objects.create(tenant=tenant, threshold=100, id=ident(digits))
    second = SecondPersonRequest.objects.create(
        tenant=tenant, id=ident(digits), kind="vm.stop", asker=user, asker_name=f"q-{mine}",
        reason=mine, site_ids=[site.id], vm_ids=[vm.id],
        things=[{"id": str(vm.id), "name": vm.name, "where": host.name, "loss": mine}],
    )  # fmt: skip
    invitation = Invitation.objects.create(
        tenant=tenant, id=ident(digits), email=f"i@{mine}.example", role=role, invited_by=user,
        hash=hashlib.sha256(secret.encode()).hexdigest(), expires_at=soon,
    )  # fmt: skip
    account = service_account_make(
        tenant, f"z-{mine}", id=ident(digits), description=mine, made_by_name=f"p@{mine}.example"
    )
    quota = Quota.objects.create(tenant=tenant, id=ident(digits), vms=10, disk_gib=100)
    view = SavedView.objects.create(user=user, list_name="vms", name=f"w-{mine}", id=ident(digits))
    rows = {
        "tenant": tenant, "site": site, "hypervisor": host, "network": network, "image": image,
        "image_version": version, "vm": vm, "disk": vm.disks.get(), "nic": vm.nics.get(),
        "job": job, "join_token": token, "ticket": ticket, "user": user, "api_token": api_token,
        "membership": membership, "access_rule": rule, "role": role, "audit_event": event,
        "saved_view": view, "invitation": invitation, "consent": consent, "quota": quota,
        "second_person": second,
        "sign_in_policy": policy, "identity_provider": provider,
        "domain": domain, "service_account": account,
    }  # fmt: skip
    ids = {kind: str(row.pk) for kind, row in rows.items()}
    return World(digits, ids, tenant.slug, site.slug, host.name, vm.name, secret)


def _sign_in(digits: int, tenant: Tenant, user: User) -> tuple[Any, Any, Any]:
    """How one signs in to this world: its policy, which asks nothing, and what a person has."""
    mine = word(digits)
    policy = SignInPolicyFactory(tenant=tenant, id=ident(digits))
    provider = IdentityProviderFactory(tenant=tenant, id=ident(digits), name=f"idp-{mine}")
    domain = IdentityProviderDomain.objects.create(
        tenant=tenant, provider=provider, id=ident(digits), domain=f"{mine}.example"
    )
    KnownDevice.objects.create(user=user, hash=mine, family=mine)
    Authenticator.objects.create(user=user, type="recovery_codes", data={"seed": mine})
    UserSession.objects.create(user=user, session_key=mine, user_agent=mine, ip="192.0.2.1")
    SocialAccount.objects.create(user=user, provider=str(provider.id), uid=mine)
    return policy, provider, domain


def _grant(user: User, vm: Any) -> None:
    from guardian.models import UserObjectPermission

    kind = ContentType.objects.get_for_model(vm)
    permission = Permission.objects.get(content_type=kind, codename="view_virtualmachine")
    UserObjectPermission.objects.create(
        user=user, permission=permission, content_type=kind, object_pk=str(vm.pk)
    )
