"""Quotas in the API."""

from typing import Any

from rest_framework import serializers

from tenants.api.fields import InputSerializer, InScope, ReferenceSerializer
from tenants.models import Site, Tenant
from vms.models import Quota
from vms.models.quota import LIMITS, MOST
from vms.services.quota_usage import Amounts


class LimitsSerializer(serializers.Serializer[Any]):
    vms = serializers.IntegerField(allow_null=True, help_text="Null: no limit.")
    vcpus = serializers.IntegerField(allow_null=True)
    memory_mib = serializers.IntegerField(allow_null=True)
    disk_gib = serializers.IntegerField(allow_null=True)
    snapshots = serializers.IntegerField(
        allow_null=True, help_text="Kept for snapshots, of which there are none yet."
    )


class UsedSerializer(serializers.Serializer[Amounts]):
    vms = serializers.IntegerField()
    vcpus = serializers.IntegerField()
    memory_mib = serializers.IntegerField()
    disk_gib = serializers.IntegerField()
    snapshots = serializers.IntegerField()


class QuotaSerializer(serializers.ModelSerializer[Quota]):
    """Rows bring `used` along."""

    tenant = ReferenceSerializer(read_only=True)
    site = ReferenceSerializer(
        read_only=True, allow_null=True, help_text="Null: of the tenant and all below it."
    )
    limits = LimitsSerializer(read_only=True)
    used = UsedSerializer(read_only=True, help_text="What there is, limited or not.")

    class Meta:
        model = Quota
        fields = ["id", "tenant", "site", "limits", "used", "created_at"]
        read_only_fields = fields


class QuotaChangeSerializer(InputSerializer):
    """Limits that are left out stay; null lifts one."""

    vms = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=MOST, help_text="Null: no limit."
    )
    vcpus = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=MOST)
    memory_mib = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=MOST
    )
    disk_gib = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=MOST
    )
    snapshots = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=MOST
    )


class QuotaSetSerializer(QuotaChangeSerializer):
    """Of a tenant with all below it, or of one site. Limits that are left out are none."""

    tenant = InScope(
        lambda: Tenant.objects.select_related("parent"),
        thing="tenant",
        permission="quota.manage",
        required=False,
    )
    site = InScope(
        lambda: Site.objects.select_related("tenant__parent"),
        thing="site",
        permission="quota.manage",
        required=False,
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("tenant" in attrs) == ("site" in attrs):
            raise serializers.ValidationError(
                {"tenant": ["Give either the tenant or the site that the quota is of."]}
            )
        site = attrs.get("site")
        return {
            "tenant": site.tenant if site else attrs["tenant"],
            "site": site,
            "limits": {name: attrs.get(name) for name in LIMITS},
        }
