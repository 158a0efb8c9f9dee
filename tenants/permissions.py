"""The only place where a role becomes a permission.

A permission is a dotted name. A role is a named set of them. A membership gives a user
a role on a tenant, and through it on that tenant's customers; tenants.reach has the whole of it.
"""

from collections.abc import Iterable
from types import MappingProxyType

PERMISSIONS = MappingProxyType(
    {
        "tenant.view": "See the customer",
        "tenant.manage": "Add and change customers",
        "site.view": "See sites",
        "site.manage": "Add and change sites",
        "quota.manage": "Set quotas of customers and sites",
        "hypervisor.view": "See hosts",
        "hypervisor.manage": "Add, rename and remove hosts; make join tokens",
        "network.view": "See networks",
        "network.manage": "Add and change networks",
        "image.view": "See images",
        "image.manage": "Add and retire images",
        "vm.view": "See VMs",
        "vm.create": "Create VMs",
        "vm.power": "Start, stop and restart VMs",
        "vm.edit": "Resize and rename VMs",
        "vm.tell": "Change what VMs are told: keys, tags, passwords; run first boots again",
        "vm.delete": "Delete VMs and their disks",
        "vm.console": "Open a VM's console",
        "job.view": "See activity",
        "user.view": "See people",
        "user.manage": "Invite and remove people",
        "role.manage": "Make and change roles",
        "consent.manage": "Approve consoles of technicians; say which need it, and when two agree",
        "agreement.manage": "Ask a second person, and agree as one to what one may do oneself",
        "audit.view": "See the audit log",
        "policy.manage": "Say how people sign in: policy and identity providers",
        "billing.view": "See usage reports",
    }
)

_VIEW = frozenset(name for name in PERMISSIONS if name.endswith(".view"))
_OFFICE = frozenset({"audit.view", "billing.view"})
_VM_USE = frozenset({"vm.power", "vm.console", "agreement.manage"})
_VM_ALL = _VM_USE | {"vm.create", "vm.edit", "vm.tell", "vm.delete"}

BUILT_IN_ROLES = MappingProxyType(
    {
        "msp-owner": ("MSP owner", frozenset(PERMISSIONS)),
        "msp-technician": (
            "MSP technician",
            _VIEW
            | _VM_ALL
            | {"site.manage", "hypervisor.manage", "network.manage", "image.manage"},
        ),
        "msp-read-only": ("MSP read-only", _VIEW),
        "msp-billing": ("MSP billing", frozenset({"tenant.view", "site.view", "billing.view"})),
        "customer-administrator": (
            "Customer administrator",
            _VIEW
            | _VM_ALL
            | {
                "network.manage",
                "image.manage",
                "user.manage",
                "role.manage",
                "consent.manage",
                "policy.manage",
            },
        ),
        "customer-operator": ("Customer operator", (_VIEW - _OFFICE) | _VM_USE),
        "customer-viewer": ("Customer viewer", _VIEW - _OFFICE - {"user.view"}),
    }
)


SUBJECTS = MappingProxyType(
    {
        "tenant": "Customers",
        "site": "Sites",
        "quota": "Quotas",
        "hypervisor": "Hosts",
        "network": "Networks",
        "image": "Images",
        "vm": "VMs",
        "job": "Activity",
        "user": "People",
        "role": "Roles",
        "consent": "Approvals",
        "agreement": "Second person",
        "audit": "Audit",
        "policy": "Signing in",
        "billing": "Reports",
    }
)
"""What a permission's first word is about, for people. One that is missing speaks for itself."""


def by_subject(permissions: Iterable[str] = PERMISSIONS) -> list[tuple[str, list[tuple[str, str]]]]:
    """`permissions` with their words, under the subjects they are about, in PERMISSIONS' order."""
    wanted = set(permissions)
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, words in PERMISSIONS.items():
        if name in wanted:
            subject = name.partition(".")[0]
            groups.setdefault(SUBJECTS.get(subject, subject.title()), []).append((name, words))
    return list(groups.items())


def in_words(permissions: Iterable[str]) -> str:
    """These permissions for a sentence: “See VMs”, “Create VMs”."""
    wanted = set(permissions)
    return ", ".join(f"“{words}”" for name, words in PERMISSIONS.items() if name in wanted)


class UnknownPermissionError(LookupError):
    """A permission that is not in `PERMISSIONS`: a programming error, never a user's."""


def check_known(permission: str) -> str:
    """The permission itself. Raises UnknownPermissionError."""
    if permission not in PERMISSIONS:
        raise UnknownPermissionError(permission)
    return permission
