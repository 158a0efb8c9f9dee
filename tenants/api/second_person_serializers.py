"""A second person in the API."""

from typing import Any

from rest_framework import serializers

from tenants.api.fields import InputSerializer, ReferenceSerializer
from tenants.models import SecondPersonRequest
from tenants.models.second_person import MOST_THINGS


class SecondPersonAskSerializer(InputSerializer):
    kind = serializers.CharField(
        max_length=63,
        help_text="vm.delete, vm.stop, vm.reset, hypervisor.remove, hypervisor.forget, "
        "image.retire, tenant.remove or second_person.loosen.",
    )
    rows = serializers.ListField(
        child=serializers.UUIDField(), min_length=1, max_length=MOST_THINGS, help_text="Their ids."
    )
    option = serializers.CharField(
        max_length=32,
        required=False,
        default="",
        allow_blank=True,
        help_text="keep: vm.delete leaves the disks on the host. A number: what "
        "second_person.loosen sets.",
    )
    reason = serializers.CharField(max_length=500, help_text="The second person reads it.")


class ThingSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    where = serializers.CharField()
    loss = serializers.CharField()
    outcome = serializers.CharField(required=False, help_text="done or skipped.")
    told = serializers.CharField(required=False, help_text="Why it was skipped.")


class SecondPersonSerializer(serializers.ModelSerializer[SecondPersonRequest]):
    """What was asked, and what came of it."""

    tenant = ReferenceSerializer(read_only=True)
    things = ThingSerializer(many=True, read_only=True)
    asker = serializers.CharField(source="asker_name", read_only=True)
    second_person = serializers.CharField(source="decided_by_name", read_only=True)
    state = serializers.ChoiceField(choices=SecondPersonRequest.State.choices, read_only=True)

    class Meta:
        model = SecondPersonRequest
        fields = [
            "id",
            "tenant",
            "kind",
            "option",
            "things",
            "asker",
            "reason",
            "state",
            "second_person",
            "word",
            "expires_at",
            "decided_at",
            "finished_at",
            "created_at",
        ]
        read_only_fields = fields


class SecondPersonDecisionSerializer(InputSerializer):
    agree = serializers.BooleanField()
    word = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


class SecondPersonRuleSetSerializer(InputSerializer):
    threshold = serializers.IntegerField(
        min_value=1,
        max_value=MOST_THINGS,
        allow_null=True,
        help_text="From so many things on; null switches it off.",
    )


class SecondPersonRuleSerializer(serializers.Serializer[Any]):
    threshold = serializers.IntegerField(allow_null=True)
