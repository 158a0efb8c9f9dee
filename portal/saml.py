"""SAML's way back, where what was posted may be anything."""

import structlog
from allauth.socialaccount.providers.saml.views import FinishACSView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from lxml.etree import LxmlError
from onelogin.saml2.errors import OneLogin_Saml2_Error, OneLogin_Saml2_ValidationError

log = structlog.get_logger("portal.saml")


def finish(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """allauth's own, which lets the parser's errors through."""
    try:
        answer: HttpResponse = FinishACSView.as_view()(request, organization_slug=organization_slug)
    except (
        LxmlError,
        SyntaxError,
        ValueError,
        KeyError,
        OneLogin_Saml2_Error,
        OneLogin_Saml2_ValidationError,
    ) as error:
        log.warning("a SAML answer could not be read", error=repr(error)[:200])
        return render(request, "socialaccount/authentication_error.html", status=401)
    return answer


def single_logout(request: HttpRequest, organization_slug: str) -> HttpResponse:  # noqa: ARG001
    """The portal's own question. What the directory sends is not looked at: it would sign people
    out, and lead them on, by an address that anybody can write."""
    return redirect("account_logout")


# Before anybody is known: see tenants.middleware.
finish.signs_in = True  # type: ignore[attr-defined]
