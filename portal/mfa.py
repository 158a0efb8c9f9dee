"""The second factor, where allauth.mfa's defaults are not ours."""

from typing import Any

from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.base import forms
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn import forms as webauthn
from django.core.exceptions import ValidationError

from tenants.sealing import UnsealError, seal, unseal
from tenants.services.known_devices import device_of
from tenants.services.sign_in_limits import CodeLimit, TooManyTriesError


class MfaAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": (
            "This code is not right. Codes change every 30 seconds: take the one shown now, and "
            "see that the device's clock is right. A recovery code works once."
        ),
    }

    def encrypt(self, text: str) -> str:
        return seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        try:
            return unseal(encrypted_text)
        except UnsealError as error:
            raise ValidationError(
                "The portal's secret key was replaced, and this second factor with it. Ask an "
                "administrator to take it off your account."
            ) from error

    def generate_authenticator_name(self, user: Any, type: Authenticator.Type) -> str:  # noqa: A002
        held = Authenticator.objects.filter(user_id=user.pk, type=type).count()
        return "Passkey" if not held else f"Passkey {held + 1}"


class _Limited:
    """Tries at codes are limited as those at passwords: see sign_in_limits."""

    user: Any
    cleaned_data: dict[str, Any]

    def clean_code(self) -> str:
        request = context.request
        limit = CodeLimit(user=self.user, device=device_of(request, self.user))
        try:
            limit.attempt()
        except TooManyTriesError as refusal:
            raise ValidationError(refusal.message) from refusal
        code: str = super().clean_code()  # type: ignore[misc]
        limit.succeeded()
        return code


class AuthenticateForm(_Limited, forms.AuthenticateForm):  # type: ignore[misc]
    """At sign-in."""


class ReauthenticateForm(_Limited, forms.ReauthenticateForm):  # type: ignore[misc]
    """Before something that matters."""


_NONSENSE = (ValueError, TypeError, KeyError, AttributeError)
"""What the library raises for what no browser would send."""
_REFUSED = "This passkey was not accepted. Try again."


class _Typed:
    """A passkey's answer that can't be read is refused, rather than an error of the portal."""

    def clean_credential(self) -> Any:
        try:
            return super().clean_credential()  # type: ignore[misc]
        except _NONSENSE as error:
            raise ValidationError(_REFUSED) from error


class AddPasskeyForm(webauthn.AddWebAuthnForm):  # type: ignore[misc]
    def clean(self) -> dict[str, Any]:
        try:
            cleaned: dict[str, Any] = super().clean()
        except _NONSENSE as error:
            raise ValidationError(_REFUSED) from error
        return cleaned


class AuthenticatePasskeyForm(_Typed, webauthn.AuthenticateWebAuthnForm):  # type: ignore[misc]
    """As the second factor."""


class LoginPasskeyForm(_Typed, webauthn.LoginWebAuthnForm):  # type: ignore[misc]
    """Without a password."""


class ReauthenticatePasskeyForm(_Typed, webauthn.ReauthenticateWebAuthnForm):  # type: ignore[misc]
    """Before something that matters."""
