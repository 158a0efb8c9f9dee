"""Long lists of tenants, which the database is told by their name."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone


class TenantSet(models.Model):
    """Some tenants, named by what they are: the same ones are the same row, which never changes.

    The settings of a transaction could hold the list itself, but PostgreSQL would read its text
    anew for every table of every statement.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    tenants = ArrayField(models.UUIDField())
    used_at = models.DateTimeField(default=timezone.now, db_index=True)
    """To the day: sets that nobody has needed for long are forgotten."""

    def __str__(self) -> str:
        return f"{len(self.tenants)} tenants"
