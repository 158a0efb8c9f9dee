"""The links of hosts: who holds which, since when, and the signs of a cloned disk.

`Hypervisor.link_channel` names the one socket that speaks for a host. Whatever else claims
to is closed, and may change nothing.
"""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from agent.protocol import VERSION, Hello, SignatureError, link_statement, verify
from hypervisors.models import Hypervisor
from hypervisors.services.jobs import host_group
from tenants.errors import RuleError
from tenants.scope import system_scope
from tenants.services.live import live_publish


class LinkRefusedError(RuleError):
    """This agent gets no link. The message says to a person at the host what to do."""

    code = "link_refused"
    status = 403


class LinkLostError(RuntimeError):
    """Another socket speaks for this host now."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """An open link: the host, and the channel of the socket that speaks for it."""

    hypervisor_id: uuid.UUID
    tenant_id: uuid.UUID
    channel: str


def link_check(*, hello: Hello, nonce: bytes) -> Hypervisor:
    """The host that signed this answer to our challenge. Raises LinkRefusedError."""
    if hello.protocol not in (VERSION, VERSION - 1):
        raise LinkRefusedError(
            f"The agent speaks version {hello.protocol} of the protocol, and the portal version "
            f"{VERSION}. Install the agent again with the portal's install command.",
            code="protocol",
        )
    with system_scope("a host says who it is, before its tenant is known"):
        host = Hypervisor.objects.filter(pk=hello.hypervisor_id).first()
    if host is None:
        raise link_removed_refusal()
    statement = link_statement(
        nonce=nonce, hypervisor_id=hello.hypervisor_id, origin=settings.BASALT_ORIGIN
    )
    try:
        verify(bytes(host.sign_public), hello.signature, statement)
    except SignatureError as error:
        raise LinkRefusedError(
            "The signature does not match: the agent's keys are not those of its enrolment, or "
            f"the portal's address is not {settings.BASALT_ORIGIN} any more. Enrol it again.",
            code="signature",
        ) from error
    return host


def link_rival(*, host: Hypervisor, run_id: str) -> str | None:
    """The channel of a link that another run of this identity seems to hold, or None.

    A run that connects again replaces its own old link at once. Of another run we first have
    to hear whether it still lives: an agent that was restarted, or a cloned disk?
    """
    alive_since = timezone.now() - timedelta(seconds=settings.BASALT_HOST_LEASE_S)
    if (
        host.link_channel
        and host.run_id != run_id
        and host.last_seen_at is not None
        and host.last_seen_at > alive_since
    ):
        return host.link_channel
    return None


@transaction.atomic
def link_opened(*, hypervisor_id: uuid.UUID, hello: Hello, channel: str) -> tuple[Link, str]:
    """From now on `channel` speaks for the host. Also answers the channel that did before,
    or an empty string. Raises LinkRefusedError if the host was removed meanwhile."""
    host = (
        Hypervisor.objects.select_for_update(of=("self",), no_key=True)
        .filter(pk=hypervisor_id)
        .first()
    )
    if host is None:
        raise link_removed_refusal()
    before = host.link_channel
    now = timezone.now()
    host.online = True
    host.run_id, host.link_channel = hello.run_id, channel
    host.agent_version, host.protocol = hello.agent_version, hello.protocol
    host.connected_at = host.last_seen_at = now
    host.save(
        update_fields=[
            "online",
            "run_id",
            "link_channel",
            "agent_version",
            "protocol",
            "connected_at",
            "last_seen_at",
        ]
    )
    live_publish(tenant_id=host.tenant_id, kind="hypervisor", object_id=host.id)
    link = Link(hypervisor_id=host.id, tenant_id=host.tenant_id, channel=channel)
    return link, before if before != channel else ""


@transaction.atomic
def link_closed(link: Link) -> None:
    """The socket is gone. Says nothing where another one speaks for the host already."""
    changed = Hypervisor.objects.filter(pk=link.hypervisor_id, link_channel=link.channel).update(
        online=False, link_channel="", last_seen_at=timezone.now()
    )
    if changed:
        live_publish(tenant_id=link.tenant_id, kind="hypervisor", object_id=link.hypervisor_id)


def link_must_hold(link: Link) -> Hypervisor:
    """The host, locked until the transaction ends against another link's taking over.

    Raises LinkLostError where another socket speaks for it, LinkRefusedError where it was
    removed.
    """
    hosts = Hypervisor.objects.filter(pk=link.hypervisor_id)
    locked = hosts.select_for_update(of=("self",), no_key=True)
    host = locked.filter(link_channel=link.channel).first()
    if host is None:
        raise LinkLostError if hosts.exists() else link_removed_refusal()
    return host


@transaction.atomic
def clone_seen(host: Hypervisor) -> None:
    """Two machines with one identity were connected at the same moment: a cloned disk."""
    Hypervisor.objects.filter(pk=host.pk).update(clone_seen_at=timezone.now())
    live_publish(tenant_id=host.tenant_id, kind="hypervisor", object_id=host.pk)


def link_end(hypervisor_id: uuid.UUID) -> None:
    """After commit, close the link of a host that was removed."""

    def send() -> None:
        layer = get_channel_layer()
        if layer is not None:
            async_to_sync(layer.group_send)(host_group(hypervisor_id), {"type": "link.removed"})

    transaction.on_commit(send, robust=True)


def link_removed_refusal() -> LinkRefusedError:
    """What the agent of a host that was removed is told."""
    return LinkRefusedError(
        "The portal knows no such host: it was removed there. Enrol it again with a new join "
        "token.",
        code="not_enrolled",
    )
