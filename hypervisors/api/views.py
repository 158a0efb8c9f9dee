"""Hosts, networks and jobs over the API: fetch in scope, call one service, answer."""

from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.serializers import BaseSerializer

from hypervisors.api.serializers import (
    HypervisorSerializer,
    JobDetailSerializer,
    JobSerializer,
    NetworkSerializer,
)
from hypervisors.models import Hypervisor, Job, Network, Status
from tenants.api.base import TenantViewSet


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
    }


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
    }


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
