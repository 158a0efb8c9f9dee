"""Forms of a VM's NICs: adding, changing, removing."""

from typing import Any

from django import forms

from hypervisors.models import Network
from vms.models import Nic, VirtualMachine

_GUARD = "Drop what the guest may not say on its network"
_GUARD_WHY = (
    "Addresses of others, router advertisements, DHCP answers. Switch it off for a guest that is "
    "itself a router, a DHCP server or a host of VMs."
)


def _address(family: str, label: str) -> forms.GenericIPAddressField:
    return forms.GenericIPAddressField(
        label=label,
        protocol=family,
        required=False,
        help_text="Leave empty for the next free one.",
        widget=forms.TextInput(attrs={"class": "mono", "spellcheck": "false"}),
    )


class NicAddForm(forms.Form):
    prefix = "nic"
    use_required_attribute = False

    network = forms.ChoiceField(label="Network", error_messages={"required": "Choose a network."})
    address = _address("ipv4", "IPv4 address")
    address6 = _address("ipv6", "IPv6 address")
    guard = forms.BooleanField(label=_GUARD, required=False, initial=True, help_text=_GUARD_WHY)

    def __init__(self, *args: Any, networks: list[Network], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._networks = {str(network.id): network for network in networks}
        field = self.fields["network"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - declared above
        field.choices = [(key, network_words(network)) for key, network in self._networks.items()]

    def wishes(self) -> dict[str, Any]:
        """Arguments of `nic_add`."""
        values = self.cleaned_data
        return {
            "network": self._networks[values["network"]],
            "address": values["address"] or None,
            "address6": values["address6"] or None,
            "guard": values["guard"],
        }


class NicChangeForm(forms.Form):
    """Has a field for each family that the portal gives on the NIC's network."""

    prefix = "change"
    use_required_attribute = False

    guard = forms.BooleanField(label=_GUARD, required=False, help_text=_GUARD_WHY)

    def __init__(self, *args: Any, nic: Nic, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.nic = nic
        self.initial.update(address=nic.address, address6=nic.address6, guard=nic.guard)
        network = nic.network
        for name, family, label, subnet in (
            ("address", "ipv4", "IPv4 address", network.subnet),
            ("address6", "ipv6", "IPv6 address", network.subnet6),
        ):
            if network.addressing == Network.Addressing.PORTAL and subnet:
                self.fields[name] = _address(family, label)
                self.fields[name].help_text = f"In {subnet}."

    @property
    def addressed(self) -> bool:
        return "address" in self.fields or "address6" in self.fields

    @property
    def address(self) -> forms.BoundField | None:
        return self["address"] if "address" in self.fields else None

    @property
    def address6(self) -> forms.BoundField | None:
        return self["address6"] if "address6" in self.fields else None

    def wishes(self) -> dict[str, Any]:
        """Arguments of `nic_change`: None where nothing changed."""
        values = self.cleaned_data
        wished = {name: values.get(name) or None for name in ("address", "address6")}
        same = {"address": self.nic.address, "address6": self.nic.address6}
        return {name: value for name, value in wished.items() if value != same[name]} | {
            "guard": values["guard"] if values["guard"] != self.nic.guard else None
        }


class NicRemoveForm(forms.Form):
    """The VM's name typed is the confirmation."""

    prefix = "remove"
    use_required_attribute = False

    name = forms.CharField(label="Type the VM's name to confirm", max_length=63)

    def __init__(self, *args: Any, vm: VirtualMachine, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.vm = vm

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        if name != self.vm.name:
            raise forms.ValidationError(
                f"This is not the VM's name. Type “{self.vm.name}” to remove its NIC."
            )
        return name


def network_words(network: Network) -> str:
    """A network in a line, for choosing one."""
    where = "NAT" if network.kind == Network.Kind.NAT else f"bridge {network.bridge}"
    if network.vlan:
        where += f", VLAN {network.vlan}"
    subnets = [subnet for subnet in (network.subnet, network.subnet6) if subnet]
    return f"{network.name} — {where}, {' and '.join(subnets) or 'DHCP of the site'}"
