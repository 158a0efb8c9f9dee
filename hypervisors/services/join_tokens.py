"""Join tokens: what lets a new host into one site, a few times, for a short while."""

import hashlib
import secrets
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from hypervisors.models import JoinToken
from tenants.actor import Actor
from tenants.errors import InvalidInputError
from tenants.models import Site
from tenants.services.audit import audit_record

PREFIX = "bj_"
MAX_USES = 1000
MAX_LIFE = timedelta(days=30)


def join_token_hash(secret: str) -> str:
    """SHA-256, in hex. Enough for a random secret: there is nothing to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


def join_command(secret: str) -> str:
    """What a technician runs as root on the new host."""
    return f"curl -fsSL {settings.BASALT_ORIGIN}/install | sh -s -- {secret}"


@transaction.atomic
def join_token_create(
    *,
    actor: Actor,
    site: Site,
    max_uses: int = 1,
    expires_in: timedelta = timedelta(hours=24),
) -> tuple[JoinToken, str]:
    """A token and its secret, which is shown once. Raises InvalidInputError."""
    if not 1 <= max_uses <= MAX_USES:
        raise InvalidInputError(f"A join token lets 1 to {MAX_USES} hosts join.", field="max_uses")
    if not timedelta(0) < expires_in <= MAX_LIFE:
        raise InvalidInputError(
            f"A join token lives for at most {MAX_LIFE.days} days.", field="expires_in"
        )
    secret = PREFIX + secrets.token_urlsafe(24)
    token = JoinToken.objects.create(
        tenant_id=site.tenant_id,
        site=site,
        prefix=secret[:10],
        hash=join_token_hash(secret),
        max_uses=max_uses,
        expires_at=timezone.now() + expires_in,
        created_by=actor.user,
    )
    audit_record(
        actor=actor,
        tenant=site.tenant,
        action="join_token.create",
        object_kind="join_token",
        object_id=token.id,
        object_name=str(token),
        site_id=site.id,
        after={
            "site": site.name,
            "max_uses": max_uses,
            "expires_at": token.expires_at.isoformat(),
        },
    )
    return token, secret


@transaction.atomic
def join_token_revoke(*, actor: Actor, token: JoinToken) -> None:
    """From now on no host joins with it. Hosts that joined before stay."""
    locked = JoinToken.objects.select_for_update().get(pk=token.pk)
    if locked.revoked_at is not None:
        return
    locked.revoked_at = timezone.now()
    locked.save(update_fields=["revoked_at"])
    audit_record(
        actor=actor,
        tenant=locked.tenant,
        action="join_token.revoke",
        object_kind="join_token",
        object_id=locked.id,
        object_name=str(locked),
        site_id=locked.site_id,
    )
