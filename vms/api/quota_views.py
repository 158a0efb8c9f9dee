"""Quotas over the API: fetch in scope, call one service, answer."""

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.base import TenantViewSet
from vms.api.quota_serializers import (
    QuotaChangeSerializer,
    QuotaSerializer,
    QuotaSetSerializer,
)
from vms.models import Quota
from vms.services.quota_settings import quota_remove, quota_set
from vms.services.quota_usage import quota_usages


class QuotaFilter(filters.FilterSet):  # type: ignore[misc]
    tenant = filters.UUIDFilter(field_name="tenant_id")
    site = filters.UUIDFilter(field_name="site_id")


class QuotaViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[Quota]):
    """What tenants and sites may have at most, and how much they have."""

    queryset = Quota.objects.for_pages()
    serializer_class = QuotaSerializer
    filterset_class = QuotaFilter
    permissions_by_action = {
        "list": "tenant.view",
        "retrieve": "tenant.view",
        "create": "quota.manage",
        "partial_update": "quota.manage",
        "destroy": "quota.manage",
    }

    def paginate_queryset(self, queryset: "QuerySet[Any, Any] | Sequence[Any]") -> Any:
        return _with_usage(super().paginate_queryset(queryset) or [])

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self._answer(self.get_object())

    @extend_schema(request=QuotaSetSerializer, responses={200: QuotaSerializer})
    def create(self, request: Request) -> Response:
        """Set the whole quota of a tenant or a site: made, or replaced where there is one. Those
        of a tenant are set by who manages quotas on the tenant above."""
        return self._answer(quota_set(actor=self.actor, **self.checked(QuotaSetSerializer)))

    @extend_schema(request=QuotaChangeSerializer, responses={200: QuotaSerializer})
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change some limits. One below what there is takes nothing away."""
        quota = self.get_object()
        limits = {**quota.limits, **self.checked(QuotaChangeSerializer)}
        return self._answer(
            quota_set(actor=self.actor, tenant=quota.tenant, site=quota.site, limits=limits)
        )

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Remove a quota: nothing is limited by it any more."""
        quota_remove(actor=self.actor, quota=self.get_object())
        return Response(status=204)

    @staticmethod
    def _answer(quota: Quota) -> Response:
        [row] = _with_usage([quota])
        return Response(QuotaSerializer(row).data)


def _with_usage(quotas: Sequence[Any]) -> Sequence[Any]:
    usages = quota_usages(quotas)
    for quota in quotas:
        quota.used = usages[quota.pk]
    return quotas
