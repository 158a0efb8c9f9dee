"""Hosts, networks and jobs over the API: fetch in scope, call one service, answer."""

from datetime import timedelta
from typing import Any, cast

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from hypervisors.api.serializers import (
    HypervisorChangeSerializer,
    HypervisorSerializer,
    JobDetailSerializer,
    JobSerializer,
    JoinTokenCreateSerializer,
    JoinTokenMadeSerializer,
    JoinTokenSerializer,
    NetworkChangeSerializer,
    NetworkCreateSerializer,
    NetworkSerializer,
    UsageQuerySerializer,
    UsageSerializer,
)
from hypervisors.models import HostUsage, Hypervisor, Job, JoinToken, Network, Status
from hypervisors.services.hypervisors import hypervisor_remove, hypervisor_rename
from hypervisors.services.join_tokens import join_command, join_token_create, join_token_revoke
from hypervisors.services.networks import (
    NetworkChanges,
    network_change,
    network_create,
    network_remove,
)
from hypervisors.services.usage import usage_series
from tenants.api.base import TenantViewSet
from tenants.models import Site


class HypervisorFilter(filters.FilterSet):  # type: ignore[misc]
    name = filters.CharFilter(lookup_expr="iexact")
    tenant = filters.UUIDFilter(field_name="tenant_id")
    site = filters.UUIDFilter(field_name="site_id")
    online = filters.BooleanFilter()


class HypervisorViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[Hypervisor]):
    """Hosts. They are not made here: a host joins with a token of its site."""

    queryset = Hypervisor.objects.select_related("tenant", "site")
    serializer_class = HypervisorSerializer
    filterset_class = HypervisorFilter
    permissions_by_action = {
        "list": "hypervisor.view",
        "retrieve": "hypervisor.view",
        "partial_update": "hypervisor.manage",
        "destroy": "hypervisor.manage",
        "usage": "hypervisor.view",
    }

    @extend_schema(request=HypervisorChangeSerializer, responses={200: HypervisorSerializer})
    def partial_update(self, request: Request, pk: str) -> Response:
        """Rename a host. The machine's own host name stays."""
        host = self.get_object()
        data = self.checked(HypervisorChangeSerializer)
        host = hypervisor_rename(actor=self.actor, hypervisor=host, **data)
        return Response(HypervisorSerializer(host).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Forget a host that has no VMs, with its networks and the record of its jobs."""
        hypervisor_remove(actor=self.actor, hypervisor=self.get_object())
        return Response(status=204)

    @extend_schema(parameters=[UsageQuerySerializer], responses={200: UsageSerializer})
    @action(detail=True, filterset_class=None, pagination_class=None)
    def usage(self, request: Request, pk: str) -> Response:
        """How busy the host was, in even steps: minutes for an hour, hours for 30 days."""
        samples = HostUsage.objects.allowed(request.user, self.permission)
        wanted = self.asked(UsageQuerySerializer)["range"]
        series = usage_series(samples.of([self.get_object().pk]), wanted)
        return Response(UsageSerializer(series).data)


class SiteJoinTokenViewSet(TenantViewSet[Site]):
    """Letting hosts join a site."""

    queryset = Site.objects.select_related("tenant")
    serializer_class = JoinTokenMadeSerializer
    filterset_class = None
    permissions_by_action = {"create": "hypervisor.manage"}

    @extend_schema(request=JoinTokenCreateSerializer, responses={201: JoinTokenMadeSerializer})
    def create(self, request: Request, pk: str) -> Response:
        """Make a join token. The answer shows it once."""
        site = self.get_object()
        data = self.checked(JoinTokenCreateSerializer)
        token, secret = join_token_create(
            actor=self.actor,
            site=site,
            max_uses=data["max_uses"],
            expires_in=timedelta(hours=data["expires_in_hours"]),
        )
        made = {
            "id": token.id,
            "token": secret,
            "command": join_command(secret),
            "max_uses": token.max_uses,
            "expires_at": token.expires_at,
        }
        return Response(JoinTokenMadeSerializer(made).data, status=201)


class JoinTokenFilter(filters.FilterSet):  # type: ignore[misc]
    tenant = filters.UUIDFilter(field_name="tenant_id")
    site = filters.UUIDFilter(field_name="site_id")


class JoinTokenViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[JoinToken]):
    """What lets hosts join. The secrets themselves are kept nowhere."""

    queryset = JoinToken.objects.select_related("tenant", "site")
    serializer_class = JoinTokenSerializer
    filterset_class = JoinTokenFilter
    permissions_by_action = {
        "list": "hypervisor.view",
        "retrieve": "hypervisor.view",
        "destroy": "hypervisor.manage",
    }

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Revoke a join token: no host joins with it any more. Those that did stay."""
        join_token_revoke(actor=self.actor, token=self.get_object())
        return Response(status=204)


class NetworkFilter(filters.FilterSet):  # type: ignore[misc]
    name = filters.CharFilter(lookup_expr="iexact")
    tenant = filters.UUIDFilter(field_name="tenant_id")
    site = filters.UUIDFilter(field_name="hypervisor__site_id")
    hypervisor = filters.UUIDFilter(field_name="hypervisor_id")
    kind = filters.ChoiceFilter(choices=Network.Kind)


class NetworkViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[Network]):
    """Networks of hosts, that VMs' NICs are on."""

    queryset = Network.objects.select_related("tenant", "hypervisor")
    serializer_class = NetworkSerializer
    filterset_class = NetworkFilter
    permissions_by_action = {
        "list": "network.view",
        "retrieve": "network.view",
        "create": "network.manage",
        "partial_update": "network.manage",
        "destroy": "network.manage",
    }

    @extend_schema(request=NetworkCreateSerializer, responses={201: NetworkSerializer})
    def create(self, request: Request) -> Response:
        """Add a network to a host."""
        network = network_create(actor=self.actor, **self.checked(NetworkCreateSerializer))
        return Response(NetworkSerializer(network).data, status=201)

    @extend_schema(request=NetworkChangeSerializer, responses={200: NetworkSerializer})
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what guests are told of a network: those that are there, too."""
        network = self.get_object()
        changes = cast(NetworkChanges, self.checked(NetworkChangeSerializer))
        network = network_change(actor=self.actor, network=network, changes=changes)
        return Response(NetworkSerializer(network).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Remove a network that no VM is on."""
        network_remove(actor=self.actor, network=self.get_object())
        return Response(status=204)


class JobFilter(filters.FilterSet):  # type: ignore[misc]
    tenant = filters.UUIDFilter(field_name="tenant_id")
    site = filters.UUIDFilter(field_name="hypervisor__site_id")
    hypervisor = filters.UUIDFilter(field_name="hypervisor_id")
    vm = filters.UUIDFilter(field_name="subject_id")
    name = filters.CharFilter(field_name="subject_name", lookup_expr="iexact")
    kind = filters.CharFilter()
    status = filters.MultipleChoiceFilter(choices=Status)


class JobViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[Job]):
    """What was asked of hosts, and what became of it."""

    queryset = Job.objects.select_related("tenant", "hypervisor")
    serializer_class = JobSerializer
    filterset_class = JobFilter
    permissions_by_action = {
        "list": "job.view",
        "retrieve": "job.view",
    }

    def get_queryset(self) -> QuerySet[Job]:
        jobs = super().get_queryset()
        return jobs.prefetch_related("events") if self.action == "retrieve" else jobs

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        return JobDetailSerializer if self.action == "retrieve" else JobSerializer
