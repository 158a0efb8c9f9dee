"""What a host says about itself and its guests, written into the rows."""

from typing import Any

import msgspec
from django.db import transaction
from django.utils import timezone

from agent.protocol import BootReported, Snapshot, Usage, VmChanged
from hypervisors.models import Hypervisor
from hypervisors.services.links import Link, link_must_hold
from hypervisors.services.observers import guest_observers
from hypervisors.services.usage import host_usage_record
from tenants.services.live import live_publish

_MAX_LOAD = 1_000_000.0
# A page need not be told of every percent.
_CPU_STEP = 5
_SHARE_STEP = 0.01


@transaction.atomic
def snapshot_store(*, link: Link, snapshot: Snapshot) -> Hypervisor:
    """The host's full state replaces what we knew. Raises LinkLostError."""
    host = link_must_hold(link)
    now = timezone.now()
    host.facts = msgspec.to_builtins(snapshot.facts)
    host.usage = _usage(snapshot.usage)
    host.foreign_vms = snapshot.foreign_vms
    host.online = True
    host.observed_at = host.last_seen_at = now
    host.save(
        update_fields=["facts", "usage", "foreign_vms", "online", "observed_at", "last_seen_at"]
    )
    for observer in guest_observers():
        observer.snapshot(host, snapshot.vms)
    _keep(host, snapshot.usage)
    live_publish(tenant_id=host.tenant_id, kind="hypervisor", object_id=host.id)
    return host


@transaction.atomic
def usage_store(*, link: Link, usage: Usage, keep: bool = True) -> None:
    """The host's heartbeat, kept as history too if `keep`. Raises LinkLostError."""
    host = link_must_hold(link)
    before, host.usage = host.usage, _usage(usage)
    was_online, host.online = host.online, True
    host.last_seen_at = timezone.now()
    host.save(update_fields=["usage", "online", "last_seen_at"])
    if keep:
        _keep(host, usage)
    if not was_online or _differs(before, host.usage, host.facts):
        live_publish(tenant_id=host.tenant_id, kind="hypervisor", object_id=host.id)


@transaction.atomic
def guest_change_store(*, link: Link, change: VmChanged) -> None:
    """One guest changed, or is gone. Raises LinkLostError."""
    host = link_must_hold(link)
    for observer in guest_observers():
        observer.changed(host, change.vm_id, change.vm)


@transaction.atomic
def boot_store(*, link: Link, report: BootReported) -> None:
    """News of a guest's first boot. Raises LinkLostError."""
    host = link_must_hold(link)
    for observer in guest_observers():
        observer.boot(host, report.vm_id, report.boot)


def _keep(host: Hypervisor, usage: Usage) -> None:
    host_usage_record(host, usage)
    if usage.guests:
        for observer in guest_observers():
            observer.usage(host, usage.guests)


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "cpu_percent": usage.cpu_percent,
        "memory_used_mib": usage.memory_used_mib,
        "disk_used": usage.disk_used,
        # JSON has no infinity, and a hostile agent may send one.
        "load1": min(usage.load1, _MAX_LOAD),
    }


def _differs(before: dict[str, Any], after: dict[str, Any], facts: dict[str, Any]) -> bool:
    if not before:
        return True
    if abs(after["cpu_percent"] - before.get("cpu_percent", 0)) >= _CPU_STEP:
        return True
    return any(
        abs(after[used] - before.get(used, 0)) >= _SHARE_STEP * max(facts.get(total, 0), 1)
        for used, total in (("memory_used_mib", "memory_mib"), ("disk_used", "disk_total"))
    )
