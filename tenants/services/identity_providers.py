"""The directories with which people of a tenant sign in."""

import re
import uuid
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

import requests
from cryptography import x509
from django.conf import settings
from django.db import IntegrityError, transaction

from tenants.actor import Actor
from tenants.errors import InvalidInputError, NameTakenError, RuleError
from tenants.models import IdentityProvider, IdentityProviderDomain, Role, Tenant
from tenants.outgoing import PrivateAddressError, must_be_public, outgoing_session
from tenants.scope import system_scope
from tenants.sealing import seal
from tenants.services.audit import audit_record
from tenants.services.sign_in_policies import roles_for

_DOMAIN = re.compile(r"(?=.{4,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]+\Z")
_TIMEOUT_S = 10
_SHOWN = (
    "name",
    "enabled",
    "issuer",
    "client_id",
    "sso_url",
    "certificate",
    "makes_accounts",
    "asks_second_factor",
)
"""What the audit holds. Not the secret."""


class DomainTakenError(RuleError):
    """Somebody else's people have this domain."""

    code = "domain_taken"
    status = 409


class MspAloneError(RuleError):
    """Only the MSP may say whose a domain is."""

    code = "msp_alone"
    status = 403


@transaction.atomic
def identity_provider_create(
    *, actor: Actor, tenant: Tenant, kind: str, name: str, secret: str = "", **fields: Any
) -> IdentityProvider:
    """A provider of the tenant's people. It signs nobody in until it has a domain. Fields are
    those of the model. Raises InvalidInputError, NameTakenError."""
    provider = IdentityProvider(tenant=tenant, kind=kind, name=name.strip())
    _apply(provider, secret=secret, fields=fields)
    _save(provider)
    _record(actor, provider, "create", before={}, secret=bool(secret))
    return provider


@transaction.atomic
def identity_provider_change(
    *, actor: Actor, provider: IdentityProvider, secret: str = "", **fields: Any
) -> IdentityProvider:
    """What is left out stays; an empty `secret` keeps the one there is. Raises
    InvalidInputError, NameTakenError."""
    provider = (
        IdentityProvider.objects.select_for_update(of=("self",))
        .select_related("tenant")
        .get(pk=provider.pk)
    )
    before = _facts(provider)
    moved = fields.get("issuer", provider.issuer) != provider.issuer
    # Else whoever may change it could have the secret sent to a server of their own.
    if moved and provider.sealed_secret and not secret:
        raise InvalidInputError(
            "Give the client secret again when the issuer changes.", field="secret"
        )
    _apply(provider, secret=secret, fields=fields)
    _save(provider)
    _record(actor, provider, "change", before=before, secret=bool(secret))
    return provider


@transaction.atomic
def identity_provider_remove(*, actor: Actor, provider: IdentityProvider) -> None:
    """Nobody signs in with it any more; accounts stay. Its domains are free again."""
    facts, provider_id, tenant = _facts(provider), provider.id, provider.tenant
    provider.delete()
    audit_record(
        actor=actor,
        tenant=tenant,
        action="identity_provider.remove",
        object_kind="identity_provider",
        object_id=provider_id,
        object_name=facts["name"],
        before=facts,
    )


@transaction.atomic
def identity_provider_domains_set(
    *, actor: Actor, provider: IdentityProvider, domains: Collection[str]
) -> None:
    """Whose e-mail addresses belong to this provider. For the MSP alone: whoever held a domain
    that is not theirs could sign in as its people. Raises InvalidInputError, DomainTakenError,
    MspAloneError."""
    top = _top(provider.tenant)
    if actor.user is not None and not (
        Tenant.objects.allowed(actor.user, "policy.manage").filter(pk=top.pk).exists()
    ):
        raise MspAloneError(
            "Only your MSP may say which e-mail domains are yours. Ask it to add them."
        )
    wanted = {_domain(domain) for domain in domains}
    held = {row.domain for row in provider.domains.all()}
    with system_scope("a domain has one provider in the whole portal"):
        taken = IdentityProviderDomain.objects.filter(domain__in=wanted - held).first()
    if taken is not None:
        raise _taken(taken.domain)
    provider.domains.filter(domain__in=held - wanted).delete()
    try:
        with transaction.atomic():
            IdentityProviderDomain.objects.bulk_create(
                IdentityProviderDomain(tenant=provider.tenant, provider=provider, domain=domain)
                for domain in sorted(wanted - held)
            )
    except IntegrityError as error:
        raise _taken(", ".join(sorted(wanted - held))) from error
    if wanted != held:
        audit_record(
            actor=actor,
            tenant=provider.tenant,
            action="identity_provider.domains",
            object_kind="identity_provider",
            object_id=provider.id,
            object_name=provider.name,
            before={"domains": sorted(held)},
            after={"domains": sorted(wanted)},
        )


def provider_for_email(email: str) -> IdentityProvider | None:
    """The provider that the people of this address sign in with."""
    domain = email_domain(email)
    found = IdentityProviderDomain.objects.filter(domain=domain, provider__enabled=True)
    row = found.select_related("provider").first() if domain else None
    return row.provider if row else None


def email_domain(email: str) -> str:
    """In ASCII and lower case; empty where it is no address."""
    name, at, domain = email.strip().rpartition("@")
    try:
        return domain.encode("idna").decode("ascii").lower() if name and at else ""
    except UnicodeError:
        return ""


