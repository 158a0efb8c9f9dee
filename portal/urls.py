"""Every address of the portal."""

from allauth.socialaccount.views import login_cancelled
from django.urls import URLPattern, URLResolver, include, path

from portal import oidc
from portal.company_sign_in import company_sign_in
from portal.views.health import health

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz/", health, name="health"),
    # Before allauth's own of the same names: our pages in their place.
    path("", include("portal.views.sign_in_urls")),
    path("account/", include("allauth.account.urls")),
    path("account/mfa/", include("allauth.mfa.urls")),
    path("account/", include("allauth.socialaccount.providers.saml.urls")),
    path("account/oidc/<str:provider_id>/login/", oidc.login, name="openid_connect_login"),
    path(
        "account/oidc/<str:provider_id>/login/callback/",
        oidc.callback,
        name="openid_connect_callback",
    ),
    path("account/company/", company_sign_in, name="company-sign-in"),
    path("account/company/cancelled/", login_cancelled, name="socialaccount_login_cancelled"),
    path("api/v1/", include("portal.api.urls")),
    path("", include("hypervisors.urls")),
    path("", include("vms.urls")),
    path("", include("portal.views.urls")),
]
