"""The audit log over the API: read, and nothing else."""

from typing import Any

from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin

from tenants.api.base import TenantViewSet
from tenants.api.instants import InstantFilter
from tenants.models import AuditEvent


class AuditFilter(filters.FilterSet):  # type: ignore[misc]
    tenant = filters.UUIDFilter(field_name="tenant_id")
    site = filters.UUIDFilter(field_name="site_id")
    user = filters.UUIDFilter(field_name="actor_id")
    object = filters.UUIDFilter(field_name="object_id")
    object_kind = filters.CharFilter()
    action = filters.CharFilter()
    ip = filters.CharFilter(method="from_address", help_text="The beginning of an address.")
    since = InstantFilter(field_name="created_at", lookup_expr="gte")
    until = InstantFilter(field_name="created_at", lookup_expr="lte")
    q = filters.CharFilter(method="search", help_text="Part of a name of a person or a thing.")

    def from_address(self, rows: Any, _name: str, value: str) -> Any:
        return rows.filter(whence=True, ip__startswith=value)

    def search(self, rows: Any, _name: str, value: str) -> Any:
        return rows.filter(
            Q(object_name__icontains=value)
            | Q(actor_name__icontains=value)
            | Q(tenant_name__icontains=value)
        )


class ActorSerializer(serializers.Serializer[AuditEvent]):
    """Who. `ip`, `user_agent` and `credential` are null where they are not yours to see."""

    id = serializers.UUIDField(source="actor_id", allow_null=True)
    kind = serializers.ChoiceField(source="actor_kind", choices=AuditEvent.ActorKind.choices)
    name = serializers.CharField(source="actor_name")
    ip = serializers.SerializerMethodField()
    user_agent = serializers.SerializerMethodField()
    credential = serializers.SerializerMethodField()

    @extend_schema_field({"type": "string", "nullable": True})
    def get_ip(self, event: Any) -> str | None:
        return event.ip if event.whence else None

    @extend_schema_field({"type": "string", "nullable": True})
    def get_user_agent(self, event: Any) -> str | None:
        return event.user_agent if event.whence else None

    @extend_schema_field({"type": "string", "nullable": True})
    def get_credential(self, event: Any) -> str | None:
        return event.credential if event.whence else None


class AuditedTenantSerializer(serializers.Serializer[AuditEvent]):
    """Whose thing it was, by the name of that time. It may be deleted since."""

    id = serializers.UUIDField(source="tenant_id", allow_null=True)
    name = serializers.CharField(source="tenant_name")


class AuditedObjectSerializer(serializers.Serializer[AuditEvent]):
    """What it was done to, by the name of that time. It may be deleted since."""

    kind = serializers.CharField(source="object_kind")
    id = serializers.UUIDField(source="object_id", allow_null=True)
    name = serializers.CharField(source="object_name")


class AuditEventSerializer(serializers.ModelSerializer[AuditEvent]):
    tenant = AuditedTenantSerializer(source="*")
    site = serializers.UUIDField(source="site_id", allow_null=True)
    actor = ActorSerializer(source="*")
    object = AuditedObjectSerializer(source="*")
    before = serializers.DictField()
    after = serializers.DictField()
    seq = serializers.SerializerMethodField(help_text="Its number in the chain of its MSP.")
    hash = serializers.SerializerMethodField(help_text="The chain's hash at it, in hex.")

    class Meta:
        model = AuditEvent
        fields = [
            "id", "created_at", "tenant", "site", "actor", "action", "object", "before", "after",
            "seq", "hash",
        ]  # fmt: skip
        read_only_fields = fields

    @extend_schema_field({"type": "integer", "nullable": True})
    def get_seq(self, event: Any) -> int | None:
        return event.link.seq if hasattr(event, "link") else None

    @extend_schema_field({"type": "string", "nullable": True})
    def get_hash(self, event: Any) -> str | None:
        return bytes(event.link.hash).hex() if hasattr(event, "link") else None


class AuditViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[AuditEvent]):
    """Who did what, to what, and from where; newest first. Nobody can change it."""

    queryset = AuditEvent.objects.select_related("link")
    serializer_class = AuditEventSerializer
    filterset_class = AuditFilter
    permissions_by_action = {"list": "audit.view", "retrieve": "audit.view"}

    def get_queryset(self) -> QuerySet[AuditEvent]:
        rows: Any = super().get_queryset()
        seen: QuerySet[AuditEvent] = rows.with_whence(self.request.user)
        return seen
