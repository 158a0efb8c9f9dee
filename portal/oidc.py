"""OpenID Connect, stricter than allauth by itself: the issuer is the one that was set up, the ID
token's signature is checked, and it carries our nonce."""

import hashlib
import hmac
from typing import Any

import jwt
import structlog
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.crypto import constant_time_compare

from tenants.errors import InvalidInputError
from tenants.services.identity_providers import oidc_discover, provider_session

_CLOCK_S = 60
"""So far may the provider's clock be off."""
log = structlog.get_logger("portal.oidc")

ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"})


class OidcAdapter(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    @property
    def openid_config(self) -> dict[str, Any]:
        if not hasattr(self, "_openid_config"):
            issuer = self.get_provider().app.settings["server_url"]
            try:
                self._openid_config = oidc_discover(issuer)
            except InvalidInputError as error:
                raise OAuth2Error(error.message) from error
        return self._openid_config

    def complete_login(self, request: HttpRequest, app: Any, token: Any, **answer: Any) -> Any:
        id_token = answer["response"].get("id_token")
        if not id_token:
            raise OAuth2Error("the provider gave no ID token")
        claims = self._decode_id_token(app, id_token)
        sent = nonce_for(request.GET.get("state", ""))
        if not constant_time_compare(str(claims.get("nonce", "")), sent):
            raise OAuth2Error("the ID token was made for another sign-in")
        data = {"id_token": claims}
        if "userinfo_endpoint" in self.openid_config:
            told = self._fetch_user_info(token.token)
            # OpenID Connect Core 1.0, section 5.3.2: else it may be somebody else's.
            if told.get("sub") != claims.get("sub"):
                raise OAuth2Error("the provider told of another person than it signed")
            data["userinfo"] = told
        return self.get_provider().sociallogin_from_response(request, data)

    def _decode_id_token(self, app: Any, id_token: str) -> dict[str, Any]:
        """OpenID Connect Core 1.0, section 3.1.3.7."""
        try:
            header = jwt.get_unverified_header(id_token)
            # Never "none", and never one that is keyed with what is public.
            if header.get("alg") not in ALGORITHMS:
                raise OAuth2Error("the ID token is signed in a way that is not accepted")
            claims: dict[str, Any] = jwt.decode(
                id_token,
                key=self._key(header.get("kid")).key,
                algorithms=[header["alg"]],
                issuer=self.openid_config["issuer"],
                audience=app.client_id,
                leeway=_CLOCK_S,
                options={"require": ["iss", "sub", "aud", "exp", "iat"]},
            )
        except jwt.PyJWTError as error:
            raise OAuth2Error(f"the ID token is not accepted: {error}") from error
        # Meant for several: it must say that it was given to us.
        if isinstance(claims["aud"], list) and claims.get("azp", app.client_id) != app.client_id:
            raise OAuth2Error("the ID token was given to another client")
        return claims

    def _key(self, kid: str | None) -> jwt.PyJWK:
        """Of the provider's keys for signatures the one named, or the only one."""
        with provider_session() as session:
            answer = session.get(self.openid_config["jwks_uri"])
            answer.raise_for_status()
        keys = jwt.PyJWKSet.from_dict(answer.json()).keys
        fitting = [
            key for key in keys if key.public_key_use in (None, "sig") and kid in (None, key.key_id)
        ]
        if len(fitting) != 1:
            raise OAuth2Error("the ID token is signed with a key that the provider does not have")
        return fitting[0]


class OidcProvider(OpenIDConnectProvider):  # type: ignore[misc]
    oauth2_adapter_class = OidcAdapter

    def stash_redirect_state(self, request: HttpRequest, *arguments: Any, **options: Any) -> str:
        state: str = super().stash_redirect_state(request, *arguments, **options)
        self._auth_params["nonce"] = nonce_for(state)
        return state

    def redirect(self, request: HttpRequest, process: str, *arguments: Any, **options: Any) -> Any:
        # Filled in once the state is known, before the address is made of it. What else the
        # request asks to be passed on is not.
        self._auth_params: dict[str, str] = {}
        options["auth_params"] = self._auth_params
        options.pop("scope", None)
        return super().redirect(request, process, *arguments, **options)


def nonce_for(state: str) -> str:
    """The nonce that goes with a state. The state is kept in the session of the browser, which
    binds the ID token to it; made from it, so that there is no second thing to keep."""
    return hmac.new(
        settings.SECRET_KEY.encode(), b"basalt oidc nonce:" + state.encode(), hashlib.sha256
    ).hexdigest()


def login(request: HttpRequest, provider_id: str) -> HttpResponse:
    """To the provider."""
    return _view(OAuth2LoginView, request, provider_id)


def callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    """And back."""
    return _view(OAuth2CallbackView, request, provider_id)


def _view(view_class: Any, request: HttpRequest, provider_id: str) -> HttpResponse:
    try:
        answer: HttpResponse = view_class.adapter_view(OidcAdapter(request, provider_id))(request)
    except (OAuth2Error, KeyError, TypeError, ValueError) as error:
        # What a provider answers is its own affair, and may be anything.
        log.warning("an identity provider is not believed", error=repr(error)[:200])
        return render(request, "socialaccount/authentication_error.html", status=401)
    except SocialApp.DoesNotExist as error:
        raise Http404 from error
    return answer


for _each in (login, callback):
    # Before anybody is known: see tenants.middleware.
    _each.signs_in = True  # type: ignore[attr-defined]
