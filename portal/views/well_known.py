"""What machines look for at an address that every site has (RFC 8615)."""

from datetime import timedelta

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

_GOOD_FOR = timedelta(days=180)


@require_safe
def security_txt(_request: HttpRequest) -> HttpResponse:
    """Whom to tell of a weakness in this portal (RFC 9116). 404 where the operator named nobody."""
    contact = settings.BASALT_SECURITY_CONTACT
    if not contact.startswith(("mailto:", "https://")) or not contact.isprintable():
        raise Http404
    until = (timezone.now() + _GOOD_FOR).strftime("%Y-%m-%dT00:00:00Z")
    address = f"{settings.BASALT_ORIGIN}/.well-known/security.txt"
    text = f"Contact: {contact}\nExpires: {until}\nCanonical: {address}\nPreferred-Languages: en\n"
    return HttpResponse(text, content_type="text/plain; charset=utf-8")