def _apply(provider: IdentityProvider, *, secret: str, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if name not in (*_SHOWN, "default_role"):
            raise TypeError(f"an identity provider has no {name} to set")
        setattr(provider, name, value.strip() if isinstance(value, str) else value)
    if secret:
        provider.sealed_secret = seal(secret)
    role: Role | None = provider.default_role
    if provider.makes_accounts and role is None:
        raise InvalidInputError("Choose the role that new people get.", field="default_role")
    if role is not None and role not in list(roles_for(provider.tenant)):
        raise InvalidInputError(
            "There is no such role, or it is not for here.", field="default_role"
        )
    if provider.kind == IdentityProvider.Kind.OIDC:
        _check_oidc(provider)
    else:
        _check_saml(provider)


def _check_oidc(provider: IdentityProvider) -> None:
    if not provider.client_id:
        raise InvalidInputError("Give the client id that the provider made.", field="client_id")
    provider.issuer = provider.issuer.removesuffix("/.well-known/openid-configuration").rstrip("/")
    oidc_discover(provider.issuer)


def oidc_discover(issuer: str) -> dict[str, Any]:
    """The provider's discovery document (OpenID Connect Discovery 1.0, section 4), of this very
    issuer. Raises InvalidInputError with a sentence."""
    _url_check(issuer, field="issuer")
    try:
        with provider_session() as session:
            answer = session.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            answer.raise_for_status()
            found = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise InvalidInputError(
            "The provider's discovery document could not be read. Open the issuer's address with "
            "/.well-known/openid-configuration at its end in a browser, and compare.",
            field="issuer",
        ) from error
    needed = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
    if not isinstance(found, dict) or not all(isinstance(found.get(key), str) for key in needed):
        raise InvalidInputError("This is no OpenID Connect provider.", field="issuer")
    if found["issuer"].rstrip("/") != issuer.rstrip("/"):
        raise InvalidInputError(
            f"The provider calls itself “{found['issuer'][:200]}”. Give that as the issuer.",
            field="issuer",
        )
    return found


def provider_session() -> requests.Session:
    """For all that the portal asks of identity providers."""
    return outgoing_session(
        timeout_s=_TIMEOUT_S, private=settings.BASALT_ALLOW_PRIVATE_PROVIDER_URLS
    )


def _check_saml(provider: IdentityProvider) -> None:
    if not provider.issuer:
        raise InvalidInputError("Give the provider's entity id.", field="issuer")
    _url_check(provider.sso_url, field="sso_url", resolve=False)
    try:
        x509.load_pem_x509_certificate(provider.certificate.encode())
    except ValueError as error:
        raise InvalidInputError(
            "This is no certificate in PEM form: it begins with -----BEGIN CERTIFICATE-----.",
            field="certificate",
        ) from error


def _url_check(url: str, *, field: str, resolve: bool = True) -> None:
    private = settings.BASALT_ALLOW_PRIVATE_PROVIDER_URLS
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInputError("This is not a URL.", field=field) from error
    if not host or parts.scheme not in ({"https", "http"} if private else {"https"}):
        raise InvalidInputError("The address must start with https://.", field=field)
    if parts.username is not None or not url.isprintable() or " " in url:
        raise InvalidInputError("The address has a user or a space in it.", field=field)
    if private or not resolve:
        return
    try:
        must_be_public(host, port or 443)
    except PrivateAddressError as error:
        raise InvalidInputError(
            f"“{host}” is at {error.address}, a private address. The operator of the portal may "
            "allow these (BASALT_ALLOW_PRIVATE_PROVIDER_URLS).",
            field=field,
            code="address_private",
        ) from error
    except (OSError, UnicodeError) as error:
        raise InvalidInputError(f"No address was found for “{host}”.", field=field) from error


def _domain(text: str) -> str:
    try:
        domain = text.strip().lower().removeprefix("@").encode("idna").decode("ascii")
    except UnicodeError:
        domain = ""
    if not _DOMAIN.match(domain):
        raise InvalidInputError(f"“{text[:100]}” is no domain.", field="domains")
    return domain


def _taken(domain: str) -> DomainTakenError:
    return DomainTakenError(f"{domain} belongs to another provider already.", field="domains")


def _top(tenant: Tenant) -> Tenant:
    with system_scope("only the MSP at the top may assign domains"):
        while tenant.parent_id is not None:
            tenant = Tenant.objects.get(pk=tenant.parent_id)
    return tenant


def _save(provider: IdentityProvider) -> None:
    try:
        with transaction.atomic():
            provider.save()
    except IntegrityError as error:
        raise NameTakenError(
            f"{provider.tenant.name} has a provider named “{provider.name}” already.", field="name"
        ) from error


def _facts(provider: IdentityProvider) -> dict[str, Any]:
    role: uuid.UUID | None = provider.default_role_id
    return {
        **{name: getattr(provider, name) for name in _SHOWN},
        "default_role": str(role) if role else None,
    }


def _record(
    actor: Actor, provider: IdentityProvider, verb: str, *, before: dict[str, Any], secret: bool
) -> None:
    after = _facts(provider)
    changed = [name for name in after if before.get(name) != after[name]]
    audit_record(
        actor=actor,
        tenant=provider.tenant,
        action=f"identity_provider.{verb}",
        object_kind="identity_provider",
        object_id=provider.id,
        object_name=provider.name,
        before={name: before[name] for name in changed if name in before},
        after={**{name: after[name] for name in changed}, **({"secret": "new"} if secret else {})},
    )
