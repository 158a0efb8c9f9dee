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
from tenants.api.pagination import KeysetPagination
from vms.api.quota_serializers import (
    QuotaChangeSerializer,
    QuotaSerializer,
    QuotaSetSerializer,
)
from vms.models import Quota
from vms.services.quota_settings import quota_remove, quota_set
from vms.services.quota_usage import by_fullness, quota_usages

FULLEST = "-fullness"


class QuotaPagination(KeysetPagination):
    """Newest first, or by `ordering`."""

    def get_ordering(self, request: Request, queryset: Any, view: Any) -> tuple[str, ...]:
        if "fullness" in queryset.query.annotations:
            return (FULLEST, *KeysetPagination.ordering)
        return KeysetPagination.ordering

    def position(self, text: str) -> str:
        return str(int(text)) if self.ordering[0] == FULLEST else super().position(text)


class QuotaFilter(filters.FilterSet):  # type: ignore[misc]
    tenant = filters.UUIDFilter(field_name="tenant_id")
    site = filters.UUIDFilter(field_name="site_id")
    ordering = filters.ChoiceFilter(
        choices=[(FULLEST, "The fullest first")],
        method="by_fullness",
        help_text="The fullest first, by the fullest of what each limits; newest first without it.",
    )

    def by_fullness(self, rows: "QuerySet[Quota]", name: str, value: str) -> "QuerySet[Quota]":
        return by_fullness(rows)


class QuotaViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[Quota]):
    """What tenants and sites may have at most, and how much they have."""

    queryset = Quota.objects.for_pages()
    serializer_class = QuotaSerializer
    filterset_class = QuotaFilter
    pagination_class = QuotaPagination
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
