"""The built-in roles, kept as rows so that memberships can point at them."""

from typing import Any

from tenants.models import Role
from tenants.permissions import BUILT_IN_ROLES


def built_in_roles_sync() -> None:
    """Make the rows of the built-in roles what `tenants.permissions` says they are."""
    for slug, (name, permissions) in BUILT_IN_ROLES.items():
        Role.objects.update_or_create(
            tenant=None, slug=slug, defaults={"name": name, "permissions": sorted(permissions)}
        )


def roles_after_migrate(**_signal: Any) -> None:
    """Runs after `manage.py migrate`: an upgrade may bring new permissions."""
    built_in_roles_sync()
