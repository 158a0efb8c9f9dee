"""Service accounts, made and given tokens as people do."""

from tenants.actor import Actor
from tenants.models import Role, ServiceAccount, Tenant, User
from tenants.scope import scope_of
from tenants.services.people import api_token_create
from tenants.services.service_accounts import service_account_create


def role(slug: str) -> Role:
    return Role.objects.get(tenant=None, slug=slug)


def make(by: User, tenant: Tenant, slug: str | None = "customer-operator", name: str = "Robot"):
    with scope_of(by):
        return service_account_create(
            actor=Actor(user=by), tenant=tenant, name=name, role=role(slug) if slug else None
        )


def secret_of(by: User, account: ServiceAccount, **scope) -> str:
    with scope_of(by):
        return api_token_create(actor=Actor(user=by), user=account.user, name="t", **scope)[1]
