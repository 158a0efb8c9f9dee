"""Console tickets in the API."""

from typing import Any

from rest_framework import serializers

from consoles.models import ConsentRequest, ConsoleTicket
from consoles.services.consent import HOURS
from tenants.api.fields import InputSerializer, ReferenceSerializer


class ConsoleWishSerializer(InputSerializer):
    kind = serializers.ChoiceField(
        choices=ConsoleTicket.Kind.choices, default=ConsoleTicket.Kind.VNC.value
    )


class ConsoleTicketSerializer(serializers.Serializer[Any]):
    """Good for one socket, by one person, within seconds."""

    ticket = serializers.CharField()
    url = serializers.CharField(help_text="The WebSocket to open: raw RFB or serial bytes.")
    kind = serializers.ChoiceField(choices=ConsoleTicket.Kind.choices)
    expires_at = serializers.DateTimeField()


class ScreenAwaitedSerializer(serializers.Serializer[Any]):
    """There is no picture yet."""

    message = serializers.CharField()


class ConsentWishSerializer(InputSerializer):
    reason = serializers.CharField(max_length=500, help_text="The customer reads it.")


class ConsentSerializer(serializers.ModelSerializer[ConsentRequest]):
    """What was asked, and what the customer said."""

    tenant = ReferenceSerializer(read_only=True)
    vm = ReferenceSerializer(read_only=True)
    requester = serializers.CharField(source="requester_name", read_only=True)
    state = serializers.ChoiceField(choices=ConsentRequest.State.choices, read_only=True)

    class Meta:
        model = ConsentRequest
        fields = [
            "id",
            "tenant",
            "vm",
            "requester",
            "reason",
            "state",
            "decided_at",
            "approved_until",
            "created_at",
        ]
        read_only_fields = fields


class ConsentDecisionSerializer(InputSerializer):
    hours = serializers.ChoiceField(
        choices=[(0, "Refuse"), *((hours, f"{hours} h") for hours in HOURS)],
        help_text="For how long; 0 refuses.",
    )
