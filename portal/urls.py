"""Every address of the portal."""

from django.urls import URLPattern, URLResolver, include, path

from portal.views.health import health

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz/", health, name="health"),
    # Before allauth's own of the same names: our pages in their place.
    path("", include("portal.views.sign_in_urls")),
    path("account/", include("allauth.account.urls")),
    path("account/mfa/", include("allauth.mfa.urls")),
    path("account/", include("allauth.socialaccount.providers.openid_connect.urls")),
    path("account/", include("allauth.socialaccount.providers.saml.urls")),
    path("api/v1/", include("portal.api.urls")),
    path("", include("hypervisors.urls")),
    path("", include("vms.urls")),
    path("", include("portal.views.urls")),
]
