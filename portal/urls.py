"""Every address of the portal."""

from django.urls import URLPattern, URLResolver, include, path

from portal.views.health import health

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz/", health, name="health"),
    path("account/", include("allauth.account.urls")),
    path("api/v1/", include("portal.api.urls")),
    path("", include("hypervisors.urls")),
    path("", include("vms.urls")),
    path("", include("portal.views.urls")),
]
