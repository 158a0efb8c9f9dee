"""Forms for customers, sites, hosts and their networks."""

import ipaddress
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.db.models import Q

from hypervisors.models import Hypervisor, Network
from tenants.models import Site, Tenant, User


def time_zones() -> list[tuple[str, str]]:
    """Zones as people name them, not the old aliases."""
    names = sorted(name for name in available_timezones() if "/" in name)
    wanted = [
        name for name in names if not name.startswith(("Etc/", "SystemV/", "posix/", "right/"))
    ]
    return [("UTC", "UTC"), *((name, name.replace("_", " ")) for name in wanted)]


class CustomerForm(forms.Form):
    use_required_attribute = False

    name = forms.CharField(label="Name", max_length=100)
    parent = forms.ModelChoiceField(
        label="Looked after by", queryset=Tenant.objects.none(), empty_label=None
    )
    kind = forms.ChoiceField(
        label="What it is",
        choices=[
            (Tenant.Kind.CUSTOMER, "A customer"),
            (Tenant.Kind.GROUP, "A group of customers, for giving people access to all in it"),
        ],
        initial=Tenant.Kind.CUSTOMER,
        required=False,
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        parents = (
            Tenant.objects.allowed(user, "tenant.manage")
            .exclude(kind=Tenant.Kind.CUSTOMER)
            .order_by("-kind", "name")
        )
        field = self.fields["parent"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101 - declared above
        field.queryset = parents
        field.initial = parents.filter(kind=Tenant.Kind.MSP).first()


class SiteForm(forms.Form):
    use_required_attribute = False

    tenant = forms.ModelChoiceField(
        label="Customer", queryset=Tenant.objects.none(), to_field_name="slug", empty_label=None
    )
    name = forms.CharField(
        label="Name", max_length=100, help_text="As people there call it: “Head office”."
    )
    address = forms.CharField(label="Address", max_length=200, required=False)
    time_zone = forms.ChoiceField(
        label="Time zone", choices=time_zones, help_text="Times of the site are shown on hover."
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["tenant"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101 - declared above
        field.queryset = Tenant.objects.allowed(user, "site.manage").order_by("-kind", "name")
        if not self.is_bound:
            self.initial.setdefault("time_zone", user.time_zone)


class CustomerRenameForm(forms.Form):
    prefix = "rename"
    use_required_attribute = False

    name = forms.CharField(label="New name", max_length=100)


class CustomerMoveForm(forms.Form):
    prefix = "move"
    use_required_attribute = False

    parent = forms.ModelChoiceField(
        label="Where to", queryset=Tenant.objects.none(), to_field_name="slug", empty_label=None
    )

    def __init__(self, *args: Any, user: User, tenant: Tenant, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        top = tenant.line()[-1]
        field = self.fields["parent"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101 - declared above
        field.queryset = (
            Tenant.objects.allowed(user, "tenant.manage")
            .filter(Q(pk=top) | Q(parent=top, kind=Tenant.Kind.GROUP))
            .order_by("-kind", "name")
        )
        if tenant.parent is not None:
            self.initial["parent"] = tenant.parent.slug


class SiteChangeForm(forms.Form):
    prefix = "change"
    use_required_attribute = False

    name = forms.CharField(label="Name", max_length=100)
    address = forms.CharField(label="Address", max_length=200, required=False)
    time_zone = forms.ChoiceField(label="Time zone", choices=time_zones)


class SiteRemoveForm(forms.Form):
    """The name typed is the confirmation."""

    prefix = "remove"
    use_required_attribute = False

    name = forms.CharField(label="Type the site's name to confirm", max_length=100)

    def __init__(self, *args: Any, site: Site, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.site = site

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        if name != self.site.name:
            raise forms.ValidationError(
                f"This is not the site's name. Type “{self.site.name}” to remove it."
            )
        return name


class JoinTokenForm(forms.Form):
    prefix = "join"
    use_required_attribute = False

    max_uses = forms.IntegerField(
        label="Hosts that may join with it", min_value=1, max_value=1000, initial=1
    )
    hours = forms.ChoiceField(
        label="Good for",
        choices=[("1", "1 hour"), ("24", "1 day"), ("168", "1 week"), ("720", "30 days")],
        initial="24",
    )


class HostRenameForm(forms.Form):
    prefix = "rename"
    use_required_attribute = False

    name = forms.CharField(label="New name", max_length=63)


class HostRemoveForm(forms.Form):
    """The name typed is the confirmation."""

    prefix = "remove"
    use_required_attribute = False

    name = forms.CharField(label="Type the host's name to confirm", max_length=63)

    def __init__(self, *args: Any, host: Hypervisor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.host = host

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        if name != self.host.name:
            raise forms.ValidationError(
                f"This is not the host's name. Type “{self.host.name}” to remove it."
            )
        return name


class NetworkForm(forms.Form):
    use_required_attribute = False

    name = forms.CharField(label="Name", max_length=63)
    kind = forms.ChoiceField(label="Kind", choices=Network.Kind.choices, initial="nat")
    addressing = forms.ChoiceField(
        label="Addresses", choices=Network.Addressing.choices, initial="site", required=False
    )
    bridge = forms.CharField(
        label="Bridge of the host", max_length=15, required=False, help_text="For example br0."
    )
    subnet = forms.CharField(
        label="Subnet",
        max_length=43,
        required=False,
        help_text="For example 10.20.30.0/24.",
    )
    gateway = forms.GenericIPAddressField(
        label="Gateway",
        required=False,
        help_text="Empty: the first address of the subnet.",
    )
    dns = forms.CharField(
        label="DNS servers",
        max_length=400,
        required=False,
        help_text="Separated by commas. Empty: as the host has them.",
    )
    mtu = forms.IntegerField(label="MTU", min_value=576, max_value=9216, initial=1500)

    def clean_dns(self) -> list[str]:
        servers = [part for part in self.cleaned_data["dns"].replace(",", " ").split() if part]
        for server in servers:
            try:
                ipaddress.ip_address(server)
            except ValueError as error:
                raise forms.ValidationError(f"“{server}” is not an IP address.") from error
        return servers

    def wishes(self) -> dict[str, Any]:
        """Arguments of `network_create`."""
        values = dict(self.cleaned_data)
        if values["kind"] == Network.Kind.NAT:
            values |= {"addressing": Network.Addressing.PORTAL, "bridge": ""}
        elif values["addressing"] != Network.Addressing.PORTAL:
            values |= {"subnet": "", "gateway": None, "addressing": Network.Addressing.SITE}
        values["gateway"] = values["gateway"] or _first_address(values["subnet"], values["kind"])
        return values


def _first_address(subnet: str, kind: str) -> str | None:
    if kind != Network.Kind.NAT or not subnet:
        return None
    try:
        return str(ipaddress.ip_network(subnet, strict=False).network_address + 1)
    except ValueError:
        return None
