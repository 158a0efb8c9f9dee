"""Telling open pages that something changed. They ask again; the event carries no data."""

import time
import uuid
from collections.abc import Collection

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.core.cache import cache
from django.db import transaction

_REMEMBERED_S = 300
"""How long after being made a page may still learn that it missed something."""


def tenant_group(tenant_id: uuid.UUID) -> str:
    """The channel-layer group that pages of people who may see this tenant join."""
    return f"tenant.{tenant_id}"


def person_group(user_id: uuid.UUID) -> str:
    """The group of all sockets that a person has open: pages and consoles."""
    return f"person.{user_id}"


def person_recheck(user_id: uuid.UUID) -> None:
    """After commit, have each open socket of this person look again at what they may see, and
    close where it is not that any more. For whenever somebody loses something. Sockets look by
    themselves once a minute, too."""

    def send() -> None:
        layer = get_channel_layer()
        if layer is not None:
            async_to_sync(layer.group_send)(person_group(user_id), {"type": "person.recheck"})

    transaction.on_commit(send, robust=True)


def live_missed(groups: Collection[str], *, since: float) -> bool:
    """Whether anything was told to `groups` at or after `since` (seconds of the epoch): a page
    made then, whose socket opens now, did not hear it."""
    told = cache.get_many([_told_key(group) for group in groups])
    return any(moment >= since for moment in told.values())


def _told_key(group: str) -> str:
    return f"live-told:{group}"


def live_publish(*, tenant_id: uuid.UUID, kind: str, object_id: uuid.UUID) -> None:
    """After commit, tell the tenant's open pages that one `kind` ("vm", "job",
    "hypervisor", "image", "site", "person", "invitation") changed. Best effort: a page that was
    being made meanwhile learns of it when its socket opens."""

    def send() -> None:
        group = tenant_group(tenant_id)
        cache.set(_told_key(group), time.time(), _REMEMBERED_S)
        layer = get_channel_layer()
        if layer is not None:
            async_to_sync(layer.group_send)(
                group,
                {
                    "type": "live.changed",
                    "kind": kind,
                    "id": str(object_id),
                    "tenant": str(tenant_id),
                },
            )

    transaction.on_commit(send, robust=True)
