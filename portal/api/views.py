"""What the API answers where it has nothing."""

from django.http import HttpRequest, JsonResponse

from tenants.api.errors import error_body


def not_found(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    """An address that is not one of the API's, in the shape of its errors."""
    message = "There is no such address in the API. All of them are described at /api/v1/docs/."
    return JsonResponse(error_body("not_found", message), status=404)
