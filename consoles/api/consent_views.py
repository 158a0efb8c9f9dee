"""A customer's consent over the API."""

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from consoles.api.serializers import (
    ConsentDecisionSerializer,
    ConsentSerializer,
    ConsentWishSerializer,
)
from consoles.models import ConsentRequest
from consoles.services.consent import consent_ask, consent_decide, consent_end
from consoles.services.consent_mail import consent_mail
from tenants.api.base import TenantViewSet
from vms.models import VirtualMachine


class VmConsentViewSet(TenantViewSet[VirtualMachine]):
    """Asking a customer for its consent."""

    queryset = VirtualMachine.objects.select_related("hypervisor", "tenant")
    serializer_class = ConsentSerializer  # type: ignore[assignment]
    filterset_class = None
    permissions_by_action = {"create": "vm.console"}

    @extend_schema(request=ConsentWishSerializer, responses={202: ConsentSerializer})
    def create(self, request: Request, pk: str) -> Response:
        """Ask to open this VM's console. Whoever asks again gets what waits already."""
        vm = self.get_object()
        reason = self.checked(ConsentWishSerializer)["reason"]
        wish, new = consent_ask(actor=self.actor, vm=vm, reason=reason)
        if new:
            consent_mail(request=wish)
        return Response(ConsentSerializer(wish).data, status=202)


class ConsentFilter(filters.FilterSet):  # type: ignore[misc]
    tenant = filters.UUIDFilter(field_name="tenant_id")
    vm = filters.UUIDFilter(field_name="vm_id")


class ConsentViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[ConsentRequest]):
    """Who asked to open which console, and what the customer said."""

    queryset = ConsentRequest.objects.select_related("tenant", "vm")
    serializer_class = ConsentSerializer
    filterset_class = ConsentFilter
    permissions_by_action = {
        "list": "job.view",
        "retrieve": "job.view",
        "decide": "consent.manage",
        "end": "consent.manage",
    }

    @extend_schema(request=ConsentDecisionSerializer, responses={200: ConsentSerializer})
    @action(detail=True, methods=["post"])
    def decide(self, request: Request, pk: str) -> Response:
        """Approve for some hours, or refuse. Only people of the customer itself may."""
        wish = self.get_object()
        hours = self.checked(ConsentDecisionSerializer)["hours"]
        decided = consent_decide(actor=self.actor, request=wish, hours=int(hours))
        return Response(ConsentSerializer(decided).data)

    @extend_schema(request=None, responses={200: ConsentSerializer})
    @action(detail=True, methods=["post"])
    def end(self, request: Request, pk: str) -> Response:
        """Take an approval back: the console closes at once."""
        wish = self.get_object()
        consent_end(actor=self.actor, request=wish)
        return Response(ConsentSerializer(self.get_object()).data)
