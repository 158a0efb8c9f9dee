"""Consoles over the API."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from consoles.api.serializers import ConsoleTicketSerializer, ConsoleWishSerializer
from consoles.services.tickets import console_ticket_create, console_url
from tenants.api.base import TenantViewSet
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
