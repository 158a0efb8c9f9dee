"""What every page's template gets."""

from typing import Any

from django.http import HttpRequest


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Names for the navigation. Kept free of queries: it runs for every page."""
    match = request.resolver_match
    return {"current_page": match.url_name if match else ""}
