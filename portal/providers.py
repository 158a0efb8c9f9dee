"""Signing in with the account of one's own company: which account here it is."""

from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount, SocialApp
from django.contrib import messages
from django.db import transaction
from django.shortcuts import redirect

from portal.oidc import OidcProvider
from tenants.actor import Actor
from tenants.models import IdentityProvider, Membership, User
from tenants.models.service_account import DOMAIN
from tenants.scope import sign_in_scope, system_scope
from tenants.sealing import unseal
from tenants.services.audit import audit_record
from tenants.services.identity_providers import email_domain, provider_session


class ProviderAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Identity providers are rows of tenants. An account is linked where the provider vouches
    for an address, and the MSP gave the address' domain to that provider; by nothing less."""

    def list_apps(
        self,
        request: Any,  # noqa: ARG002
        provider: str | None = None,
        client_id: str | None = None,
    ) -> list[SocialApp]:
        with sign_in_scope():
            rows = IdentityProvider.objects.filter(enabled=True)
            apps = [_app(row) for row in rows]
        return [
            app
            for app in apps
            if provider in (None, app.provider, app.provider_id)
            and client_id in (None, app.client_id)
        ]

    def get_provider(self, request: Any, provider: str, client_id: str | None = None) -> Any:
        app = self.get_app(request, provider=provider, client_id=client_id)
        if app.provider == OidcProvider.id:
            return OidcProvider(request, app=app)
        return app.get_provider(request)

    def get_requests_session(self) -> Any:
        return provider_session()

    def is_open_for_signup(self, request: Any, sociallogin: Any) -> bool:  # noqa: ARG002
        """Accounts are made below, or not at all."""
        return False

    def pre_social_login(self, request: Any, sociallogin: Any) -> None:
        if sociallogin.state.get("process") != "login":
            raise _refused(request, "Sign out first, then sign in with your company's account.")
        with sign_in_scope():
            provider = IdentityProvider.objects.filter(
                pk=sociallogin.account.provider, enabled=True
            ).first()
            if provider is None:
                raise _refused(request, "This way to sign in is closed.")
            domains = set(provider.domains.values_list("domain", flat=True))
        if sociallogin.is_existing:
            user: User = sociallogin.user
            # The domain may have gone to somebody else since.
            if email_domain(user.email) not in domains:
                raise _refused(request, _NOT_YOURS.format(email=user.email, name=provider.name))
            return
        email = _vouched_for(sociallogin, provider)
        if email is None:
            raise _refused(
                request,
                f"{provider.name} did not say that your e-mail address is verified. Ask the "
                "administrator of your directory to have it confirmed there.",
            )
        if email_domain(email) not in domains:
            raise _refused(request, _NOT_YOURS.format(email=email, name=provider.name))
        with transaction.atomic():
            found = _account_for(email, provider, request, sociallogin)
            if found is None:
                raise _refused(
                    request,
                    f"{email} has no account here yet. Ask your administrator to invite you.",
                )
            with sign_in_scope():
                sociallogin.account.user = found
                sociallogin.user = found
                sociallogin.account.save()


_NOT_YOURS = (
    "The address {email} does not belong to {name} here. Ask your MSP to give its domain to this "
    "provider."
)


def _vouched_for(sociallogin: Any, provider: IdentityProvider) -> str | None:
    """The address that the provider says is this person's and verified. SAML has no word for
    verified: what a tenant's directory signs about addresses of its own domain is."""
    for address in sociallogin.email_addresses:
        verified = address.verified is True or provider.kind == IdentityProvider.Kind.SAML
        if address.email and verified:
            return str(address.email).strip().lower()
    return None


def _account_for(
    email: str, provider: IdentityProvider, request: Any, sociallogin: Any
) -> User | None:
    with sign_in_scope():
        found = User.objects.filter(email__iexact=email).first()
        if email_domain(email) == DOMAIN:
            raise _refused(request, "A service account works by its tokens, and signs in nowhere.")
        if found is not None:
            # One link with each provider: another subject with the same address is another
            # person, who got the address of one who left.
            if SocialAccount.objects.filter(user=found, provider=str(provider.id)).exists():
                raise _refused(
                    request,
                    f"{email} is linked to another account of {provider.name}. Ask your "
                    "administrator to look into it.",
                )
            return found
    if not provider.makes_accounts or provider.default_role is None:
        return None
    with system_scope("who signs in for the first time has no scope yet"):
        name = str(sociallogin.account.extra_data.get("userinfo", {}).get("name", ""))[:100]
        made = User.objects.create_user(email=email, name=name)
        Membership.objects.create(user=made, tenant=provider.tenant, role=provider.default_role)
        audit_record(
            actor=Actor(user=made, ip=request.META.get("REMOTE_ADDR")),
            tenant=provider.tenant,
            action="user.first_sign_in",
            object_kind="user",
            object_id=made.id,
            object_name=made.email,
            after={"provider": provider.name, "role": provider.default_role.slug},
        )
    return made


def _app(row: IdentityProvider) -> SocialApp:
    """As allauth knows it; never saved."""
    if row.kind == IdentityProvider.Kind.OIDC:
        return SocialApp(
            provider="openid_connect",
            provider_id=str(row.id),
            name=row.name,
            client_id=row.client_id,
            secret=unseal(row.sealed_secret) if row.sealed_secret else "",
            settings={"server_url": row.issuer, "oauth_pkce_enabled": True},
        )
    return SocialApp(
        provider="saml",
        provider_id=str(row.id),
        name=row.name,
        client_id=str(row.id),
        settings={
            "idp": {
                "entity_id": row.issuer,
                "sso_url": row.sso_url,
                "x509cert": row.certificate,
            },
            "advanced": {
                "want_assertion_signed": True,
                "reject_idp_initiated_sso": True,
                "strict": True,
                "want_attribute_statement": False,
            },
        },
    )


def _refused(request: Any, message: str) -> ImmediateHttpResponse:
    messages.error(request, message)
    return ImmediateHttpResponse(redirect("account_login"))
