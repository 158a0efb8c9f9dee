"""How one signs in: one's own page of it, and pages in place of allauth's."""

from django.urls import URLPattern, URLResolver, path

from portal.views import security, sign_in

_POLICY = "c/<slug:customer>/sign-in/"

urlpatterns: list[URLPattern | URLResolver] = [
    path("me/security/", security.SecurityView.as_view(), name="security"),
    path("me/presence/", security.PresenceView.as_view(), name="presence"),
    path("me/security/sessions/end/", security.SessionsEndView.as_view(), name="sessions-end"),
    path(
        "me/security/sessions/<int:session_id>/end/",
        security.SessionEndView.as_view(),
        name="session-end",
    ),
    path("sign-in-policy/", sign_in.SignInPoliciesView.as_view(), name="sign-in-policies"),
    path(_POLICY, sign_in.SignInPolicyView.as_view(), name="sign-in-policy"),
    path(
        f"{_POLICY}providers/new/<slug:kind>/",
        sign_in.ProviderCreateView.as_view(),
        name="identity-provider-new",
    ),
    path(
        f"{_POLICY}providers/<uuid:provider_id>/",
        sign_in.ProviderView.as_view(),
        name="identity-provider",
    ),
    path(
        f"{_POLICY}providers/<uuid:provider_id>/domains/",
        sign_in.ProviderDomainsView.as_view(),
        name="identity-provider-domains",
    ),
    path(
        f"{_POLICY}providers/<uuid:provider_id>/remove/",
        sign_in.ProviderRemoveView.as_view(),
        name="identity-provider-remove",
    ),
    # Nobody gives their account another address by themselves: what a company's account is linked
    # to is decided by it.
    path("account/email/", security.ToSecurityView.as_view(), name="account_email"),
    path("account/mfa/", security.ToSecurityView.as_view(), name="mfa_index"),
    path("account/mfa/webauthn/", security.ToSecurityView.as_view(), name="mfa_list_webauthn"),
]
