"""What browsers are told with every answer, and that no page asks for more than it may."""

import re

import pytest
from django.test import Client
from django.urls import path

from portal.urls import urlpatterns as real_patterns
from tests.factories import MembershipFactory
from tests.policy.matrix import Asker, Call, address, templates
from tests.policy.worlds import scene_make

pytestmark = pytest.mark.django_db
SIGN_IN = [
    "/account/login/",
    "/account/logout/",
    "/account/company/",
    "/account/password/reset/",
    "/account/password/reset/done/",
    "/account/password/change/",
    "/account/reauthenticate/",
    "/account/mfa/",
    "/account/mfa/totp/activate/",
    "/account/mfa/webauthn/",
    "/account/mfa/webauthn/add/",
    "/account/mfa/recovery-codes/",
    "/account/mfa/recovery-codes/generate/",
    "/me/security/",
    "/api/v1/docs/",
    "/api/v1/docs/?script=",
    "/api/v1/schema/",
    "/healthz/",
    "/install",
    "/never/was/",
    "/api/v1/never/was/",
    "/static/never-was.js",
]
BAD_MARKUP = (
    re.compile(r"<script(?![^>]*\bsrc=)[^>]*>", re.IGNORECASE),
    re.compile(r"<style(?![^>]*\bnonce=\"[^\"]{16,}\")[^>]*>", re.IGNORECASE),
    re.compile(r"<[a-z][^>]*\son[a-z]+\s*=", re.IGNORECASE),
    re.compile(r"(?:href|action|formaction)\s*=\s*[\"']?\s*(?:javascript|data):", re.IGNORECASE),
    re.compile(r"(?:src|href)=[\"'](?:https?:)?//[^\"']+\.(?:js|css)", re.IGNORECASE),
    re.compile(r"<(?:iframe|object|embed|base)\b", re.IGNORECASE),
)  # fmt: skip


def check_headers(answer, where):
    policy = answer.headers["Content-Security-Policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["script-src"] == "'self'", where
    assert directives["default-src"] == "'self'", where
    assert directives["object-src"] == directives["base-uri"] == "'none'", where
    assert directives["frame-ancestors"] == "'none'", where
    assert directives["form-action"] == "'self'", where
    assert "'unsafe-inline'" not in directives["style-src"], where
    assert answer.headers["X-Content-Type-Options"] == "nosniff", where
    assert answer.headers["Referrer-Policy"] == "same-origin", where
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin", where
    assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp", where
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin", where
    assert "camera=()" in answer.headers["Permissions-Policy"], where
    assert "no-store" in answer.headers["Cache-Control"], where
    for name in ("Server", "X-Powered-By", "Access-Control-Allow-Origin"):
        assert name not in answer.headers, where
    if answer.headers.get("Content-Type", "").startswith("text/"):
        assert "charset=utf-8" in answer.headers["Content-Type"].lower(), where


def check_markup(answer, where):
    if not answer.headers.get("Content-Type", "").startswith("text/html"):
        return 0
    text = answer.content.decode()
    for bad in BAD_MARKUP:
        found = bad.search(text)
        assert found is None, f"{where}: {found and found.group(0)[:200]}"
    return 1


def test_every_page_is_strict_about_scripts_and_says_so():
    scene = scene_make()
    caller = next(one for one in scene.callers if one.name == "msp-owner of the MSP")
    asker, pages = Asker(scene), 0
    for template, _ in templates():
        ways = [("get", "own"), ("post", "own"), ("get", "nobody"), ("trace", "own")]
        for method, world in ways[:1] if template.startswith("api/") else ways:
            where = address(Call(template, "get", ""), scene.worlds[world])
            asker.client.cookies["sessionid"] = caller.session
            answer = (
                asker.client.generic("TRACE", where)
                if method == "trace"
                else getattr(asker.client, method)(where)
            )
            if method == "trace":
                assert answer.status_code in (401, 403, 404, 405, 302), where
            assert answer.status_code < 500, f"{method} {where}"
            check_headers(answer, where)
            if not answer.streaming:
                pages += check_markup(answer, where)
    assert pages > 100


@pytest.mark.parametrize("where", SIGN_IN)
@pytest.mark.parametrize("signed_in", [False, True])
def test_so_is_signing_in_and_whatever_stands_beside_the_pages(where, signed_in):
    client = Client()
    if signed_in:
        client.force_login(MembershipFactory(role="msp-owner").user)
    answer = client.get(where)
    check_headers(answer, where)
    check_markup(answer, where)


def _broken(_request):
    password = "swordfish"
    raise RuntimeError(f"the secret is {password}")


class Broken:
    urlpatterns = [path("broken/", _broken), *real_patterns]


@pytest.mark.parametrize("where", ["/broken/", "/api/v1/vms/%00/", "/c/%00/"])
def test_a_mistake_shows_nothing_of_its_inside(where, settings):
    settings.ROOT_URLCONF = Broken
    client = Client(raise_request_exception=False)
    client.force_login(MembershipFactory(role="msp-owner").user)
    answer = client.get(where)
    text = answer.content.decode()
    check_headers(answer, where)
    for secret in ("swordfish", "Traceback", "RuntimeError", "site-packages", "DJANGO"):
        assert secret not in text


STRANGE_HOSTS = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1@evil.example",
    "localhost:80:80",
    "evil.example, localhost",
]


