"""Telling open pages that something changed. They ask again; the event carries no data."""

import uuid

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction


def tenant_group(tenant_id: uuid.UUID) -> str:
    """The channel-layer group that pages of people who may see this tenant join."""
    return f"tenant.{tenant_id}"


def live_publish(*, tenant_id: uuid.UUID, kind: str, object_id: uuid.UUID) -> None:
    """After commit, tell the tenant's open pages that one `kind` ("vm", "job",
    "hypervisor", "image", "site") changed. Best effort: a page that missed it asks again
    on its next visit."""

    def send() -> None:
        layer = get_channel_layer()
        if layer is not None:
            async_to_sync(layer.group_send)(
                tenant_group(tenant_id),
                {"type": "live.changed", "kind": kind, "id": str(object_id)},
            )

    transaction.on_commit(send, robust=True)
