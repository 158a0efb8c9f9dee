"""What a person wants to see of a list, under a name."""

import uuid
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Lower
from django.utils import timezone

from tenants.models.user import User

LONGEST_NAME = 40
LONGEST_QUERY = 1000


class SavedViewQuerySet(models.QuerySet["SavedView"]):
    def of(self, user: User, list_name: str) -> Self:
        """A person's own, of one list, by name."""
        return self.filter(user=user, list_name=list_name)

    def named(self, name: str) -> Self:
        """As the constraint compares names: upper and lower case are one."""
        return self.alias(lower=Lower("name")).filter(lower=Lower(Value(name)))


class SavedView(models.Model):
    """Filters and sorting of one list, as they stand in its address. It shows its person
    nothing but what the list does: it holds a question, never an answer."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="saved_views")
    list_name = models.CharField(max_length=32)
    name = models.CharField(max_length=LONGEST_NAME)
    query = models.CharField(max_length=LONGEST_QUERY, blank=True)
    is_default = models.BooleanField(default=False)
    """The list opens with it."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[SavedViewQuerySet] = SavedViewQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering = [Lower("name"), "id"]
        constraints = [
            models.UniqueConstraint(
                "user", "list_name", Lower("name"), name="saved_view_name_once_per_list"
            ),
            models.UniqueConstraint(
                fields=["user", "list_name"],
                condition=Q(is_default=True),
                name="saved_view_one_default_per_list",
            ),
        ]

    def __str__(self) -> str:
        return self.name
