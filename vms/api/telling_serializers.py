"""What guests are told, and how their first boots went, in the API."""

from typing import Any

from rest_framework import serializers

from tenants.api.fields import InputSerializer
from vms.models import VirtualMachine
from vms.services.sealed import SealedSecrets, sealed_read

STAGE_STATUSES = ["waiting", "running", "ok", "warnings", "failed"]
_HOLDS = ("password", "user_data")


class BootStageSerializer(serializers.Serializer[Any]):
    name = serializers.ChoiceField(choices=["local", "network", "config", "final"])
    status = serializers.ChoiceField(choices=STAGE_STATUSES)
    started_at = serializers.FloatField(
        allow_null=True, help_text="Seconds since 1970-01-01 UTC, by the host's clock."
    )
    seconds = serializers.FloatField(allow_null=True)
    # DRF gathers fields by name; its own attribute of that name is the instance's.
    errors = serializers.ListField(child=serializers.CharField())  # type: ignore[assignment]


class BootSerializer(serializers.Serializer[Any]):
    """How the first boot went, as the host judges it."""

    instance_id = serializers.CharField()
    verdict = serializers.ChoiceField(choices=["waiting", "running", "done", "degraded", "failed"])
    reason = serializers.CharField(allow_null=True, help_text="What went wrong, for programs.")
    source = serializers.CharField(  # type: ignore[assignment]  # as above
        help_text="Where the host knows it from: reports, result, serial, agent, phone_home."
    )
    datasource = serializers.CharField()
    stages = BootStageSerializer(many=True)
    log = serializers.ListField(
        child=serializers.CharField(), help_text="The lines that matter, the oldest first."
    )


class VmTellSerializer(InputSerializer):
    """What is left out stays. The guest reads it when it asks; nothing is run again."""

    ssh_keys = serializers.ListField(
        child=serializers.CharField(max_length=8192, allow_blank=True),
        required=False,
        max_length=64,
    )
    tags = serializers.DictField(
        child=serializers.CharField(max_length=1024, allow_blank=True), required=False
    )
    user_data = serializers.CharField(
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        help_text="What is not secret of it: it stays readable in the guest.",
    )


class FirstBootSerializer(InputSerializer):
    """Secrets in clear over TLS, which are sealed at once, or sealed by you for the host's
    `seal_public` with the purpose `vm:<the VM's id>`."""

    password = serializers.CharField(
        required=False,
        allow_null=True,
        write_only=True,
        trim_whitespace=False,
        max_length=128,
        help_text="Of the VM's user. The one of before was erased at the end of the first boot.",
    )
    user_data = serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        write_only=True,
        trim_whitespace=False,
        help_text="What is secret of it, in place of what is not.",
    )
    sealed_secrets = serializers.CharField(
        required=False, write_only=True, max_length=360_000, help_text="In base64."
    )
    sealed_holds = serializers.ListField(
        child=serializers.ChoiceField(choices=_HOLDS),
        required=False,
        write_only=True,
        max_length=2,
        help_text="What was sealed: nobody here can look.",
    )

    def wishes(self, vm: VirtualMachine) -> dict[str, Any]:
        """Arguments of `vm_first_boot`. Raises InvalidInputError."""
        values = dict(self.validated_data)
        box, holds = values.pop("sealed_secrets", None), values.pop("sealed_holds", [])
        return values | {"sealed": _sealed(vm, box, holds)}


def _sealed(vm: VirtualMachine, box: str | None, holds: list[str]) -> SealedSecrets | None:
    if box is None:
        return None
    return sealed_read(
        vm_id=vm.id,
        box=box,
        has_password="password" in holds,
        has_user_data="user_data" in holds,
    )
