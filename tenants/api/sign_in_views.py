"""Sign-in policies and identity providers over the API."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.base import TenantViewSet
from tenants.api.sign_in_serializers import (
    DomainsSerializer,
    IdentityProviderChangeSerializer,
    IdentityProviderCreateSerializer,
    IdentityProviderSerializer,
    SignInPolicySerializer,
    SignInPolicySetSerializer,
    SignInSerializer,
)
from tenants.models import IdentityProvider, Tenant
from tenants.services.identity_providers import (
    identity_provider_change,
    identity_provider_create,
    identity_provider_domains_set,
    identity_provider_remove,
)
from tenants.services.sign_in_policies import policy_of, sign_in_policy_set


class SignInViewSet(TenantViewSet[Tenant]):
    """How people of a tenant sign in."""

    queryset = Tenant.objects.all()
    serializer_class = SignInSerializer
    filterset_class = None
    permissions_by_action = {"retrieve": "user.view", "update": "policy.manage"}

    @extend_schema(responses={200: SignInSerializer})
    def retrieve(self, request: Request, pk: str) -> Response:
        """The tenant's sign-in policy and its identity providers."""
        tenant = self.get_object()
        rows = IdentityProvider.objects.filter(tenant=tenant).prefetch_related("domains")
        found = {"policy": policy_of(tenant), "identity_providers": rows}
        return Response(SignInSerializer(found).data)

    @extend_schema(request=SignInPolicySetSerializer, responses={200: SignInPolicySerializer})
    def update(self, request: Request, pk: str) -> Response:
        """Set the tenant's sign-in policy."""
        tenant = self.get_object()
        data = self.checked(SignInPolicySetSerializer)
        policy = sign_in_policy_set(actor=self.actor, tenant=tenant, **data)
        return Response(SignInPolicySerializer(policy).data)


class TenantProviderViewSet(TenantViewSet[Tenant]):
    """Adding identity providers."""

    queryset = Tenant.objects.all()
    serializer_class = IdentityProviderSerializer  # type: ignore[assignment]
    filterset_class = None
    permissions_by_action = {"create": "policy.manage"}

    @extend_schema(
        request=IdentityProviderCreateSerializer, responses={201: IdentityProviderSerializer}
    )
    def create(self, request: Request, pk: str) -> Response:
        """Add an identity provider. It signs nobody in until the MSP gives it a domain."""
        tenant = self.get_object()
        data = self.checked(IdentityProviderCreateSerializer)
        made = identity_provider_create(actor=self.actor, tenant=tenant, **data)
        return Response(IdentityProviderSerializer(made).data, status=201)


class IdentityProviderViewSet(TenantViewSet[IdentityProvider]):
    """The directories with which people sign in."""

    queryset = IdentityProvider.objects.select_related("tenant").prefetch_related("domains")
    serializer_class = IdentityProviderSerializer
    filterset_class = None
    permissions_by_action = {
        "retrieve": "user.view",
        "partial_update": "policy.manage",
        "destroy": "policy.manage",
    }

    @extend_schema(responses={200: IdentityProviderSerializer})
    def retrieve(self, request: Request, pk: str) -> Response:
        """One identity provider, without its secret."""
        return Response(IdentityProviderSerializer(self.get_object()).data)

    @extend_schema(
        request=IdentityProviderChangeSerializer, responses={200: IdentityProviderSerializer}
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change an identity provider."""
        provider = self.get_object()
        data = self.checked(IdentityProviderChangeSerializer)
        changed = identity_provider_change(actor=self.actor, provider=provider, **data)
        return Response(IdentityProviderSerializer(changed).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Remove an identity provider. Accounts stay."""
        identity_provider_remove(actor=self.actor, provider=self.get_object())
        return Response(status=204)


class ProviderDomainsViewSet(TenantViewSet[IdentityProvider]):
    """Which e-mail domains are whose."""

    queryset = IdentityProvider.objects.select_related("tenant").prefetch_related("domains")
    serializer_class = IdentityProviderSerializer
    filterset_class = None
    permissions_by_action = {"update": "policy.manage"}

    @extend_schema(request=DomainsSerializer, responses={200: IdentityProviderSerializer})
    def update(self, request: Request, pk: str) -> Response:
        """Say which e-mail domains belong to this provider. For the MSP alone."""
        provider = self.get_object()
        data = self.checked(DomainsSerializer)
        identity_provider_domains_set(actor=self.actor, provider=provider, **data)
        return Response(IdentityProviderSerializer(self.get_object()).data)
