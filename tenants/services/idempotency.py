"""Doing once what is asked twice under the same `Idempotency-Key`."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from tenants.errors import InvalidInputError, RuleError
from tenants.models import IdempotentAnswer, User

KEPT = timedelta(hours=24)
_MAX_KEY = 200


class IdempotencyKeyReusedError(RuleError):
    """The key came with another request before."""

    code = "idempotency_key_reused"
    status = 422


@transaction.atomic
def answer_once(
    *, user: User, key: str, request: object, answer: Callable[[], tuple[int, Any]]
) -> tuple[int, Any]:
    """Status and body of the first answer given under this key, or of `answer` now.

    Both stand in one transaction: a change that was made has its answer kept, and one that
    failed has none, so that it may be tried again. A second request meanwhile waits.
    Raises InvalidInputError, IdempotencyKeyReusedError, and what `answer` raises.
    """
    if not key.isascii() or not key.isprintable() or len(key) > _MAX_KEY:
        raise InvalidInputError("An Idempotency-Key has 1 to 200 printable ASCII characters.")
    IdempotentAnswer.objects.filter(user=user, created_at__lt=timezone.now() - KEPT).delete()
    # Keyed, since a request holds passwords that a plain digest would let one guess.
    text = json.dumps(request, sort_keys=True, default=str)
    digest = salted_hmac("basalt.idempotency", text, algorithm="sha256").hexdigest()
    try:
        with transaction.atomic():
            kept = IdempotentAnswer.objects.create(user=user, key=key, request_digest=digest)
    except IntegrityError:
        known = IdempotentAnswer.objects.get(user=user, key=key)
        if known.request_digest != digest:
            raise IdempotencyKeyReusedError(
                "This Idempotency-Key came with another request before. Take a new key for a "
                "new wish."
            ) from None
        return known.status, known.body
    kept.status, kept.body = answer()
    kept.save(update_fields=["status", "body"])
    return kept.status, kept.body
