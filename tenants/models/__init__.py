"""People, tenants, and who may do what."""

from tenants.models.access_rule import AccessRule
from tenants.models.api_token import ApiToken
from tenants.models.audit import (
    PORTAL_CHAIN,
    AuditCheckpoint,
    AuditEvent,
    AuditLink,
    AuditVerification,
    DeletedTenant,
)
from tenants.models.idempotency import IdempotentAnswer
from tenants.models.invitation import Invitation
from tenants.models.membership import Membership, Role
from tenants.models.owned import TenantOwnedModel, TenantQuerySet
from tenants.models.saved_view import SavedView
from tenants.models.second_person import SecondPersonRequest, SecondPersonRule
from tenants.models.service_account import ServiceAccount
from tenants.models.sign_in import (
    IdentityProvider,
    IdentityProviderDomain,
    KnownDevice,
    MfaFor,
    SignInMethod,
    SignInPolicy,
)
from tenants.models.site import Site
from tenants.models.tenant import Tenant
from tenants.models.tenant_set import TenantSet
from tenants.models.user import User

__all__ = [
    "PORTAL_CHAIN",
    "AccessRule",
    "ApiToken",
    "AuditCheckpoint",
    "AuditEvent",
    "AuditLink",
    "AuditVerification",
    "DeletedTenant",
    "IdempotentAnswer",
    "IdentityProvider",
    "IdentityProviderDomain",
    "Invitation",
    "KnownDevice",
    "Membership",
    "MfaFor",
    "Role",
    "SavedView",
    "SecondPersonRequest",
    "SecondPersonRule",
    "ServiceAccount",
    "SignInMethod",
    "SignInPolicy",
    "Site",
    "Tenant",
    "TenantOwnedModel",
    "TenantQuerySet",
    "TenantSet",
    "User",
]
