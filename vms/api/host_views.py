"""What is done to a host together with its VMs."""

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from hypervisors.api.serializers import HypervisorSerializer
from hypervisors.models import Hypervisor
from tenants.api.base import TenantViewSet
from tenants.models import Membership
from vms.services.forgetting import host_forget


class HostForgetViewSet(TenantViewSet[Hypervisor]):
    """Giving up a host that is gone for good."""

    queryset = Hypervisor.objects.select_related("tenant")
    serializer_class = HypervisorSerializer
    filterset_class = None
    permissions_by_action = {"create": "hypervisor.manage"}

    @extend_schema(request=None, responses={204: None})
    def create(self, request: Request, pk: str) -> Response:
        """Forget a host that is offline, together with its VMs. The machine is not asked:
        where it still runs, its guests go on, and its agent is refused."""
        host = self.get_object()
        user = self.actor.user
        held = Membership.objects.permissions_on(user, host) if user else frozenset()
        if "vm.delete" not in held:
            raise PermissionDenied("This loses VMs, and no role of yours has “vm.delete” here.")
        host_forget(actor=self.actor, hypervisor=host)
        return Response(status=204)