@pytest.mark.parametrize("host", STRANGE_HOSTS)
def test_another_host_name_is_not_answered_to(host, settings):
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
    answer = Client(raise_request_exception=False).get("/account/login/", headers={"host": host})
    assert answer.status_code == 400
    assert "evil" not in answer.content.decode()
    check_headers(answer, host)


REDIRECTING = ("next", "from", "return", "url", "redirect", "continue", "here", "to", "back")
ELSEWHERE = ("https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)")


def test_no_page_leads_to_another_site_whatever_is_asked():
    scene = scene_make()
    caller = next(one for one in scene.callers if one.name == "msp-owner of the MSP")
    client = Client(raise_request_exception=False)
    client.cookies["sessionid"] = caller.session
    addresses = [
        address(Call(template, "get", ""), scene.worlds["own"])
        for template, _ in templates()
        if not template.startswith(("api/", "agent/"))
    ]
    redirects = 0
    for where in [*addresses, "/account/login/", "/account/company/", "/account/mfa/"]:
        for number, target in enumerate(ELSEWHERE):
            if number and "account" not in where:
                continue
            asked = dict.fromkeys(REDIRECTING, target)
            headers = {"referer": target, "hx-current-url": target}
            answers = [client.get(where, asked, headers=headers)]
            if number == 0 and "leave" not in where and "logout" not in where:
                answers.append(client.post(where, asked, headers=headers))
            for answer in answers:
                for name in ("Location", "HX-Redirect", "HX-Location", "HX-Push-Url"):
                    told = answer.headers.get(name, "")
                    redirects += bool(told)
                    leads = re.split(r"[?#]", told)[0]
                    assert not leads or re.match(r"^(/(?![/\\])|\?)", told), f"{where}: {told}"
    assert redirects > 20


def test_security_txt_names_whom_the_operator_said(client, settings):
    assert client.get("/.well-known/security.txt").status_code == 404
    settings.BASALT_SECURITY_CONTACT = "mailto:security@msp.example"
    answer = client.get("/.well-known/security.txt")
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert "Contact: mailto:security@msp.example\n" in answer.content.decode()
    assert re.search(r"^Expires: \d{4}-\d\d-\d\dT00:00:00Z$", answer.content.decode(), re.MULTILINE)
    settings.BASALT_SECURITY_CONTACT = "javascript:alert(1)\nX: y"
    assert client.get("/.well-known/security.txt").status_code == 404


def test_signing_out_clears_what_the_browser_kept():
    client = Client()
    client.force_login(MembershipFactory().user)
    assert client.post("/account/logout/").headers["Clear-Site-Data"] == '"cache"'


def test_files_may_be_kept_but_not_framed(client, settings):
    answer = client.get("/static/img/icon.svg")
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
