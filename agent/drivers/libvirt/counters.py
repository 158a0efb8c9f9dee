"""What guests have used, from libvirt's statistics of all domains at once.

Names of the fields: https://libvirt.org/html/libvirt-libvirt-domain.html
(virConnectGetAllDomainStats), libvirt 9.0.
"""

from typing import Any

import libvirt

from agent.drivers.base import GuestCounters

_WANTED = (
    libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
_FLAGS = (
    libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
    # A guest that a job holds is skipped rather than waited for.
    | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
)
_NS = 1e9
_KIB = 1024


def guest_counters(connection: Any, vm_ids: set[str]) -> dict[str, GuestCounters]:
    """By id, of those guests that run. Raises libvirt.libvirtError."""
    found = {}
    for domain, fields in connection.getAllDomainStats(_WANTED, _FLAGS):
        vm_id = domain.UUIDString()
        # A guest of which QEMU has not said anything yet has no processor time either.
        if vm_id in vm_ids and "cpu.time" in fields:
            found[vm_id] = read_counters(fields)
    return found


def read_counters(fields: dict[str, Any]) -> GuestCounters:
    """One guest's counters from libvirt's flat names ("block.0.rd.bytes")."""
    return GuestCounters(
        cpu_s=fields["cpu.time"] / _NS,
        memory_used_mib=_memory_mib(fields),
        disk_used=_sum(fields, "block", "physical"),
        disk_read=_sum(fields, "block", "rd.bytes"),
        disk_written=_sum(fields, "block", "wr.bytes"),
        net_in=_sum(fields, "net", "rx.bytes"),
        net_out=_sum(fields, "net", "tx.bytes"),
    )


def _memory_mib(fields: dict[str, Any]) -> int | None:
    available = fields.get("balloon.available")
    free = fields.get("balloon.usable", fields.get("balloon.unused"))
    if available is not None and free is not None:
        return int(max(0, available - free)) // _KIB
    resident = fields.get("balloon.rss")
    if resident is None:
        return None
    # QEMU's own memory counts too: never more than the guest was given.
    return int(min(resident, fields.get("balloon.current", resident))) // _KIB


def _sum(fields: dict[str, Any], kind: str, name: str) -> int:
    count = fields.get(f"{kind}.count", 0)
    return sum(int(fields.get(f"{kind}.{number}.{name}", 0)) for number in range(count))
