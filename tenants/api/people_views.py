"""People and invitations over the API."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api.base import TenantViewSet
from tenants.api.fields import InputSerializer, InScope, ReferenceSerializer
from tenants.errors import InvalidInputError
from tenants.models import Invitation, Membership, Role, Tenant, User
from tenants.services.invitation_mail import invitation_link, invitation_mail
from tenants.services.invitations import (
    invitation_create,
    invitation_renew,
    invitation_revoke,
    roles_for,
)
from tenants.services.leaving import person_leave
from tenants.services.people_read import people_for_list
from tenants.services.signing_out import person_sign_out


class RoleReferenceSerializer(ReferenceSerializer):
    """A role, by what programs and people call it."""

    slug = serializers.CharField()


class HeldMembershipSerializer(serializers.ModelSerializer[Membership]):
    tenant = ReferenceSerializer(read_only=True)
    role = RoleReferenceSerializer(read_only=True)
    ended = serializers.BooleanField(read_only=True)

    class Meta:
        model = Membership
        fields = ["id", "tenant", "role", "expires_at", "ended", "created_at"]
        read_only_fields = fields


class PersonDetailSerializer(serializers.ModelSerializer[User]):
    """Of the person's memberships, those within your reach."""

    state = serializers.SerializerMethodField()
    last_seen = serializers.DateTimeField(read_only=True, allow_null=True)
    memberships = HeldMembershipSerializer(source="seen_memberships", many=True, read_only=True)

    class Meta:
        model = User
        fields = ["id", "name", "email", "state", "last_seen", "memberships", "created_at"]
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField(choices=["active", "left"]))
    def get_state(self, person: Any) -> str:
        return "active" if person.is_here else "left"


class EndedSessionsSerializer(serializers.Serializer[Any]):
    sessions = serializers.IntegerField(help_text="How many ended.")


class PersonFilter(filters.FilterSet):  # type: ignore[misc]
    email = filters.CharFilter(lookup_expr="iexact")
    name = filters.CharFilter(lookup_expr="iexact")


class PersonViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[User]):
    """Whoever is, or was, a member of a tenant within your reach."""

    queryset = User.objects.all()
    serializer_class = PersonDetailSerializer
    filterset_class = PersonFilter
    permissions_by_action = {
        "list": "user.view",
        "retrieve": "user.view",
        "leave": "user.manage",
        "end_sessions": "user.manage",
    }

    def get_queryset(self) -> "QuerySet[User]":
        if getattr(self, "swagger_fake_view", False):
            return User.objects.none()
        assert isinstance(self.request.user, User)  # noqa: S101 - others are turned away before
        return people_for_list(self.request.user, self.permission)

    @extend_schema(request=None, responses={200: PersonDetailSerializer})
    @action(detail=True, methods=["post"])
    def leave(self, request: Request, pk: str) -> Response:
        """End all memberships of this person that you may end, at once, with what they have
        open there. Who has none left anywhere loses sessions and tokens, too."""
        person = self.get_object()
        person_leave(actor=self.actor, person=person)
        return Response(PersonDetailSerializer(self.get_queryset().get(pk=person.pk)).data)

    @extend_schema(request=None, responses={200: EndedSessionsSerializer})
    @action(detail=True, methods=["post"], url_path="end-sessions")
    def end_sessions(self, request: Request, pk: str) -> Response:
        """Sign this person out everywhere, with their open pages and consoles. Access and API
        tokens stay. For whoever manages people wherever this person has access."""
        ended = person_sign_out(actor=self.actor, person=self.get_object())
        return Response(EndedSessionsSerializer({"sessions": ended}).data)


class InvitationSerializer(serializers.ModelSerializer[Invitation]):
    tenant = ReferenceSerializer(read_only=True)
    role = RoleReferenceSerializer(read_only=True)
    state = serializers.ChoiceField(choices=Invitation.State.choices, read_only=True)

    class Meta:
        model = Invitation
        fields = [
            "id",
            "tenant",
            "email",
            "role",
            "membership_expires_at",
            "state",
            "mailed",
            "sent_at",
            "expires_at",
            "created_at",
        ]
        read_only_fields = fields


