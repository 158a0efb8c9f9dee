"""VMs over the API: fetch in scope, call one service, answer."""

import json
from typing import Any

from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from hypervisors.api.serializers import JobSerializer, UsageQuerySerializer, UsageSerializer
from hypervisors.models import Job
from hypervisors.services.usage import usage_series
from tenants.api.base import TenantViewSet
from tenants.models import ApiToken, User
from tenants.services.idempotency import answer_once
from vms.api.serializers import (
    RebootSerializer,
    VmAndJobSerializer,
    VmCreateSerializer,
    VmRenameSerializer,
    VmResizeSerializer,
    VmSerializer,
)
from vms.api.telling_serializers import FirstBootSerializer, VmTellSerializer
from vms.models import Power, VirtualMachine, VmUsage
from vms.services import changes, power, telling
from vms.services.creation import vm_create


class VmFilter(filters.FilterSet):  # type: ignore[misc]
    name = filters.CharFilter(lookup_expr="iexact")
    tenant = filters.UUIDFilter(field_name="tenant_id")
    site = filters.UUIDFilter(field_name="hypervisor__site_id")
    hypervisor = filters.UUIDFilter(field_name="hypervisor_id")
    image = filters.UUIDFilter(field_name="image_version__image_id")
    state = filters.MultipleChoiceFilter(choices=VirtualMachine.State)
    status = filters.MultipleChoiceFilter(
        field_name="observed_power", choices=Power, help_text="What the host last saw, as `power`."
    )


