"""Who is asking the API: a bearer token, or the signed-in browser."""

from datetime import timedelta
from typing import Any

from django.contrib.auth import logout
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from tenants.gate import gate_closed
from tenants.models import ApiToken, User
from tenants.models.api_token import token_hash
from tenants.services.sessions import session_used

_LAST_USE_GRAIN = timedelta(minutes=1)


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer bslt_…`."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        scheme, _, secret = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        now = timezone.now()
        token = (
            ApiToken.objects.good()
            .select_related("user", "made_with")
            .filter(hash=token_hash(secret.strip()))
            .first()
        )
        if token is None:
            raise AuthenticationFailed(
                "This token is unknown, expired or revoked. Make a new one on your account page."
            )
        address = request.META.get("REMOTE_ADDR") or None
        last = token.last_used_at
        if last is None or now - last > _LAST_USE_GRAIN or token.last_used_ip != address:
            used = ApiToken.objects.filter(pk=token.pk)
            used.update(last_used_at=now, last_used_ip=address)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        return "Bearer"


class BrowserAuthentication(SessionAuthentication):
    """The session of the pages, with CSRF checked, and with what the sign-in policy asks."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        # Whoever looks at the portal as somebody else signed in as themselves.
        viewer = getattr(request._request, "viewer", found[0])
        closed = gate_closed(viewer, request.session)
        if closed is not None and closed.ends_session:
            logout(request._request)
            raise AuthenticationFailed(closed.message)
        if closed is not None:
            raise PermissionDenied(closed.message)
        session_used(request._request)
        return found


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "tenants.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        return {"type": "http", "scheme": "bearer"}


class BrowserScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "tenants.api.authentication.BrowserAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}
