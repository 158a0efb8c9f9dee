"""Hosts, networks and jobs in the API."""

import base64
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from hypervisors.models import Hypervisor, Job, JobEvent, JoinToken, Network
from hypervisors.services.usage import RANGES
from tenants.api.fields import InputSerializer, InScope, ReferenceSerializer


def _figures(help_text: str) -> serializers.ListField:
    return serializers.ListField(child=serializers.FloatField(allow_null=True), help_text=help_text)


class HypervisorSerializer(serializers.ModelSerializer[Hypervisor]):
    tenant = ReferenceSerializer(read_only=True)
    site = ReferenceSerializer(read_only=True)
    facts = serializers.DictField(
        read_only=True, help_text="What the host is, as its agent last said."
    )
    usage = serializers.DictField(
        read_only=True, help_text="How busy the host is, as its agent last said."
    )
    seal_public = serializers.SerializerMethodField(
        help_text="The host's X25519 key in base64: what is sealed to it, only the host can read."
    )

    class Meta:
        model = Hypervisor
        fields = [
            "id",
            "tenant",
            "site",
            "name",
            "online",
            "last_seen_at",
            "connected_at",
            "clone_seen_at",
            "agent_version",
            "simulated",
            "facts",
            "usage",
            "observed_at",
            "foreign_vms",
            "seal_public",
            "created_at",
        ]
        read_only_fields = fields

    def get_seal_public(self, host: Hypervisor) -> str:
        return base64.b64encode(bytes(host.seal_public)).decode()


class UsageQuerySerializer(InputSerializer):
    range = serializers.ChoiceField(
        choices=list(RANGES), default="24h", help_text="How far back. A day by default."
    )


class UsageFiguresSerializer(serializers.Serializer[Any]):
    """One value for each time; null where nothing was heard."""

    cpu_percent = _figures("Of all its processors together.")
    memory_used_mib = _figures("Memory in use, in MiB.")
    disk_used = _figures("Bytes taken up on the host's disks.")
    disk_read = _figures("Bytes per second.")
    disk_write = _figures("Bytes per second.")
    net_in = _figures("Bytes per second.")
    net_out = _figures("Bytes per second.")


class UsageSerializer(serializers.Serializer[Any]):
    range = serializers.ChoiceField(choices=list(RANGES))
    step_s = serializers.IntegerField(help_text="Seconds that each value is the mean of.")
    times = serializers.ListField(
        child=serializers.IntegerField(),
        help_text="When each step began, in seconds since 1970-01-01 UTC.",
    )
    figures = UsageFiguresSerializer()


class HypervisorChangeSerializer(InputSerializer):
    name = serializers.CharField(max_length=63)


class NetworkSerializer(serializers.ModelSerializer[Network]):
    tenant = ReferenceSerializer(read_only=True)
    hypervisor = ReferenceSerializer(read_only=True)
    dns = serializers.ListField(child=serializers.IPAddressField(), read_only=True)

    class Meta:
        model = Network
        fields = [
            "id",
            "tenant",
            "hypervisor",
            "name",
            "kind",
            "addressing",
            "bridge",
            "subnet",
            "gateway",
            "dns",
            "mtu",
            "created_at",
        ]
        read_only_fields = fields


class NetworkCreateSerializer(InputSerializer):
    hypervisor = InScope(Hypervisor.objects.all, thing="host", permission="network.manage")
    name = serializers.CharField(max_length=63)
    kind = serializers.ChoiceField(choices=Network.Kind.choices)
    addressing = serializers.ChoiceField(
        choices=Network.Addressing.choices,
        required=False,
        help_text="Who gives addresses. On NAT always the portal; on a bridge the site by default.",
    )
    bridge = serializers.CharField(
        max_length=15, default="", allow_blank=True, help_text="Kind bridge: the host's bridge."
    )
    subnet = serializers.CharField(
        max_length=43, default="", allow_blank=True, help_text="CIDR, e.g. 10.20.0.0/24."
    )
    gateway = serializers.IPAddressField(required=False, allow_null=True, default=None)
    dns = serializers.ListField(child=serializers.IPAddressField(), default=list, max_length=8)
    mtu = serializers.IntegerField(default=1500, min_value=576, max_value=9216)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        nat = attrs["kind"] == Network.Kind.NAT
        attrs.setdefault(
            "addressing", Network.Addressing.PORTAL if nat else Network.Addressing.SITE
        )
        return attrs


class JobErrorSerializer(serializers.Serializer[Any]):
    code = serializers.CharField(help_text="Stable, for programs.")
    message = serializers.CharField(help_text="Cause and next step, for people.")


class JobSubjectSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="subject_id", allow_null=True)
    name = serializers.CharField(source="subject_name")


class JobEventSerializer(serializers.ModelSerializer[JobEvent]):
    class Meta:
        model = JobEvent
        fields = ["at", "status", "progress", "message"]
        read_only_fields = fields


class JobSerializer(serializers.ModelSerializer[Job]):
    tenant = ReferenceSerializer(read_only=True)
    hypervisor = ReferenceSerializer(read_only=True)
    subject = JobSubjectSerializer(source="*", read_only=True, help_text="The VM it is about.")
    error = serializers.SerializerMethodField()

    class Meta:
        model = Job
        fields = [
            "id",
            "kind",
            "tenant",
            "hypervisor",
            "subject",
            "arguments",
            "status",
            "progress",
            "step",
            "error",
            "created_at",
            "sent_at",
            "accepted_at",
            "finished_at",
            "deadline",
        ]
        read_only_fields = fields
        extra_kwargs = {"progress": {"help_text": "0 to 100.", "min_value": 0, "max_value": 100}}

    @extend_schema_field(JobErrorSerializer(allow_null=True))
    def get_error(self, job: Job) -> dict[str, str] | None:
        if not job.error_code:
            return None
        return {"code": job.error_code, "message": job.error_message}


class JobDetailSerializer(JobSerializer):
    """A job with its steps, oldest first."""

    events = JobEventSerializer(many=True, read_only=True)

    class Meta(JobSerializer.Meta):
        fields = [*JobSerializer.Meta.fields, "events"]
        read_only_fields = fields


class JoinTokenCreateSerializer(InputSerializer):
    max_uses = serializers.IntegerField(default=1, min_value=1, max_value=1000)
    expires_in_hours = serializers.IntegerField(default=24, min_value=1, max_value=24 * 30)


class JoinTokenSerializer(serializers.ModelSerializer[JoinToken]):
    tenant = ReferenceSerializer(read_only=True)
    site = ReferenceSerializer(read_only=True)

    class Meta:
        model = JoinToken
        fields = [
            "id",
            "tenant",
            "site",
            "prefix",
            "max_uses",
            "used_count",
            "expires_at",
            "revoked_at",
            "created_at",
        ]
        read_only_fields = fields


class JoinTokenMadeSerializer(serializers.Serializer[Any]):
    """The secret is shown here, once."""

    id = serializers.UUIDField()
    token = serializers.CharField()
    command = serializers.CharField(help_text="To be run as root on the new host.")
    max_uses = serializers.IntegerField()
    expires_at = serializers.DateTimeField()