class VmViewSet(
    ListModelMixin,
    RetrieveModelMixin,
    TenantViewSet[VirtualMachine],
):
    """Virtual machines. Whatever takes time answers 202 with the job that does it."""

    queryset = VirtualMachine.objects.for_pages()
    serializer_class = VmSerializer
    filterset_class = VmFilter
    permissions_by_action = {
        "list": "vm.view",
        "retrieve": "vm.view",
        "create": "vm.create",
        "partial_update": "vm.edit",
        "destroy": "vm.delete",
        "start": "vm.power",
        "shutdown": "vm.power",
        "stop": "vm.power",
        "reboot": "vm.power",
        "resize": "vm.edit",
        "tell": "vm.tell",
        "reset_password": "vm.tell",
        "first_boot": "vm.tell",
        "usage": "vm.view",
    }

    @extend_schema(
        request=VmCreateSerializer,
        responses={202: VmAndJobSerializer},
        parameters=[
            OpenApiParameter(
                "Idempotency-Key",
                OpenApiTypes.STR,
                OpenApiParameter.HEADER,
                description="Asked again with the same key and body within a day, it is the same "
                "VM and the same answer.",
            )
        ],
    )
    def create(self, request: Request) -> Response:
        """Make a VM and start it."""
        key = request.headers.get("Idempotency-Key")
        if not key or not isinstance(request.user, User):
            return Response(self._created(), status=202)
        status, body = answer_once(
            user=request.user,
            key=key,
            # What a narrow token asks is not what a wider one of the same person asked.
            request=[request.data, str(request.auth.pk)]
            if isinstance(request.auth, ApiToken) and request.auth.narrow
            else request.data,
            answer=lambda: (202, self._created()),
        )
        return Response(body, status=status)

    def _created(self) -> Any:
        vm, job = vm_create(actor=self.actor, **self.checked(VmCreateSerializer))
        vm = VirtualMachine.objects.for_pages().get(pk=vm.pk)
        data = VmAndJobSerializer({"vm": vm, "job": job}).data
        return json.loads(JSONRenderer().render(data))

    @extend_schema(request=VmRenameSerializer, responses={202: JobSerializer})
    def partial_update(self, request: Request, pk: str) -> Response:
        """Rename a VM. The guest learns its new host name at its next boot."""
        vm = self.get_object()
        data = self.checked(VmRenameSerializer)
        return _accepted(changes.vm_rename(actor=self.actor, vm=vm, **data))

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "keep_disks",
                OpenApiTypes.BOOL,
                description="Leave the disks in the host's kept/ folder.",
            )
        ],
        responses={202: JobSerializer},
    )
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a VM, running or not, with its disks."""
        vm = self.get_object()
        keep = serializers.BooleanField().run_validation(
            request.query_params.get("keep_disks", "false")
        )
        return _accepted(changes.vm_delete(actor=self.actor, vm=vm, keep_disks=keep))

    @extend_schema(request=None, responses={202: JobSerializer})
    @action(detail=True, methods=["post"])
    def start(self, request: Request, pk: str) -> Response:
        """Start the guest."""
        return _accepted(power.vm_start(actor=self.actor, vm=self.get_object()))

    @extend_schema(request=None, responses={202: JobSerializer})
    @action(detail=True, methods=["post"])
    def shutdown(self, request: Request, pk: str) -> Response:
        """Ask the guest to power off by itself."""
        return _accepted(power.vm_shutdown(actor=self.actor, vm=self.get_object()))

    @extend_schema(request=None, responses={202: JobSerializer})
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: str) -> Response:
        """Force off, at once, like pulling the plug."""
        return _accepted(power.vm_stop(actor=self.actor, vm=self.get_object()))

    @extend_schema(request=RebootSerializer, responses={202: JobSerializer})
    @action(detail=True, methods=["post"])
    def reboot(self, request: Request, pk: str) -> Response:
        """Restart the guest."""
        vm = self.get_object()
        return _accepted(power.vm_reboot(actor=self.actor, vm=vm, **self.checked(RebootSerializer)))

    @extend_schema(request=VmResizeSerializer, responses={202: JobSerializer})
    @action(detail=True, methods=["post"])
    def resize(self, request: Request, pk: str) -> Response:
        """Change processors, memory or disks of a VM that is off. Disks only grow."""
        vm = self.get_object()
        return _accepted(
            changes.vm_resize(actor=self.actor, vm=vm, **self.checked(VmResizeSerializer))
        )

    @extend_schema(request=VmTellSerializer, responses={202: JobSerializer})
    @action(detail=True, methods=["post"])
    def tell(self, request: Request, pk: str) -> Response:
        """Serve the guest other keys, tags or user-data, at once and without a restart."""
        vm = self.get_object()
        wishes = self.checked(VmTellSerializer)
        return _accepted(telling.vm_tell(actor=self.actor, vm=vm, **wishes))

    @extend_schema(request=FirstBootSerializer, responses={202: JobSerializer})
    @action(detail=True, methods=["post"])
    def reset_password(self, request: Request, pk: str) -> Response:
        """Give the VM's user another password, by a first boot at its next start from off."""
        return self._first_boot(reset=True)

    @extend_schema(request=FirstBootSerializer, responses={202: JobSerializer})
    @action(detail=True, methods=["post"])
    def first_boot(self, request: Request, pk: str) -> Response:
        """Run the first boot again, at the VM's next start from off. Host keys are made anew,
        users, packages and scripts done again; a password that is not given is locked."""
        return self._first_boot(reset=False)

    def _first_boot(self, *, reset: bool) -> Response:
        vm = self.get_object()
        serializer = FirstBootSerializer(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        wishes = serializer.wishes(vm)
        return _accepted(telling.vm_first_boot(actor=self.actor, vm=vm, reset=reset, **wishes))

    @extend_schema(parameters=[UsageQuerySerializer], responses={200: UsageSerializer})
    @action(detail=True, filterset_class=None, pagination_class=None)
    def usage(self, request: Request, pk: str) -> Response:
        """How busy the VM was, in even steps: minutes for an hour, hours for 30 days."""
        samples = VmUsage.objects.allowed(request.user, self.permission)
        wanted = self.asked(UsageQuerySerializer)["range"]
        series = usage_series(samples.of([self.get_object().pk]), wanted)
        return Response(UsageSerializer(series).data)


def _accepted(job: Job) -> Response:
    data: dict[str, Any] = dict(JobSerializer(job).data)
    return Response(data, status=202)
