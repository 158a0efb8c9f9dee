"""Console tickets in the API."""

from typing import Any

from rest_framework import serializers

from consoles.models import ConsoleTicket
from tenants.api.fields import InputSerializer


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
