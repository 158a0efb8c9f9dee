"""What every answer of the portal says to browsers, whichever part of it made the answer."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in (
        "accelerometer",
        "browsing-topics",
        "camera",
        "display-capture",
        "geolocation",
        "gyroscope",
        "hid",
        "idle-detection",
        "magnetometer",
        "microphone",
        "midi",
        "payment",
        "serial",
        "usb",
        "xr-spatial-tracking",
    )
)
"""Nothing of a device is ours to ask for; a console writes to the clipboard, passkeys sign in."""

ALWAYS = {
    "Permissions-Policy": PERMISSIONS_POLICY,
    # No other site embeds or reads anything of ours, and nothing of others' is on our pages.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
RAW = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store, private"),
)
"""For the few answers that are made before Django is asked."""


class HeadersMiddleware:
    """The outermost: also files and refusals of the other middleware pass here."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for name, value in ALWAYS.items():
            response.headers.setdefault(name, value)
        # Rows of tenants are in most answers. What may be kept says so itself, as files do.
        response.headers.setdefault("Cache-Control", "no-store, private")
        match = request.resolver_match
        if match is not None and match.url_name == "account_logout" and request.method == "POST":
            # What a page kept in the meantime is not for whoever sits here next.
            response.headers["Clear-Site-Data"] = '"cache"'
        return response
