"""Tenants and sites in the API."""

import zoneinfo
from typing import Any

from rest_framework import serializers

from tenants.api.fields import InputSerializer, InScope, ReferenceSerializer
from tenants.models import Site, Tenant


def custom_fields_shown() -> serializers.DictField:
    return serializers.DictField(
        child=serializers.CharField(),
        read_only=True,
        help_text="Of one's own: scripts of VMs may use them as variables.",
    )


def custom_fields_wished() -> serializers.DictField:
    return serializers.DictField(
        child=serializers.CharField(max_length=500, allow_blank=True),
        required=False,
        help_text="All of them: what is not named goes.",
    )


class TenantSerializer(serializers.ModelSerializer[Tenant]):
    parent = serializers.UUIDField(  # type: ignore[assignment]
        source="parent_id", allow_null=True, read_only=True
    )
    custom_fields = custom_fields_shown()

    class Meta:
        model = Tenant
        fields = ["id", "kind", "name", "slug", "parent", "custom_fields", "created_at"]
        read_only_fields = fields


class TenantCreateSerializer(InputSerializer):
    name = serializers.CharField(max_length=100)
    parent = InScope(  # type: ignore[assignment]
        Tenant.objects.all,
        thing="tenant",
        permission="tenant.manage",
        help_text="The MSP, or a group of customers, that the new customer belongs to.",
    )
    kind = serializers.ChoiceField(
        choices=[Tenant.Kind.CUSTOMER, Tenant.Kind.GROUP],
        default=Tenant.Kind.CUSTOMER,
        help_text="`group`: a group of customers, right below its MSP.",
    )


class SiteSerializer(serializers.ModelSerializer[Site]):
    tenant = ReferenceSerializer(read_only=True)
    custom_fields = custom_fields_shown()

    class Meta:
        model = Site
        fields = [
            "id",
            "tenant",
            "name",
            "slug",
            "address",
            "time_zone",
            "custom_fields",
            "created_at",
        ]
        read_only_fields = fields


class TenantChangeSerializer(InputSerializer):
    """What is left out stays as it is."""

    name = serializers.CharField(max_length=100, required=False)
    parent = InScope(  # type: ignore[assignment]
        Tenant.objects.all,
        thing="tenant",
        permission="tenant.manage",
        required=False,
        help_text="Moves a customer into this group of its MSP, or out of one to the MSP.",
    )
    custom_fields = custom_fields_wished()

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        if not data:
            raise serializers.ValidationError("Give a “name”, a “parent” or “custom_fields”.")
        return data


def known_time_zone(value: Any) -> None:
    """Raises ValidationError for what the IANA database does not name."""
    if value not in zoneinfo.available_timezones():
        raise serializers.ValidationError(
            "There is no such time zone. Give a name like “Europe/Vienna”."
        )


class SiteCreateSerializer(InputSerializer):
    tenant = InScope(Tenant.objects.all, thing="tenant", permission="site.manage")
    name = serializers.CharField(max_length=100)
    address = serializers.CharField(max_length=200, allow_blank=True, default="")
    time_zone = serializers.CharField(
        max_length=64,
        default="UTC",
        validators=[known_time_zone],
        help_text="A name of the IANA time zone database.",
    )


class SiteChangeSerializer(InputSerializer):
    """What is left out stays as it is."""

    name = serializers.CharField(max_length=100, required=False)
    address = serializers.CharField(max_length=200, allow_blank=True, required=False)
    time_zone = serializers.CharField(
        max_length=64,
        required=False,
        validators=[known_time_zone],
        help_text="A name of the IANA time zone database.",
    )
    custom_fields = custom_fields_wished()
