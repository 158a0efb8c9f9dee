"""Tenants and sites over the API: fetch in scope, call one service, answer."""

from django.db import transaction
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.base import TenantViewSet
from tenants.api.serializers import (
    SiteChangeSerializer,
    SiteCreateSerializer,
    SiteSerializer,
    TenantChangeSerializer,
    TenantCreateSerializer,
    TenantSerializer,
)
from tenants.models import Site, Tenant
from tenants.services.custom_fields import custom_fields_set
from tenants.services.tenant_removal import tenant_remove
from tenants.services.tenants import (
    site_change,
    site_create,
    site_remove,
    tenant_create,
    tenant_move,
    tenant_rename,
)


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
        "partial_update": "tenant.manage",
        "destroy": "tenant.manage",
    }

    @extend_schema(request=TenantCreateSerializer, responses={201: TenantSerializer})
    def create(self, request: Request) -> Response:
        """Add a customer."""
        data = self.checked(TenantCreateSerializer)
        tenant = tenant_create(actor=self.actor, **data)
        return Response(TenantSerializer(tenant).data, status=201)

    @extend_schema(request=TenantChangeSerializer, responses={200: TenantSerializer})
    def partial_update(self, request: Request, pk: str) -> Response:
        """Rename a customer, or move it to a group. Its slug, and so the address of its pages,
        stays."""
        tenant = self.get_object()
        data = self.checked(TenantChangeSerializer)
        with transaction.atomic():
            if "parent" in data:
                tenant = tenant_move(actor=self.actor, tenant=tenant, parent=data["parent"])
            if "name" in data:
                tenant = tenant_rename(actor=self.actor, tenant=tenant, name=data["name"])
            if "custom_fields" in data:
                tenant = custom_fields_set(
                    actor=self.actor, owner=tenant, fields=data["custom_fields"]
                )
        return Response(TenantSerializer(tenant).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a customer without customers, sites and hosts. Its events stay readable."""
        tenant_remove(actor=self.actor, tenant=self.get_object())
        return Response(status=204)


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
        "partial_update": "site.manage",
        "destroy": "site.manage",
    }

    @extend_schema(request=SiteCreateSerializer, responses={201: SiteSerializer})
    def create(self, request: Request) -> Response:
        """Add a site."""
        data = self.checked(SiteCreateSerializer)
        site = site_create(actor=self.actor, **data)
        return Response(SiteSerializer(site).data, status=201)

    @extend_schema(request=SiteChangeSerializer, responses={200: SiteSerializer})
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change a site. Its slug, and so the address of its page, stays."""
        site = self.get_object()
        data = self.checked(SiteChangeSerializer)
        with transaction.atomic():
            if "custom_fields" in data:
                fields = data.pop("custom_fields")
                site = custom_fields_set(actor=self.actor, owner=site, fields=fields)
            site = site_change(actor=self.actor, site=site, **data)
        return Response(SiteSerializer(site).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Remove a site that has no hosts."""
        site_remove(actor=self.actor, site=self.get_object())
        return Response(status=204)
