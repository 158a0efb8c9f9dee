"""Consoles over the API."""

from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from consoles.api.serializers import (
    ConsoleTicketSerializer,
    ConsoleWishSerializer,
    ScreenAwaitedSerializer,
)
from consoles.services.screens import vm_screen
from consoles.services.tickets import console_ticket_create, console_url
from tenants.api.base import TenantViewSet
from tenants.models import User
from vms.models import VirtualMachine


class VmConsoleViewSet(TenantViewSet[VirtualMachine]):
    """Opening a VM's console."""

    queryset = VirtualMachine.objects.select_related("hypervisor", "tenant")
    serializer_class = ConsoleTicketSerializer
    filterset_class = None
    permissions_by_action = {"create": "vm.console"}

    @extend_schema(request=ConsoleWishSerializer, responses={202: ConsoleTicketSerializer})
    def create(self, request: Request, pk: str) -> Response:
        """Make a ticket for one console, and say which socket it opens."""
        vm = self.get_object()
        kind = self.checked(ConsoleWishSerializer)["kind"]
        ticket, secret = console_ticket_create(actor=self.actor, vm=vm, kind=kind)
        made = {
            "ticket": secret,
            "url": console_url(secret),
            "kind": ticket.kind,
            "expires_at": ticket.expires_at,
        }
        return Response(ConsoleTicketSerializer(made).data, status=202)


class VmScreenViewSet(TenantViewSet[VirtualMachine]):
    """Seeing a VM's screen, small."""

    queryset = VirtualMachine.objects.select_related("hypervisor", "tenant")
    serializer_class = ScreenAwaitedSerializer
    filterset_class = None
    permissions_by_action = {"create": "vm.console"}

    @extend_schema(
        request=None,
        responses={(200, "image/png"): OpenApiTypes.BINARY, 202: ScreenAwaitedSerializer},
    )
    def create(self, request: Request, pk: str) -> HttpResponseBase:
        """Ask for a picture of the screen, at most 320 times 240. The answer is the newest
        there is, or 202 while the host takes the first: ask again in a second."""
        vm = self.get_object()
        user = self.request.user
        assert isinstance(user, User)  # noqa: S101 - others are turned away before
        screen = vm_screen(user=user, vm=vm)
        if screen is None:
            return Response(
                ScreenAwaitedSerializer({"message": "The host is taking a picture."}).data,
                status=202,
            )
        answer = HttpResponse(screen.png, content_type="image/png")
        answer["Cache-Control"] = "no-store"
        answer["X-Content-Type-Options"] = "nosniff"
        answer["Content-Security-Policy"] = "default-src 'none'; sandbox"
        return answer
