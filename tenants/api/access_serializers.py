"""Roles, memberships and access rules in the API."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from tenants.api.fields import InputSerializer, InScope, ReferenceSerializer
from tenants.models import AccessRule, Membership, Role, Site, Tenant, User
from tenants.permissions import PERMISSIONS
from tenants.services.reach import people_of

_PERMISSIONS = serializers.ChoiceField(choices=list(PERMISSIONS.items()))


class PermissionsField(serializers.ListField):
    child = _PERMISSIONS


class RoleSerializer(serializers.ModelSerializer[Role]):
    tenant = ReferenceSerializer(read_only=True, allow_null=True, help_text="Null: built in.")
    permissions = PermissionsField(read_only=True)

    class Meta:
        model = Role
        fields = ["id", "tenant", "slug", "name", "permissions", "created_at"]
        read_only_fields = fields


class RoleCreateSerializer(InputSerializer):
    tenant = InScope(Tenant.objects.all, thing="tenant", permission="role.manage")
    name = serializers.CharField(max_length=100)
    permissions = PermissionsField()


class RoleChangeSerializer(InputSerializer):
    """What is left out stays as it is."""

    name = serializers.CharField(max_length=100, required=False)
    permissions = PermissionsField(required=False)


class PersonSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    email = serializers.EmailField()
    name = serializers.CharField()


class MembershipSerializer(serializers.ModelSerializer[Membership]):
    tenant = ReferenceSerializer(read_only=True)
    user = PersonSerializer(read_only=True)
    role = ReferenceSerializer(read_only=True)

    class Meta:
        model = Membership
        fields = ["id", "tenant", "user", "role", "expires_at", "created_at"]
        read_only_fields = fields


class _People:
    """People as `InScope` asks for them."""

    def allowed(self, user: User, permission: str) -> Any:
        return people_of(user, permission)


class PersonInScope(InScope):
    """A person by their id, among those whom the caller may see."""

    def __init__(self, **options: Any) -> None:
        super().__init__(_People, thing="person", permission="user.manage", **options)  # type: ignore[arg-type]


def role_in_scope(**options: Any) -> InScope:
    return InScope(Role.objects.all, thing="role", permission="user.view", **options)


class MembershipCreateSerializer(InputSerializer):
    user = PersonInScope(help_text="Id of the person.")
    tenant = InScope(Tenant.objects.all, thing="tenant", permission="user.manage")
    role = role_in_scope()
    expires_at = serializers.DateTimeField(allow_null=True, default=None)


class MembershipChangeSerializer(InputSerializer):
    """What is left out stays as it is."""

    role = role_in_scope(required=False)
    expires_at = serializers.DateTimeField(allow_null=True, required=False)


class AccessRuleSerializer(serializers.ModelSerializer[AccessRule]):
    tenant = ReferenceSerializer(read_only=True)
    site = ReferenceSerializer(read_only=True, allow_null=True)
    vm = serializers.SerializerMethodField()
    user = PersonSerializer(read_only=True)
    role = ReferenceSerializer(read_only=True, allow_null=True)

    class Meta:
        model = AccessRule
        fields = [
            "id",
            "user",
            "effect",
            "tenant",
            "site",
            "vm",
            "role",
            "expires_at",
            "created_at",
        ]
        read_only_fields = fields

    @extend_schema_field(ReferenceSerializer(allow_null=True))
    def get_vm(self, rule: AccessRule) -> Any:
        return ReferenceSerializer(rule.vm).data if rule.vm else None


def _vms() -> Any:
    return AccessRule._meta.get_field("vm").related_model._default_manager.all()


class AccessRuleCreateSerializer(InputSerializer):
    """Exactly one of `tenant`, `site` and `vm`. `allow` needs a role and a site or VM: a role on a
    whole tenant is a membership."""

    user = PersonInScope(help_text="Id of the person.")
    effect = serializers.ChoiceField(choices=AccessRule.Effect.choices)
    tenant = InScope(Tenant.objects.all, thing="tenant", permission="user.manage", required=False)
    site = InScope(Site.objects.all, thing="site", permission="user.manage", required=False)
    vm = InScope(_vms, thing="VM", permission="user.manage", required=False)
    role = role_in_scope(required=False)
    expires_at = serializers.DateTimeField(allow_null=True, default=None)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        things = [data[name] for name in ("tenant", "site", "vm") if name in data]
        if len(things) != 1:
            raise serializers.ValidationError("Give exactly one of “tenant”, “site” and “vm”.")
        if data["effect"] == AccessRule.Effect.ALLOW:
            if "tenant" in data:
                raise serializers.ValidationError(
                    {"tenant": ["A role on a whole tenant is a membership: make one."]}
                )
            if "role" not in data:
                raise serializers.ValidationError({"role": ["Say which role is given."]})
        elif "role" in data:
            raise serializers.ValidationError(
                {"role": ["A denial takes everything: leave the role out."]}
            )
        return {
            "user": data["user"], "effect": data["effect"], "thing": things[0],
            "role": data.get("role"), "expires_at": data["expires_at"],
        }  # fmt: skip
