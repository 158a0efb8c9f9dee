"""How one signs in: password, second factor, passkeys, and where one is signed in now."""

from typing import Any, ClassVar

from allauth.mfa.models import Authenticator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect

from portal.views.base import SIGNED_IN, PageView
from tenants.gate import PROVIDER_ASKED
from tenants.services.known_devices import user_agent_family
from tenants.services.sessions import session_end, sessions_end, sessions_of
from tenants.services.sign_in_rules import second_factor_sentence, sign_in_rules


class SecurityPage(PageView):
    permission = SIGNED_IN
    # Whoever must set up a second factor first, does so from here.
    before_gate: ClassVar[bool] = True


class SecurityView(SecurityPage):
    permission = SIGNED_IN
    template_name = "pages/security.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        held = list(Authenticator.objects.filter(user=self.user).order_by("created_at"))
        app = next((one for one in held if one.type == Authenticator.Type.TOTP), None)
        passkeys = [one for one in held if one.type == Authenticator.Type.WEBAUTHN]
        codes = next((one for one in held if one.type == Authenticator.Type.RECOVERY_CODES), None)
        protected = app is not None or bool(passkeys)
        needed = None if protected else self._needed()
        return self.page(
            {
                # Its socket opens for those who may work.
                "no_live": needed is not None,
                "app": app,
                "passkeys": [{"row": one, "name": one.wrap().name} for one in passkeys],
                "codes_left": len(codes.wrap().get_unused_codes()) if codes else None,
                "protected": protected,
                "needed": needed,
                "sessions": self._sessions(),
            }
        )

    def _needed(self) -> str | None:
        """Why a second factor must be set up now, where a policy says so."""
        rules = sign_in_rules(self.user)
        if not rules.second_factor or self.request.session.get(PROVIDER_ASKED):
            return None
        return second_factor_sentence(rules)

    def _sessions(self) -> list[dict[str, Any]]:
        own = self.request.session.session_key
        return [
            {
                "row": session,
                "device": user_agent_family(session.user_agent),
                "this": session.session_key == own,
            }
            for session in sessions_of(self.user)
        ]


class PresenceView(SecurityPage):
    """A page tells that somebody is at it, who asks for nothing else: they type, or work in a
    console. Like any request, it counts as use of the session."""

    permission = SIGNED_IN

    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(status=204)


class SessionEndView(SecurityPage):
    permission = SIGNED_IN

    def post(self, request: HttpRequest, session_id: int) -> HttpResponse:
        def end() -> str:
            if not session_end(user=self.user, session_id=session_id):
                raise Http404
            return "This session is ended. Its pages and consoles are closed."

        self.attempt(end)
        return redirect("security")


class SessionsEndView(SecurityPage):
    """Signs out everywhere but here."""

    permission = SIGNED_IN

    def post(self, request: HttpRequest) -> HttpResponse:
        def end() -> str:
            ended = sessions_end(user=self.user, but=request.session.session_key)
            return f"You are signed out everywhere but here ({ended} ended)."

        self.attempt(end)
        return redirect("security")


class ToSecurityView(SecurityPage):
    """In place of allauth's pages of the same kind."""

    permission = SIGNED_IN

    def get(self, request: HttpRequest) -> HttpResponse:
        return redirect("security")