class SentInvitationSerializer(InvitationSerializer):
    """`link` is there where no message was sent: pass it on, it is shown this once."""

    link = serializers.CharField(read_only=True, allow_null=True)

    class Meta(InvitationSerializer.Meta):
        fields = [*InvitationSerializer.Meta.fields, "link"]
        read_only_fields = fields


class InvitationCreateSerializer(InputSerializer):
    tenant = InScope(Tenant.objects.all, thing="tenant", permission="user.manage")
    email = serializers.EmailField(max_length=254)
    role = serializers.CharField(max_length=63, help_text="Id or slug of the role.")
    days = serializers.IntegerField(
        min_value=1, max_value=30, default=7, help_text="How long the link is good."
    )
    membership_expires_at = serializers.DateTimeField(
        required=False, allow_null=True, default=None, help_text="Null: until somebody ends it."
    )


class InvitationFilter(filters.FilterSet):  # type: ignore[misc]
    tenant = filters.UUIDFilter(field_name="tenant_id")
    email = filters.CharFilter(lookup_expr="iexact")


class InvitationViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[Invitation]):
    """Who was invited to what. An invitation changes nothing until it is accepted."""

    queryset = Invitation.objects.select_related("tenant", "role")
    serializer_class = InvitationSerializer
    filterset_class = InvitationFilter
    permissions_by_action = {
        "list": "user.view",
        "retrieve": "user.view",
        "create": "user.manage",
        "renew": "user.manage",
        "destroy": "user.manage",
    }

    @extend_schema(request=InvitationCreateSerializer, responses={201: SentInvitationSerializer})
    def create(self, request: Request) -> Response:
        """Invite somebody by e-mail."""
        data = self.checked(InvitationCreateSerializer)
        user = self.request.user
        assert isinstance(user, User)  # noqa: S101 - others are turned away before
        invitation, secret = invitation_create(
            actor=self.actor,
            tenant=data["tenant"],
            role=role_named(user, data["tenant"], data["role"]),
            email=data["email"],
            life=timedelta(days=data["days"]),
            membership_expires_at=data["membership_expires_at"],
        )
        return self._sent(invitation, secret, status=201)

    @extend_schema(request=None, responses={200: SentInvitationSerializer})
    @action(detail=True, methods=["post"])
    def renew(self, request: Request, pk: str) -> Response:
        """Send it again, with a new link. The one before opens nothing any more."""
        invitation, secret = invitation_renew(actor=self.actor, invitation=self.get_object())
        return self._sent(invitation, secret, status=200)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Take it back."""
        invitation_revoke(actor=self.actor, invitation=self.get_object())
        return Response(status=204)

    def _sent(self, invitation: Invitation, secret: str, *, status: int) -> Response:
        mailed = invitation_mail(invitation=invitation, secret=secret)
        invitation.mailed = mailed
        link = None if mailed else invitation_link(secret)
        shown: dict[str, Any] = {**InvitationSerializer(invitation).data, "link": link}
        return Response(shown, status=status)


def role_named(user: User, tenant: Tenant, wanted: str) -> Role:
    """Raises InvalidInputError alike for no such role, and for one beyond the person's own."""
    roles = roles_for(user, tenant)
    try:
        found = roles.filter(pk=UUID(wanted)).first()
    except ValueError:
        # A tenant's own may have the slug of one above: the nearest counts.
        named = roles.filter(slug=wanted) if wanted.isprintable() else roles.none()
        near = sorted(named, key=lambda role: role.tenant_id != tenant.pk)
        found = near[0] if near else None
    if found is None:
        raise InvalidInputError(
            f"There is no such role, or it may do more on {tenant.name} than you.", field="role"
        )
    return found
