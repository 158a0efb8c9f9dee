"""NICs of a VM over the API: fetch in scope, call one service, answer."""

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from hypervisors.api.serializers import JobSerializer
from tenants.api.base import TenantViewSet
from vms.api.nic_serializers import NicAddSerializer, NicChangeSerializer, network_named
from vms.api.serializers import VmAndJobSerializer
from vms.models import Nic, VirtualMachine
from vms.services.nics import nic_add, nic_change, nic_of, nic_remove


class VmNicViewSet(TenantViewSet[VirtualMachine]):
    """Adding NICs to a VM, changing and removing them; at once where the guest runs."""

    queryset = VirtualMachine.objects.for_pages()
    serializer_class = VmAndJobSerializer
    filterset_class = None
    permissions_by_action = {
        "create": "vm.edit",
        "partial_update": "vm.edit",
        "destroy": "vm.edit",
    }

    @extend_schema(request=NicAddSerializer, responses={202: VmAndJobSerializer})
    def create(self, request: Request, pk: str) -> Response:
        """Add a NIC. A running guest has it at once, and its metadata is served on it."""
        vm = self.get_object()
        data = self.checked(NicAddSerializer)
        network = network_named(request.user, vm.hypervisor, data.pop("network"))
        job = nic_add(actor=self.actor, vm=vm, network=network, **data)
        vm = VirtualMachine.objects.for_pages().get(pk=vm.pk)
        return Response(VmAndJobSerializer({"vm": vm, "job": job}).data, status=202)

    @extend_schema(request=NicChangeSerializer, responses={202: JobSerializer})
    def partial_update(self, request: Request, pk: str, nic_id: str) -> Response:
        """Give a NIC other addresses, or switch its guard. What is left out stays."""
        nic = self._nic(nic_id)
        job = nic_change(actor=self.actor, nic=nic, **self.checked(NicChangeSerializer))
        return Response(JobSerializer(job).data, status=202)

    @extend_schema(responses={202: JobSerializer})
    def destroy(self, request: Request, pk: str, nic_id: str) -> Response:
        """Remove a NIC. Whatever the guest reaches over it alone, it reaches no more."""
        return Response(
            JobSerializer(nic_remove(actor=self.actor, nic=self._nic(nic_id))).data, 202
        )

    def _nic(self, nic_id: str) -> Nic:
        vm = self.get_object()
        try:
            nic = nic_of(vm, serializers.UUIDField().run_validation(nic_id))
        except serializers.ValidationError:
            nic = None
        if nic is None:
            raise Http404
        return nic
