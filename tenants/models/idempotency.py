"""Answers kept for a day, so that whoever lost one can ask again without doing it twice."""

from typing import Any

from django.db import models
from django.utils import timezone

from tenants.models.user import User


class IdempotentAnswer(models.Model):
    """What was answered to a request that carried an `Idempotency-Key`. Never a secret."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=200)
    request_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    body: "models.JSONField[Any, Any]" = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now, editable=False, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_once_per_user")
        ]

    def __str__(self) -> str:
        return f"{self.key} of {self.user}"
