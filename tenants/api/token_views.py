"""Tokens of the API and service accounts, over the API."""

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.base import OWN, TenantViewSet
from tenants.api.fields import InputSerializer, InScope, ReferenceSerializer, rows_named
from tenants.api.people_views import HeldMembershipSerializer, role_named
from tenants.errors import InvalidInputError
from tenants.models import ApiToken, ServiceAccount, Tenant, User
from tenants.permissions import PERMISSIONS
from tenants.scope import current
from tenants.services.people import (
    MOST_TENANTS,
    READ_ONLY,
    api_token_create,
    api_token_revoke,
)
from tenants.services.service_accounts import (
    service_account_change,
    service_account_close,
    service_account_create,
    service_account_delete,
    service_account_open,
)
from tenants.services.tokens_read import service_accounts_for_list, tokens_reached

DEFAULT_LIFE = timedelta(days=90)


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    """`permissions` null: all that the owner may do. `tenants` null: wherever the owner gets."""

    owner = serializers.SerializerMethodField()
    expired = serializers.BooleanField(read_only=True)
    tenants = serializers.SerializerMethodField()

    class Meta:
        model = ApiToken
        fields = [
            "id",
            "name",
            "prefix",
            "owner",
            "permissions",
            "tenants",
            "made_by_name",
            "made_with",
            "created_at",
            "expires_at",
            "expired",
            "last_used_at",
            "last_used_ip",
        ]
        read_only_fields = fields

    @extend_schema_field(ReferenceSerializer)
    def get_owner(self, token: ApiToken) -> dict[str, str]:
        return {"id": str(token.user_id), "name": str(token.user)}

    @extend_schema_field(serializers.ListField(child=serializers.UUIDField(), allow_null=True))
    def get_tenants(self, token: ApiToken) -> list[str] | None:
        if token.tenants is None:
            return None
        # Those that whoever reads reaches: others are not theirs to know.
        return [str(tenant) for tenant in token.tenants if tenant in current().tenants]


class NewTokenSerializer(TokenSerializer):
    """`secret` is there this once: only a hash of it is kept."""

    secret = serializers.CharField(read_only=True)

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "secret"]
        read_only_fields = fields


class TokenCreateSerializer(InputSerializer):
    name = serializers.CharField(max_length=100, help_text="What it is for.")
    permissions = serializers.ListField(
        child=serializers.CharField(max_length=63),
        required=False,
        allow_null=True,
        default=None,
        max_length=len(PERMISSIONS),
        help_text="Null: all that the owner may do. ['read_only']: what only reads.",
    )
    tenants = serializers.ListField(
        child=serializers.CharField(max_length=100),
        required=False,
        allow_null=True,
        default=None,
        max_length=MOST_TENANTS,
        help_text="Ids or exact names; good for all below, too. Null: wherever the owner gets.",
    )
    expires_at = serializers.DateTimeField(
        required=False,
        allow_null=True,
        help_text="Left out: in 90 days, or with the token that asks. Null: when it is revoked.",
    )


class TokenFilter(filters.FilterSet):  # type: ignore[misc]
    name = filters.CharFilter(lookup_expr="iexact")
    prefix = filters.CharFilter()


class TokenViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[ApiToken]):
    """Your own tokens, and those of service accounts that you look after."""

    queryset = ApiToken.objects.all()
    serializer_class = TokenSerializer
    filterset_class = TokenFilter
    permissions_by_action = {"list": OWN, "retrieve": OWN, "create": OWN, "destroy": OWN}

    def get_queryset(self) -> "QuerySet[ApiToken]":
        if getattr(self, "swagger_fake_view", False):
            return ApiToken.objects.none()
        token = self.request.auth if isinstance(self.request.auth, ApiToken) else None
        return tokens_reached(_user(self.request), token)

    @extend_schema(request=TokenCreateSerializer, responses={201: NewTokenSerializer})
    def create(self, request: Request) -> Response:
        """Make one of your own. Made with a token, it is good for no more than that."""
        return _made(self, _user(request))

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Revoke it. It opens nothing from now on, nor does what was made with it."""
        api_token_revoke(actor=self.actor, token=self.get_object())
        return Response(status=204)


class ServiceAccountSerializer(serializers.ModelSerializer[ServiceAccount]):
    """`user` is the id to give roles to, by /memberships/ and /access-rules/."""

    tenant = ReferenceSerializer(read_only=True)
    user = serializers.UUIDField(source="user_id", read_only=True)
    active = serializers.BooleanField(source="user.is_active", read_only=True)
    memberships = HeldMembershipSerializer(
        source="user.seen_memberships", many=True, read_only=True
    )
    tokens = TokenSerializer(source="user.seen_tokens", many=True, read_only=True)

    class Meta:
        model = ServiceAccount
        fields = [
            "id",
            "tenant",
            "user",
            "name",
            "description",
            "active",
            "made_by_name",
            "memberships",
            "tokens",
            "created_at",
        ]
        read_only_fields = fields


class ServiceAccountCreateSerializer(InputSerializer):
    tenant = InScope(Tenant.objects.all, thing="tenant", permission="user.manage")
    name = serializers.CharField(max_length=100)
    description = serializers.CharField(
        max_length=300, required=False, default="", allow_blank=True
    )
    role = serializers.CharField(
        max_length=63,
        required=False,
        allow_null=True,
        default=None,
        help_text="Id or slug of a role that it gets on its tenant. Null: none yet.",
    )


class ServiceAccountChangeSerializer(InputSerializer):
    name = serializers.CharField(max_length=100, required=False)
    description = serializers.CharField(max_length=300, required=False, allow_blank=True)
    active = serializers.BooleanField(
        required=False, help_text="False: its tokens are revoked, at once."
    )


class ServiceAccountFilter(filters.FilterSet):  # type: ignore[misc]
    tenant = filters.UUIDFilter(field_name="tenant_id")
    name = filters.CharFilter(lookup_expr="iexact")


class ServiceAccountViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[ServiceAccount]):
    """What programs work as: accounts of a tenant that nobody signs in to."""

    queryset = ServiceAccount.objects.all()
    serializer_class = ServiceAccountSerializer
    filterset_class = ServiceAccountFilter
    permissions_by_action = {
        "list": "user.view",
        "retrieve": "user.view",
        "create": "user.manage",
        "partial_update": "user.manage",
        "destroy": "user.manage",
        "tokens": "user.manage",
    }

    def get_queryset(self) -> "QuerySet[ServiceAccount]":
        if getattr(self, "swagger_fake_view", False):
            return ServiceAccount.objects.none()
        return service_accounts_for_list(_user(self.request), self.permission)

    @extend_schema(
        request=ServiceAccountCreateSerializer, responses={201: ServiceAccountSerializer}
    )
    def create(self, request: Request) -> Response:
        """Make one, with a role that you hold yourself or none."""
        data = self.checked(ServiceAccountCreateSerializer)
        role = data["role"] and role_named(_user(request), data["tenant"], data["role"])
        account = service_account_create(actor=self.actor, **{**data, "role": role})
        return Response(self._shown(account), status=201)

    @extend_schema(
        request=ServiceAccountChangeSerializer, responses={200: ServiceAccountSerializer}
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        """Rename or describe it; or, alone, close it or open it again."""
        account = self.get_object()
        data = self.checked(ServiceAccountChangeSerializer)
        if "active" in data and len(data) > 1:
            raise InvalidInputError("Change its words and its state one by one.", field="active")
        if "active" in data:
            change = service_account_open if data["active"] else service_account_close
            change(actor=self.actor, account=account)
        elif data:
            words = {"name": account.name, "description": account.description, **data}
            service_account_change(actor=self.actor, account=account, **words)
        return Response(self._shown(account))

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete it with its roles and tokens, at once."""
        service_account_delete(actor=self.actor, account=self.get_object())
        return Response(status=204)

    @extend_schema(request=TokenCreateSerializer, responses={201: NewTokenSerializer})
    @action(detail=True, methods=["post"])
    def tokens(self, request: Request, pk: str) -> Response:
        """Make a token of it. You hold all that it does."""
        return _made(self, self.get_object().user)

    def _shown(self, account: ServiceAccount) -> Any:
        user = _user(self.request)
        return ServiceAccountSerializer(service_accounts_for_list(user).get(pk=account.pk)).data


def _made(view: TenantViewSet[Any], owner: User) -> Response:
    data = view.checked(TokenCreateSerializer)
    by = view.request.auth
    if "expires_at" not in data:
        # Made with a token: no longer than that one.
        ends = [timezone.now() + DEFAULT_LIFE]
        if isinstance(by, ApiToken) and by.expires_at is not None:
            ends.append(by.expires_at)
        data["expires_at"] = min(ends)
    if data["permissions"] == ["read_only"]:
        data["permissions"] = READ_ONLY
    data["tenants"] = data["tenants"] and _tenants(_user(view.request), data["tenants"])
    token, secret = api_token_create(actor=view.actor, user=owner, **data)
    token = ApiToken.objects.select_related("user").get(pk=token.pk)
    return Response({**TokenSerializer(token).data, "secret": secret}, status=201)


def _tenants(user: User, wanted: list[str]) -> list[Tenant]:
    """Raises InvalidInputError alike for no such tenant, and for one out of reach."""
    reached = Tenant.objects.allowed(user, "tenant.view")
    found: list[Tenant] = []
    for one in wanted:
        rows = rows_named(reached, one)
        if len(rows) != 1 or not isinstance(rows[0], Tenant):
            raise InvalidInputError(
                "There is no such tenant, or you may not see it.", field="tenants"
            )
        found.append(rows[0])
    return found


def _user(request: Request) -> User:
    assert isinstance(request.user, User)  # noqa: S101 - others are turned away before
    return request.user
