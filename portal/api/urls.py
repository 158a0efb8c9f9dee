"""The API: one router, filled by the apps."""

from django.urls import URLPattern, URLResolver, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import SimpleRouter

from consoles.api.consent_views import ConsentViewSet, VmConsentViewSet
from consoles.api.views import VmConsoleViewSet, VmScreenViewSet
from hypervisors.api.views import (
    HypervisorViewSet,
    JobViewSet,
    JoinTokenViewSet,
    NetworkViewSet,
    SiteJoinTokenViewSet,
)
from portal.api.views import not_found
from tenants.api.access_views import AccessRuleViewSet, MembershipViewSet, RoleViewSet
from tenants.api.audit import AuditViewSet
from tenants.api.people_views import InvitationViewSet, PersonViewSet
from tenants.api.second_person_views import SecondPersonRuleViewSet, SecondPersonViewSet
from tenants.api.sign_in_views import (
    IdentityProviderViewSet,
    ProviderDomainsViewSet,
    SignInViewSet,
    TenantProviderViewSet,
)
from tenants.api.token_views import ServiceAccountViewSet, TokenViewSet
from tenants.api.views import SiteViewSet, TenantTreeViewSet
from vms.api.host_views import HostForgetViewSet
from vms.api.image_views import ImageViewSet
from vms.api.nic_views import VmNicViewSet
from vms.api.quota_views import QuotaViewSet
from vms.api.views import VmViewSet

router = SimpleRouter()
router.register("tenants", TenantTreeViewSet, basename="api-tenant")
router.register("roles", RoleViewSet, basename="api-role")
router.register("memberships", MembershipViewSet, basename="api-membership")
router.register("access-rules", AccessRuleViewSet, basename="api-access-rule")
router.register("sites", SiteViewSet, basename="api-site")
router.register("quotas", QuotaViewSet, basename="api-quota")
router.register("hypervisors", HypervisorViewSet, basename="api-hypervisor")
router.register("join-tokens", JoinTokenViewSet, basename="api-join-token")
router.register("networks", NetworkViewSet, basename="api-network")
router.register("images", ImageViewSet, basename="api-image")
router.register("vms", VmViewSet, basename="api-vm")
router.register("jobs", JobViewSet, basename="api-job")
router.register("people", PersonViewSet, basename="api-person")
router.register("invitations", InvitationViewSet, basename="api-invitation")
router.register("tokens", TokenViewSet, basename="api-token")
router.register("service-accounts", ServiceAccountViewSet, basename="api-service-account")
router.register("consents", ConsentViewSet, basename="api-consent")
router.register("second-person", SecondPersonViewSet, basename="api-second-person")
router.register("audit", AuditViewSet, basename="api-audit")

urlpatterns: list[URLPattern | URLResolver] = [
    path("schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path(
        "docs/",
        SpectacularSwaggerSplitView.as_view(url_name="api-schema", template_name="api/docs.html"),
        name="api-docs",
    ),
    path(
        "sites/<str:pk>/join-tokens/",
        SiteJoinTokenViewSet.as_view({"post": "create"}),
        name="api-site-join-tokens",
    ),
    path(
        "vms/<str:pk>/console/",
        VmConsoleViewSet.as_view({"post": "create"}),
        name="api-vm-console",
    ),
    path(
        "vms/<str:pk>/console/request/",
        VmConsentViewSet.as_view({"post": "create"}),
        name="api-vm-consent",
    ),
    path(
        "hypervisors/<str:pk>/forget/",
        HostForgetViewSet.as_view({"post": "create"}),
        name="api-hypervisor-forget",
    ),
    path(
        "vms/<str:pk>/screen/",
        VmScreenViewSet.as_view({"post": "create"}),
        name="api-vm-screen",
    ),
    path(
        "vms/<str:pk>/nics/",
        VmNicViewSet.as_view({"post": "create"}),
        name="api-vm-nics",
    ),
    path(
        "vms/<str:pk>/nics/<str:nic_id>/",
        VmNicViewSet.as_view({"patch": "partial_update", "delete": "destroy"}),
        name="api-vm-nic",
    ),
    path(
        "tenants/<str:pk>/sign-in/",
        SignInViewSet.as_view({"get": "retrieve", "put": "update"}),
        name="api-tenant-sign-in",
    ),
    path(
        "tenants/<str:pk>/second-person/",
        SecondPersonRuleViewSet.as_view({"get": "retrieve", "put": "update"}),
        name="api-tenant-second-person",
    ),
    path(
        "tenants/<str:pk>/identity-providers/",
        TenantProviderViewSet.as_view({"post": "create"}),
        name="api-tenant-identity-providers",
    ),
    path(
        "identity-providers/<str:pk>/",
        IdentityProviderViewSet.as_view(
            {"get": "retrieve", "patch": "partial_update", "delete": "destroy"}
        ),
        name="api-identity-provider",
    ),
    path(
        "identity-providers/<str:pk>/domains/",
        ProviderDomainsViewSet.as_view({"put": "update"}),
        name="api-identity-provider-domains",
    ),
    *router.urls,
    re_path("", not_found, name="api-not-found"),
]
