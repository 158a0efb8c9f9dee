"""What `{{ name }}` in user-data stands for, and what is wrong with a name that stands for
nothing."""

import difflib
from collections.abc import Mapping

from agent.protocol.templates import UnknownVariableError, fill_in, variables_in
from hypervisors.models import Hypervisor
from tenants.errors import InvalidInputError
from tenants.models import Tenant
from tenants.scope import system_scope
from vms.models import VirtualMachine

_OF_ADDRESSES = frozenset({"ip", "ip6", "gateway", "gateway6"})
GUEST_WORDS = ("name", "hostname", "username", "image.name", *sorted(_OF_ADDRESSES))
"""The variables of the VM itself. Not every VM has those of addresses."""


def guest_variables(vm: VirtualMachine) -> dict[str, str]:
    """All of them, for a VM whose NICs are there."""
    nics = list(vm.nics.select_related("network").order_by("position"))
    first = next((nic for nic in nics if nic.address), None)
    first6 = next((nic for nic in nics if nic.address6), None)
    return place_variables(vm.hypervisor) | guest_words(
        name=vm.name,
        username=vm.username,
        image=vm.image_version.image.name,
        ip=first.address if first else None,
        gateway=first.network.gateway if first else None,
        ip6=first6.address6 if first6 else None,
        gateway6=first6.network.gateway6 if first6 else None,
    )


def guest_words(
    *,
    name: str,
    username: str,
    image: str,
    ip: str | None = None,
    gateway: str | None = None,
    ip6: str | None = None,
    gateway6: str | None = None,
) -> dict[str, str]:
    """The variables that are of the VM itself. An address that is not given has none."""
    words = {
        "name": name,
        "hostname": name.lower(),
        "username": username,
        "image.name": image,
        "ip": ip,
        "gateway": gateway,
        "ip6": ip6,
        "gateway6": gateway6,
    }
    return {key: value for key, value in words.items() if value}


def place_variables(hypervisor: Hypervisor) -> dict[str, str]:
    """The variables of where a VM runs. A customer has the fields of its group and MSP too,
    where it has not said otherwise itself."""
    site, customer = hypervisor.site, hypervisor.tenant
    values: dict[str, str] = {}
    with system_scope("fields of the tenants above are for the scripts of those below"):
        above = {tenant.id: tenant for tenant in Tenant.objects.filter(id__in=customer.line())}
    for tenant_id in reversed(customer.line()):
        values |= {f"customer.{name}": v for name, v in above[tenant_id].custom_fields.items()}
    values |= {f"site.{name}": value for name, value in site.custom_fields.items()}
    return values | {
        "customer.name": customer.name,
        "customer.slug": customer.slug,
        "site.name": site.name,
        "site.slug": site.slug,
        "site.address": site.address,
        "site.time_zone": site.time_zone,
        "host.name": hypervisor.name,
    }


def variables_check(text: str, variables: Mapping[str, str], *, field: str = "user_data") -> None:
    """Raises InvalidInputError for a variable that this guest has not."""
    for name in variables_in(text):
        if name not in variables:
            raise _unknown(name, variables, field)


def filled_in(text: str, variables: Mapping[str, str], *, field: str = "user_data") -> str:
    """What the guest gets. Raises InvalidInputError."""
    try:
        return fill_in(text, variables)
    except UnknownVariableError as error:
        raise _unknown(error.name, variables, field) from error


def _unknown(name: str, variables: Mapping[str, str], field: str) -> InvalidInputError:
    if name in _OF_ADDRESSES:
        return InvalidInputError(
            f"“{{{{ {name} }}}}” is not known for this VM: the site's own DHCP gives its address, "
            "or its network has none of that kind. Choose a network whose addresses the portal "
            "gives, or take the variable out.",
            field=field,
        )
    near = difflib.get_close_matches(name, variables, n=1)
    hint = f" Did you mean “{{{{ {near[0]} }}}}”?" if near else ""
    return InvalidInputError(
        f"There is no variable “{{{{ {name} }}}}”.{hint} To keep the braces as they are, put a "
        "backslash before them.",
        field=field,
    )
