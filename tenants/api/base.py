"""The base of every viewset: an action without a declared permission does not answer."""

from typing import Any, ClassVar, TypeVar, cast

from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django_filters import MultipleChoiceFilter
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.serializers import Serializer
from rest_framework.viewsets import GenericViewSet

from tenants.actor import Actor
from tenants.api.limits import count_call, count_refusal
from tenants.middleware import READING, actor_for
from tenants.models import ApiToken, Membership, User
from tenants.scope import current, enter, scope_of, sign_in_scope

OWN = "own"
"""In place of a permission, on actions about nothing but one's own."""

M = TypeVar("M", bound=Model)


class TenantViewSet(GenericViewSet[M]):
    """Rows in scope only: what the person may not see is a 404, like what does not exist."""

    permissions_by_action: ClassVar[dict[str, str]]
    # Not OPTIONS: the API's schema describes it, to whoever may ask and whoever may not alike.
    http_method_names = ["get", "post", "put", "patch", "delete", "head"]

    @property
    def permission(self) -> str:
        """The permission of the action at hand."""
        # KeyError on purpose: an undeclared action must not fall back to all rows.
        return self.permissions_by_action[self.action]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method not in READING:
            return super().dispatch(request, *args, **kwargs)
        # As in tenants.middleware: the database is told once whose rows may be seen.
        with transaction.atomic(savepoint=False):
            return super().dispatch(request, *args, **kwargs)

    def perform_authentication(self, request: Request) -> None:
        """From here on the second wall is that of the person, however they were recognised."""
        with sign_in_scope():
            try:
                super().perform_authentication(request)
            except AuthenticationFailed as error:
                count_refusal(request, error)
                raise
            user, token = request.user, request.auth
        if not user.is_authenticated:
            count_refusal(request, None)
            return
        count_call(request)
        if isinstance(token, ApiToken):
            # Even where a browser is signed in as the same person: the token may be narrower.
            enter(scope_of(user, token))
        elif current().person != user.pk:
            enter(scope_of(user))

    def get_queryset(self) -> QuerySet[M]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset().none()
        queryset: Any = super().get_queryset()
        scoped: QuerySet[M] = queryset.allowed(self.request.user, self.permission)
        return scoped

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self._say_once(request)
        if self.action in (None, "metadata"):
            return  # a method that the viewset does not have: 405 follows
        permission = self.permission
        # Whoever holds the permission nowhere is told so; elsewhere the scope decides.
        user = cast(User, self.request.user)
        held = Membership.objects.permissions_of(user)
        if permission == OWN and held:
            return
        if permission not in held:
            if isinstance(request.auth, ApiToken) and request.auth.narrow:
                raise PermissionDenied(
                    f"You may not do this with this token: it is not good for “{permission}”, or "
                    "no role of yours has it where the token is good."
                )
            raise PermissionDenied(f"You may not do this: no role of yours has “{permission}”.")

    def _say_once(self, request: Request) -> None:
        """Which of two values counts, every reader decides for itself: so neither does."""
        filters: Any = getattr(self, "filterset_class", None)
        several = {
            name
            for name, one in (filters.base_filters if filters else {}).items()
            if isinstance(one, MultipleChoiceFilter)
        }
        twice = [
            name[:100]
            for name, values in request.query_params.lists()
            if len(values) > 1 and name not in several
        ]
        if twice:
            raise ValidationError({name: ["This is there more than once."] for name in twice})

    def checked(self, serializer_class: type[Serializer[Any]]) -> dict[str, Any]:
        """The request's body, as this serializer understands it. Raises ValidationError."""
        serializer = serializer_class(data=self.request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        data: dict[str, Any] = serializer.validated_data
        return data

    def asked(self, serializer_class: type[Serializer[Any]]) -> dict[str, Any]:
        """The address' query, as this serializer understands it. Raises ValidationError."""
        serializer = serializer_class(data=self.request.query_params.dict())
        serializer.is_valid(raise_exception=True)
        data: dict[str, Any] = serializer.validated_data
        return data

    @property
    def actor(self) -> Actor:
        return actor_for(self.request)
