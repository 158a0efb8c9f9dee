"""Every address of the portal."""

from allauth.socialaccount.providers.saml import views as saml_views
from allauth.socialaccount.views import login_cancelled
from django.urls import URLPattern, URLResolver, include, path

from portal import oidc, saml
from portal.company_sign_in import company_sign_in
from portal.views.health import health
from portal.views.well_known import security_txt

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz/", health, name="health"),
    path(".well-known/security.txt", security_txt, name="security-txt"),
    # Before allauth's own of the same names: our pages in their place.
    path("", include("portal.views.sign_in_urls")),
    path("account/", include("allauth.account.urls")),
    path("account/mfa/", include("allauth.mfa.urls")),
    path("account/saml/<str:organization_slug>/login/", saml_views.login, name="saml_login"),
    path("account/saml/<str:organization_slug>/acs/", saml_views.acs, name="saml_acs"),
    path("account/saml/<str:organization_slug>/acs/finish/", saml.finish, name="saml_finish_acs"),
    path("account/saml/<str:organization_slug>/sls/", saml.single_logout, name="saml_sls"),
    path(
        "account/saml/<str:organization_slug>/metadata/", saml_views.metadata, name="saml_metadata"
    ),
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
