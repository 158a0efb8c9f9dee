"""Tenants and sites over the API: fetch in scope, call one service, answer."""

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.base import TenantViewSet
from tenants.api.serializers import (
    SiteCreateSerializer,
    SiteSerializer,
    TenantCreateSerializer,
    TenantSerializer,
)
from tenants.models import Site, Tenant
from tenants.services.tenants import site_create, tenant_create


class TenantFilter(filters.FilterSet):  # type: ignore[misc]
    name = filters.CharFilter(lookup_expr="iexact")
    kind = filters.ChoiceFilter(choices=Tenant.Kind)
    parent = filters.UUIDFilter(field_name="parent_id")


class TenantTreeViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[Tenant]):
    """MSPs and their customers."""

    queryset = Tenant.objects.all()
    serializer_class = TenantSerializer
    filterset_class = TenantFilter
    permissions_by_action = {
        "list": "tenant.view",
        "retrieve": "tenant.view",
        "create": "tenant.manage",
    }

    @extend_schema(request=TenantCreateSerializer, responses={201: TenantSerializer})
    def create(self, request: Request) -> Response:
        """Add a customer."""
        data = self.checked(TenantCreateSerializer)
        tenant = tenant_create(actor=self.actor, **data)
        return Response(TenantSerializer(tenant).data, status=201)


class SiteFilter(filters.FilterSet):  # type: ignore[misc]
    name = filters.CharFilter(lookup_expr="iexact")
    tenant = filters.UUIDFilter(field_name="tenant_id")


class SiteViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[Site]):
    """The places where a customer's hosts stand."""

    queryset = Site.objects.select_related("tenant")
    serializer_class = SiteSerializer
    filterset_class = SiteFilter
    permissions_by_action = {
        "list": "site.view",
        "retrieve": "site.view",
        "create": "site.manage",
    }

    @extend_schema(request=SiteCreateSerializer, responses={201: SiteSerializer})
    def create(self, request: Request) -> Response:
        """Add a site."""
        data = self.checked(SiteCreateSerializer)
        site = site_create(actor=self.actor, **data)
        return Response(SiteSerializer(site).data, status=201)
