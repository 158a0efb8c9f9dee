"""How one signs in: one's own page of it, and pages in place of allauth's."""

from django.urls import URLPattern, URLResolver, path

from portal.views import security

urlpatterns: list[URLPattern | URLResolver] = [
    path("me/security/", security.SecurityView.as_view(), name="security"),
    path("me/security/sessions/end/", security.SessionsEndView.as_view(), name="sessions-end"),
    path(
        "me/security/sessions/<int:session_id>/end/",
        security.SessionEndView.as_view(),
        name="session-end",
    ),
    path("account/mfa/", security.ToSecurityView.as_view(), name="mfa_index"),
    path("account/mfa/webauthn/", security.ToSecurityView.as_view(), name="mfa_list_webauthn"),
]
