"""Names for new VMs that people can say on the phone."""

import secrets

from tenants.models import Tenant
from vms.models import VirtualMachine

_FIRST = (
    "amber", "bold", "brisk", "calm", "clear", "cool", "crisp", "dry", "early", "fair", "firm",
    "fresh", "grand", "green", "keen", "light", "lucid", "mild", "neat", "noble", "plain", "prime",
    "proud", "quick", "quiet", "rapid", "ready", "smart", "solid", "sound", "steady", "still",
    "swift", "tidy", "true", "vivid", "warm", "wise",
)  # fmt: skip
_SECOND = (
    "acorn", "alder", "aspen", "badger", "beacon", "birch", "brook", "cedar", "cliff", "comet",
    "crane", "delta", "ember", "falcon", "fern", "finch", "flint", "fjord", "grove", "harbor",
    "hazel", "heron", "island", "lark", "linden", "maple", "meadow", "otter", "pebble", "pine",
    "quartz", "raven", "ridge", "river", "spruce", "summit", "tundra", "willow",
)  # fmt: skip


def vm_name_suggest(tenant: Tenant) -> str:
    """A free name. Somebody may still take it first; the form then says so."""
    tries = [f"{secrets.choice(_FIRST)}-{secrets.choice(_SECOND)}" for _ in range(8)]
    taken = set(
        VirtualMachine.objects.filter(tenant=tenant, name__in=tries).values_list("name", flat=True)
    )
    free = [name for name in tries if name not in taken]
    return free[0] if free else f"{tries[0]}-{secrets.token_hex(2)}"
