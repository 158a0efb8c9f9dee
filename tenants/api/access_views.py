"""Roles, memberships and access rules over the API."""

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.access_serializers import (
    AccessRuleCreateSerializer,
    AccessRuleSerializer,
    MembershipChangeSerializer,
    MembershipCreateSerializer,
    MembershipSerializer,
    RoleChangeSerializer,
    RoleCreateSerializer,
    RoleSerializer,
)
from tenants.api.base import TenantViewSet
from tenants.models import AccessRule, Membership, Role
from tenants.services.memberships import (
    access_deny,
    access_grant,
    access_rule_end,
    membership_add,
    membership_change,
    membership_end,
)
from tenants.services.roles import role_change, role_create, role_delete


class RoleFilter(filters.FilterSet):  # type: ignore[misc]
    name = filters.CharFilter(lookup_expr="iexact")
    tenant = filters.UUIDFilter(field_name="tenant_id")


class RoleViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[Role]):
    """Built-in roles, and those that tenants compose for themselves."""

    queryset = Role.objects.select_related("tenant")
    serializer_class = RoleSerializer
    filterset_class = RoleFilter
    permissions_by_action = {
        "list": "user.view",
        "retrieve": "user.view",
        "create": "role.manage",
        "partial_update": "role.manage",
        "destroy": "role.manage",
    }

    @extend_schema(request=RoleCreateSerializer, responses={201: RoleSerializer})
    def create(self, request: Request) -> Response:
        """Compose a role of permissions that you hold on the tenant yourself."""
        role = role_create(actor=self.actor, **self.checked(RoleCreateSerializer))
        return Response(RoleSerializer(role).data, status=201)

    @extend_schema(request=RoleChangeSerializer, responses={200: RoleSerializer})
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change a role. It holds at once for everybody who has it."""
        role = self.get_object()
        data = self.checked(RoleChangeSerializer)
        return Response(RoleSerializer(role_change(actor=self.actor, role=role, **data)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a role that nobody has."""
        role_delete(actor=self.actor, role=self.get_object())
        return Response(status=204)


class MembershipFilter(filters.FilterSet):  # type: ignore[misc]
    tenant = filters.UUIDFilter(field_name="tenant_id")
    user = filters.UUIDFilter(field_name="user_id")
    role = filters.UUIDFilter(field_name="role_id")


class MembershipViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[Membership]):
    """Who has which role on which tenant."""

    queryset = Membership.objects.select_related("tenant", "user", "role")
    serializer_class = MembershipSerializer
    filterset_class = MembershipFilter
    permissions_by_action = {
        "list": "user.view",
        "retrieve": "user.view",
        "create": "user.manage",
        "partial_update": "user.manage",
        "destroy": "user.manage",
    }

    @extend_schema(request=MembershipCreateSerializer, responses={201: MembershipSerializer})
    def create(self, request: Request) -> Response:
        """Give somebody a role on a tenant and all below it, for ever or for a while."""
        made = membership_add(actor=self.actor, **self.checked(MembershipCreateSerializer))
        return Response(MembershipSerializer(made).data, status=201)

    @extend_schema(request=MembershipChangeSerializer, responses={200: MembershipSerializer})
    def partial_update(self, request: Request, pk: str) -> Response:
        """Another role, or another end."""
        membership = self.get_object()
        data = self.checked(MembershipChangeSerializer)
        values = {"role": membership.role, "expires_at": membership.expires_at, **data}
        changed = membership_change(actor=self.actor, membership=membership, **values)
        return Response(MembershipSerializer(changed).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """End it."""
        membership_end(actor=self.actor, membership=self.get_object())
        return Response(status=204)


class AccessRuleFilter(filters.FilterSet):  # type: ignore[misc]
    tenant = filters.UUIDFilter(field_name="tenant_id")
    site = filters.UUIDFilter(field_name="site_id")
    vm = filters.UUIDFilter(field_name="vm_id")
    user = filters.UUIDFilter(field_name="user_id")
    effect = filters.ChoiceFilter(choices=AccessRule.Effect)


class AccessRuleViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[AccessRule]):
    """Exceptions: what is denied in spite of a membership, and sites and VMs given alone."""

    queryset = AccessRule.objects.select_related("tenant", "site", "vm", "user", "role")
    serializer_class = AccessRuleSerializer
    filterset_class = AccessRuleFilter
    permissions_by_action = {
        "list": "user.view",
        "retrieve": "user.view",
        "create": "user.manage",
        "destroy": "user.manage",
    }

    @extend_schema(request=AccessRuleCreateSerializer, responses={201: AccessRuleSerializer})
    def create(self, request: Request) -> Response:
        """Deny somebody a tenant, a site or a VM, or give them a role on one site or VM alone. A
        denial always wins."""
        data = self.checked(AccessRuleCreateSerializer)
        if data.pop("effect") == AccessRule.Effect.DENY:
            del data["role"]
            rule = access_deny(actor=self.actor, **data)
        else:
            rule = access_grant(actor=self.actor, **data)
        return Response(AccessRuleSerializer(rule).data, status=201)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Take a grant back, or lift a denial."""
        access_rule_end(actor=self.actor, rule=self.get_object())
        return Response(status=204)
