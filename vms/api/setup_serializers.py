"""The usual wishes for a first boot, in the API."""

from typing import Any

from rest_framework import serializers

from tenants.api.fields import InputSerializer
from vms.services.setup import Setup


class UserWishSerializer(InputSerializer):
    name = serializers.CharField(max_length=32)
    ssh_key = serializers.CharField(max_length=8192, default="", allow_blank=True)


class MountWishSerializer(InputSerializer):
    device = serializers.CharField(
        max_length=255, help_text="What is mounted: LABEL=data, /dev/vdb, nas:/share."
    )
    directory = serializers.CharField(max_length=255)
    type = serializers.CharField(max_length=64, default="auto")
    options = serializers.CharField(max_length=255, default="defaults,nofail")


class SetupSerializer(InputSerializer):
    """What most first boots are about, without writing YAML. Nothing of it is secret: what is,
    belongs into `user_data`. Variables like `{{ ip }}` may be used."""

    packages = serializers.ListField(
        child=serializers.CharField(max_length=128), default=list, max_length=100
    )
    upgrade = serializers.BooleanField(
        default=False, help_text="Bring all packages of the image up to date."
    )
    time_zone = serializers.CharField(
        max_length=64,
        default="",
        allow_blank=True,
        help_text="A name of the IANA time zone database.",
    )
    proxy = serializers.CharField(
        max_length=500, default="", allow_blank=True, help_text="For packages and for all sessions."
    )
    users = UserWishSerializer(
        many=True, default=list, help_text="More users, each with a key. They may use sudo."
    )
    mounts = MountWishSerializer(many=True, default=list)
    data_mounts = serializers.ListField(
        child=serializers.CharField(max_length=255, allow_blank=True),
        default=list,
        max_length=23,
        help_text="Directories for the second disk, the third and so on: each is formatted with "
        "ext4 if it is empty, and mounted there. An empty text leaves a disk as it is.",
    )
    commands = serializers.ListField(
        child=serializers.CharField(max_length=2000), default=list, max_length=100
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        users = [(user["name"], user["ssh_key"]) for user in attrs.pop("users")]
        mounts = [
            (mount["device"], mount["directory"], mount["type"], mount["options"])
            for mount in attrs.pop("mounts")
        ]
        return {"setup": Setup(**attrs, users=users, mounts=mounts)}
