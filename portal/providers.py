"""Signing in with the account of one's own company."""

from typing import Any

from allauth.socialaccount.adapter import DefaultSocialAccountAdapter


class ProviderAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    def is_open_for_signup(self, request: Any, sociallogin: Any) -> bool:  # noqa: ARG002
        return False
