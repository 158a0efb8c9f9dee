"""The page that finds somebody's identity provider by their e-mail address."""

from allauth.core import ratelimit
from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods

from portal.adapters import AccountAdapter
from tenants.models import IdentityProvider
from tenants.services.identity_providers import provider_for_email


class CompanyForm(forms.Form):
    use_required_attribute = False

    email = forms.EmailField(
        label="E-mail",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": "autofocus"}),
    )


@require_http_methods(["GET", "POST"])
def company_sign_in(request: HttpRequest) -> HttpResponse:
    """A page with a link rather than a redirect: the policy for content lets no form lead away
    from the portal, and browsers count redirects after a form."""
    form = CompanyForm(request.POST or None)
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    following = wanted if AccountAdapter(request).is_safe_url(wanted) else ""
    context = {"form": form, "next": following}
    if request.method == "POST" and form.is_valid():
        refused = ratelimit.consume_or_429(request, action="login")
        if refused is not None:
            too_many: HttpResponse = refused
            return too_many
        provider = provider_for_email(form.cleaned_data["email"])
        if provider is not None:
            context |= {"provider": provider, "address": provider_address(provider, following)}
        else:
            form.add_error(
                "email",
                "No company account is set up for this address. Sign in with your password, or "
                "ask your administrator.",
            )
    status = 422 if form.errors else 200
    response = render(request, "account/company.html", context, status=status)
    add_never_cache_headers(response)
    return response


def provider_address(provider: IdentityProvider, following: str = "") -> str:
    """Where signing in with this provider begins."""
    if provider.kind == IdentityProvider.Kind.OIDC:
        address = reverse("openid_connect_login", kwargs={"provider_id": str(provider.id)})
    else:
        address = reverse("saml_login", kwargs={"organization_slug": str(provider.id)})
    return f"{address}?{urlencode({'next': following})}" if following else address


# Before anybody is known: see tenants.middleware.
company_sign_in.signs_in = True  # type: ignore[attr-defined]
