"""Images in the API."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from tenants.api.fields import InputSerializer, InScope, ReferenceSerializer
from tenants.models import Tenant
from vms.models import Identity, Image, ImageVersion


class ImageVersionSerializer(serializers.ModelSerializer[ImageVersion]):
    class Meta:
        model = ImageVersion
        fields = [
            "id",
            "number",
            "source",
            "url",
            "format",
            "sha256",
            "size",
            "virtual_size",
            "state",
            "problem",
            "created_at",
        ]
        read_only_fields = fields


class ImageSerializer(serializers.ModelSerializer[Image]):
    tenant = ReferenceSerializer(read_only=True, allow_null=True, help_text="Null: everybody's.")
    latest = serializers.SerializerMethodField(help_text="What new VMs are made from.")
    versions = ImageVersionSerializer(many=True, read_only=True)

    class Meta:
        model = Image
        fields = [
            "id",
            "tenant",
            "name",
            "os",
            "default_username",
            "identity",
            "min_disk_gib",
            "min_memory_mib",
            "created_at",
            "retired_at",
            "latest",
            "versions",
        ]
        read_only_fields = fields

    @extend_schema_field(serializers.UUIDField(allow_null=True))
    def get_latest(self, image: Image) -> str | None:
        # From the prefetched rows, newest first: `image.latest` would ask once for each image.
        ready = (
            version for version in image.versions.all() if version.state == ImageVersion.State.READY
        )
        version = next(ready, None)
        return str(version.id) if version else None


_IDENTITY = (
    "Which metadata VMs made from now on look for: “openstack” is right for most cloud images."
)


class ImageIdentitySerializer(InputSerializer):
    identity = serializers.ChoiceField(choices=Identity.choices, help_text=_IDENTITY)


class _ImageWishSerializer(InputSerializer):
    tenant = InScope(Tenant.objects.all, thing="tenant", permission="image.manage")
    name = serializers.CharField(max_length=100)
    os = serializers.CharField(
        max_length=100, default="", allow_blank=True, help_text="For people: “Debian 12”."
    )
    default_username = serializers.CharField(max_length=32, default="admin")
    identity = serializers.ChoiceField(
        choices=Identity.choices, default=Identity.OPENSTACK, help_text=_IDENTITY
    )
    min_disk_gib = serializers.IntegerField(default=1)
    min_memory_mib = serializers.IntegerField(default=256)


class ImageVersionAddSerializer(InputSerializer):
    url = serializers.CharField(max_length=2000, help_text="Hosts fetch it from here.")
    sha256 = serializers.CharField(max_length=100)
    format = serializers.ChoiceField(choices=["qcow2", "raw"], default="qcow2")


class ImageCreateSerializer(_ImageWishSerializer):
    url = serializers.CharField(max_length=2000, help_text="Hosts fetch it from here.")
    sha256 = serializers.CharField(max_length=100)
    format = serializers.ChoiceField(choices=["qcow2", "raw"], default="qcow2")


class ImageUploadSerializer(_ImageWishSerializer):
    file = serializers.FileField(
        help_text="A qcow2 image, or a raw disk with a partition table.", allow_empty_file=True
    )
    sha256 = serializers.CharField(max_length=100, required=False, allow_blank=True)

    def validate_sha256(self, value: Any) -> str | None:
        return str(value) or None
