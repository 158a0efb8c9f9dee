"""A customer's things, for changes.py to change."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from consoles.models import ConsentRequest
from hypervisors.models import Hypervisor, Job
from tenants.models import (
    AccessRule,
    ApiToken,
    IdentityProvider,
    Invitation,
    Membership,
    Role,
    SecondPersonRequest,
    ServiceAccount,
    Tenant,
    User,
)
from tenants.services.people import api_token_create
from tests.factories import (
    CustomerFactory,
    HypervisorFactory,
    IdentityProviderFactory,
    ImageFactory,
    ImageVersionFactory,
    JobFactory,
    JoinTokenFactory,
    MembershipFactory,
    NetworkFactory,
    SiteFactory,
    VirtualMachineFactory,
    grant,
)
from tests.pages.conftest import Fleet, fleet_of
from tests.policy.worlds import service_account_make
from tests.sign_in.saml_idp import certificate_make
from vms.models import Quota


@dataclass
class Scene:
    """One customer's things, and spare ones that nothing hangs on."""

    fleet: Fleet
    user: User
    off: Any
    empty_host: Hypervisor
    empty_site: Any
    spare_network: Any
    join_token: Any
    job: Job
    image: Any
    token: ApiToken
    their_token: ApiToken
    account: ServiceAccount
    account_token: ApiToken
    closed_account: ServiceAccount
    leaving: Tenant
    group: Tenant
    role: Role
    membership: Membership
    rule: AccessRule
    provider: IdentityProvider
    invitation: Invitation
    wish: ConsentRequest
    approval: ConsentRequest
    quota: Quota
    asked: SecondPersonRequest
    """Of somebody else."""
    asking: SecondPersonRequest
    """Of the person."""

    @property
    def msp(self) -> Tenant:
        return self.fleet.msp

    def host_page(self, host: Hypervisor) -> str:
        return f"/c/{self.fleet.customer.slug}/hosts/{host.name}/"


def scene_make(msp: Tenant, user: User) -> Scene:
    fleet = fleet_of(msp, "alder")
    fleet.host.networks.first()
    membership = MembershipFactory(tenant=fleet.customer, role="customer-viewer")
    account, closed = [service_account_make(fleet.customer, name) for name in ("Robot", "Old")]
    User.objects.filter(pk=closed.user_id).update(is_active=False)
    return Scene(
        fleet=fleet,
        user=user,
        off=VirtualMachineFactory(
            hypervisor=fleet.host, network=fleet.network, name="sleeper", observed_power="off"
        ),
        empty_host=HypervisorFactory(site=fleet.site, name="empty", online=False),
        empty_site=SiteFactory(tenant=fleet.customer, name="Empty", slug="empty"),
        spare_network=NetworkFactory(hypervisor=fleet.host, name="spare", subnet="10.99.0.0/24"),
        join_token=JoinTokenFactory(site=fleet.site),
        job=JobFactory(
            hypervisor=HypervisorFactory(site=fleet.site, name="asleep", online=False),
            requested_by=user,
        ),
        image=ImageVersionFactory(image=ImageFactory(tenant=fleet.customer)).image,
        token=api_token_create(user=user, name="old")[0],
        leaving=CustomerFactory(parent=msp, name="Leaving", slug="leaving"),
        group=CustomerFactory(parent=msp, name="Group", slug="group", kind=Tenant.Kind.GROUP),
        role=Role.objects.create(
            tenant=fleet.customer, slug="helper", name="Helper", permissions=["vm.view"]
        ),
        membership=membership,
        their_token=api_token_create(user=membership.user, name="theirs")[0],
        account=account,
        account_token=api_token_create(user=account.user, name="robot's")[0],
        closed_account=closed,
        rule=grant(MembershipFactory(tenant=fleet.customer).user, fleet.site),
        provider=IdentityProviderFactory(
            tenant=fleet.customer,
            kind=IdentityProvider.Kind.SAML,
            sso_url="https://1.1.1.1/sso",
            certificate=certificate_make(),
        ),
        wish=_wish(fleet, user),
        quota=Quota.objects.create(tenant=fleet.customer, vms=10),
        asked=_asked(fleet, MembershipFactory(tenant=fleet.msp, role="msp-owner").user),
        asking=_asked(fleet, user),
        approval=_wish(fleet, user, approved_until=timezone.now() + timedelta(hours=1)),
        invitation=Invitation.objects.create(
            tenant=fleet.customer,
            role=Role.objects.get(tenant=None, slug="customer-viewer"),
            email="waiting@example.com",
            invited_by=user,
            hash="0" * 64,
            expires_at=timezone.now() + timedelta(days=7),
        ),
    )


def _wish(fleet: Fleet, user: User, **decided: Any) -> ConsentRequest:
    """Somebody of the MSP asked. The user decides for the customer, too."""
    Membership.objects.get_or_create(
        user=user,
        tenant=fleet.customer,
        role=Role.objects.get(tenant=None, slug="customer-administrator"),
    )
    return ConsentRequest.objects.create(
        tenant=fleet.customer,
        vm=fleet.vm,
        requester=MembershipFactory(tenant=fleet.msp).user,
        requester_name="Tess",
        reason="broken",
        **decided,
    )


def _asked(fleet: Fleet, asker: User) -> SecondPersonRequest:
    return SecondPersonRequest.objects.create(
        tenant=fleet.customer,
        kind="vm.stop",
        asker=asker,
        asker_name="Tess",
        reason="We move.",
        things=[{"id": str(fleet.vm.id), "name": "x", "where": "x", "loss": "x"}],
    )
