"""Every address of the portal."""

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("account/", include("allauth.account.urls")),
    path("api/v1/", include("portal.api.urls")),
    path("", include("hypervisors.urls")),
    path("", include("vms.urls")),
    path("", include("portal.views.urls")),
]
