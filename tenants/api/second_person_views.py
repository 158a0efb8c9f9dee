"""Asking a second person over the API, and deciding as one."""

from uuid import UUID

from django.http import Http404
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.base import TenantViewSet
from tenants.api.second_person_serializers import (
    SecondPersonAskSerializer,
    SecondPersonDecisionSerializer,
    SecondPersonRuleSerializer,
    SecondPersonRuleSetSerializer,
    SecondPersonSerializer,
)
from tenants.models import SecondPersonRequest, SecondPersonRule, Tenant
from tenants.services.second_person import (
    rows_wanted,
    second_person_ask,
    second_person_carry_out,
    second_person_decide,
    second_person_withdraw,
)
from tenants.services.second_person_kinds import kind_named
from tenants.services.second_person_mail import (
    second_person_answer_mail,
    second_person_ask_mail,
)
from tenants.services.second_person_rules import second_person_rule_set


class SecondPersonFilter(filters.FilterSet):  # type: ignore[misc]
    tenant = filters.UUIDFilter(field_name="tenant_id")
    kind = filters.CharFilter()


class SecondPersonViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[SecondPersonRequest]):
    """What somebody wants to destroy, and a second person is to agree to."""

    queryset = SecondPersonRequest.objects.select_related("tenant")
    serializer_class = SecondPersonSerializer
    filterset_class = SecondPersonFilter
    permissions_by_action = {
        "list": "job.view",
        "retrieve": "job.view",
        "create": "agreement.manage",
        "decide": "agreement.manage",
        "withdraw": "agreement.manage",
    }

    @extend_schema(
        request=SecondPersonAskSerializer, responses={202: SecondPersonSerializer(many=True)}
    )
    def create(self, request: Request) -> Response:
        """Ask that a second person agrees. A request for each tenant that the rows are of."""
        data = self.checked(SecondPersonAskSerializer)
        kind = kind_named(data["kind"])
        ids: list[UUID] = data["rows"]
        rows = rows_wanted(kind, self.actor.user, ids) if kind else []
        if kind is None or len(rows) != len(set(ids)):
            raise Http404
        made = second_person_ask(
            actor=self.actor, kind=kind, rows=rows, reason=data["reason"], option=data["option"]
        )
        second_person_ask_mail(made)
        return Response(SecondPersonSerializer(made, many=True).data, status=202)

    @extend_schema(request=SecondPersonDecisionSerializer, responses={200: SecondPersonSerializer})
    @action(detail=True, methods=["post"])
    def decide(self, request: Request, pk: str) -> Response:
        """Agree, and it is done at once; or refuse."""
        wish = self.get_object()
        data = self.checked(SecondPersonDecisionSerializer)
        wish = second_person_decide(actor=self.actor, request=wish, **data)
        if data["agree"]:
            wish = second_person_carry_out(wish.pk)
        second_person_answer_mail(wish)
        return Response(SecondPersonSerializer(wish).data)

    @extend_schema(request=None, responses={204: None})
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """Take back what one asked for oneself."""
        second_person_withdraw(actor=self.actor, request=self.get_object())
        return Response(status=204)


class SecondPersonRuleViewSet(TenantViewSet[Tenant]):
    """When a tenant wants a second person."""

    queryset = Tenant.objects.all()
    serializer_class = SecondPersonRuleSerializer
    filterset_class = None
    permissions_by_action = {"retrieve": "job.view", "update": "consent.manage"}

    @extend_schema(responses={200: SecondPersonRuleSerializer})
    def retrieve(self, request: Request, pk: str) -> Response:
        """The tenant's own rule. Those of tenants above it hold besides."""
        return self._answer(self.get_object())

    @extend_schema(
        request=SecondPersonRuleSetSerializer, responses={200: SecondPersonRuleSerializer}
    )
    def update(self, request: Request, pk: str) -> Response:
        """Set it, or with null switch it off. Only people of the tenant itself may; and to ask
        for less than before, a second person must agree."""
        tenant = self.get_object()
        data = self.checked(SecondPersonRuleSetSerializer)
        second_person_rule_set(actor=self.actor, tenant=tenant, threshold=data["threshold"])
        return self._answer(tenant)

    @staticmethod
    def _answer(tenant: Tenant) -> Response:
        rule = SecondPersonRule.objects.filter(tenant=tenant).first()
        threshold = rule.threshold if rule else None
        return Response(SecondPersonRuleSerializer({"threshold": threshold}).data)
