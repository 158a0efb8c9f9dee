"""Forms of a host's networks."""

import ipaddress
from typing import Any

from django import forms

from hypervisors.models import Network
from hypervisors.services.networks import NetworkChanges


def _line(placeholder: str) -> forms.TextInput:
    return forms.TextInput(
        attrs={"class": "mono", "spellcheck": "false", "placeholder": placeholder}
    )


class ToldFields(forms.Form):
    """What guests are told of a network beside its subnets."""

    use_required_attribute = False

    gateway = forms.GenericIPAddressField(label="Gateway", protocol="ipv4", required=False)
    gateway6 = forms.GenericIPAddressField(label="IPv6 gateway", protocol="ipv6", required=False)
    dns = forms.CharField(
        label="DNS servers",
        max_length=400,
        required=False,
        help_text="Separated by commas. Empty: as the host has them.",
    )
    search = forms.CharField(
        label="Search domains",
        max_length=600,
        required=False,
        help_text="Separated by commas: guests complete short names with them.",
        widget=_line("corp.example.com"),
    )
    routes = forms.CharField(
        label="More routes",
        max_length=4000,
        required=False,
        help_text="One a line: where it leads, and its gateway on this network.",
        widget=forms.Textarea(
            attrs={
                "rows": 2,
                "class": "mono",
                "spellcheck": "false",
                "placeholder": "10.30.0.0/16 via 10.20.30.254",
            }
        ),
    )
    mtu = forms.IntegerField(label="MTU", min_value=576, max_value=9216, initial=1500)

    def clean_dns(self) -> list[str]:
        servers = _words(self.cleaned_data["dns"])
        for server in servers:
            try:
                ipaddress.ip_address(server)
            except ValueError as error:
                raise forms.ValidationError(f"“{server}” is not an IP address.") from error
        return servers

    def clean_search(self) -> list[str]:
        return _words(self.cleaned_data["search"])

    def clean_routes(self) -> list[dict[str, str]]:
        routes = []
        for line in self.cleaned_data["routes"].splitlines():
            words = [word for word in line.split() if word.lower() != "via"]
            if not words:
                continue
            if len(words) != 2:
                raise forms.ValidationError(
                    f"“{line.strip()[:80]}” is not a route. Write it like 10.30.0.0/16 via "
                    "10.20.30.254."
                )
            routes.append({"destination": words[0], "gateway": words[1]})
        return routes


class NetworkForm(ToldFields):
    name = forms.CharField(label="Name", max_length=63)
    kind = forms.ChoiceField(label="Kind", choices=Network.Kind.choices, initial="nat")
    addressing = forms.ChoiceField(
        label="Addresses", choices=Network.Addressing.choices, initial="site", required=False
    )
    bridge = forms.CharField(
        label="Bridge of the host", max_length=15, required=False, help_text="For example br0."
    )
    vlan = forms.IntegerField(
        label="VLAN",
        required=False,
        min_value=1,
        max_value=4094,
        help_text="Empty: as the bridge is, without a tag.",
    )
    subnet = forms.CharField(
        label="Subnet",
        max_length=43,
        required=False,
        help_text="For example 10.20.30.0/24.",
    )
    subnet6 = forms.CharField(
        label="IPv6 subnet",
        max_length=49,
        required=False,
        help_text="Empty: no IPv6 addresses from here.",
    )

    def __init__(self, *args: Any, suggested6: str = "fd00::/64", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["gateway"].help_text = "Empty on NAT: the first address of the subnet."
        self.fields["subnet6"].help_text = f"On NAT for example {suggested6}. Empty: no IPv6."

    @property
    def more_open(self) -> bool:
        """Whether the folded part has something in it that should be seen."""
        names = ("dns", "search", "routes", "mtu", "subnet6", "gateway6")
        filled = any(bool(self[name].value()) for name in ("dns", "search", "routes", "subnet6"))
        return filled or any(name in self.errors for name in names)

    def wishes(self) -> dict[str, Any]:
        """Arguments of `network_create`."""
        values = dict(self.cleaned_data)
        if values["kind"] == Network.Kind.NAT:
            values |= {"addressing": Network.Addressing.PORTAL, "bridge": "", "vlan": None}
        elif values["addressing"] != Network.Addressing.PORTAL:
            values |= {"subnet": "", "gateway": None, "subnet6": "", "gateway6": None}
            values |= {"routes": [], "addressing": Network.Addressing.SITE}
        for name in ("gateway", "gateway6"):
            values[name] = values[name] or None
        return values


class NetworkChangeForm(ToldFields):
    def __init__(self, *args: Any, network: Network, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial.update(
            gateway=network.gateway,
            gateway6=network.gateway6,
            dns=", ".join(network.dns),
            search=", ".join(network.search),
            routes="\n".join(
                f"{route['destination']} via {route['gateway']}" for route in network.routes
            ),
            mtu=network.mtu,
        )
        for name, subnet in (("gateway", network.subnet), ("gateway6", network.subnet6)):
            if not subnet:
                del self.fields[name]
        if network.addressing != Network.Addressing.PORTAL:
            del self.fields["routes"]

    def wishes(self) -> NetworkChanges:
        """What is asked of `network_change`."""
        values = self.cleaned_data
        changes: NetworkChanges = {
            "dns": values["dns"],
            "search": values["search"],
            "mtu": values["mtu"],
        }
        if "routes" in values:
            changes["routes"] = values["routes"]
        if "gateway" in values:
            changes["gateway"] = values["gateway"] or None
        if "gateway6" in values:
            changes["gateway6"] = values["gateway6"] or None
        return changes


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()
