"""Where allauth's defaults are not ours."""

import time
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.core.internal.ratelimit import truncate_ip
from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError

from tenants.gate import SIGNED_IN_AT
from tenants.models.service_account import DOMAIN
from tenants.services.known_devices import device_of_login
from tenants.services.sign_in_limits import PasswordLimit, TooManyTriesError

NO_ADDRESS = "0.0.0.0"  # noqa: S104 - nothing listens there; a socket has no address


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Nobody signs up by themselves: people are invited. Guessing is limited, and no account
    is ever locked."""

    def is_open_for_signup(self, request: Any) -> bool:  # noqa: ARG002
        return False

    def get_client_ip(self, request: Any) -> str:
        return request.META.get("REMOTE_ADDR") or NO_ADDRESS

    def pre_authenticate(self, request: Any, **credentials: Any) -> None:
        login = str(credentials.get("email") or "").strip().lower()
        self._limit = PasswordLimit(
            login=login,
            # Whoever has one IPv6 address has the network of 2^64 around it.
            address=truncate_ip(self.get_client_ip(request)),
            device=device_of_login(request, login),
        )
        try:
            self._limit.attempt()
        except TooManyTriesError as refusal:
            raise ValidationError(refusal.message, code=refusal.code) from refusal

    def authenticate(self, request: Any, **credentials: Any) -> Any:
        user = super().authenticate(request, **credentials)
        if user is not None:
            self._limit.succeeded()
        return user

    def _rollback_login_failed_rl_usage(self) -> None:
        """allauth's own counts are off."""

    def is_safe_url(self, url: str) -> bool:
        """Addresses of the portal itself, as a path: never another scheme, host or port."""
        # Browsers read a backslash as a slash, and drop what is not printable.
        if not url or not url.startswith("/") or not url.isprintable() or "\\" in url:
            return False
        return not url.startswith("//")

    def pre_login(self, request: Any, user: Any, **options: Any) -> Any:
        """Whatever brought it here: a service account gets no session."""
        if user.is_service:
            raise PermissionDenied
        return super().pre_login(request, user, **options)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        if not email.lower().endswith(f"@{DOMAIN}"):
            super().send_mail(template_prefix, email, context)

    def set_password(self, user: Any, password: str) -> None:
        if user.is_service:
            raise PermissionDenied
        super().set_password(user, password)

    def reauthenticate(self, user: Any, password: str) -> bool:
        found = self.authenticate(context.request, email=user.email, password=password)
        return found is not None and found.pk == user.pk

    def is_reauthentication_required(self, *, app: str, **options: Any) -> bool:
        """Not of who signed in a moment ago: they have just shown who they are."""
        began = context.request.session.get(SIGNED_IN_AT, 0.0)
        if time.time() - began < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT:
            return False
        needed: bool = super().is_reauthentication_required(app=app, **options)
        return needed

    def send_notification_mail(
        self, template_prefix: str, user: Any, context: Any = None, email: str | None = None
    ) -> None:
        """What changed about how one signs in."""
        super().send_notification_mail(template_prefix, user, context, email or user.email)
