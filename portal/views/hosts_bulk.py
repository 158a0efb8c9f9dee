"""Removing many hosts at once: those of a customer who left, or that were tried out."""

from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.safestring import SafeString

from hypervisors.models import Hypervisor
from hypervisors.services.hypervisors import hypervisor_remove
from portal.templatetags.basalt import host_state
from portal.views.bulk import Action, BulkPage, Fate
from portal.views.queries import hosts_for_list


def _fate(host: Any) -> Fate:
    if host.vm_count:
        plural = "VMs: delete them" if host.vm_count > 1 else "VM: delete it"
        return Fate("", f"it has {host.vm_count} {plural} first")
    return Fate("is forgotten, with its networks and its activity")


_ACTIONS = {
    "remove": Action(
        verb="Remove",
        done="removed",
        icon="trash",
        fate=_fate,
        carry_out=lambda actor, host: hypervisor_remove(actor=actor, hypervisor=host),
        loss=(
            "The portal forgets these hosts for good. The machines themselves are left as they "
            "are; to come back, each must join again."
        ),
        typed=True,
        kind="hypervisor.remove",
    )
}


class HostBulkView(BulkPage):
    permission = "hypervisor.manage"
    list_name = "hosts"
    nouns = ("host", "hosts")
    followed_at = "hosts"
    follow = "The machines themselves are left as they are."

    def actions(self) -> dict[str, Action]:
        return _ACTIONS

    def rows(self) -> "QuerySet[Hypervisor]":
        return hosts_for_list(self.user, self.permission).order_by("name", "id")

    def describe(self, row: Hypervisor) -> tuple[str, str, str, SafeString]:
        return (
            row.name,
            reverse("host", args=(row.tenant.slug, row.name)),
            f"{row.tenant.name} · {row.site.name}",
            host_state(row),
        )
