"""Forms for customers, sites, hosts and their networks."""

from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.db.models import Q

from hypervisors.models import Hypervisor
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


class CustomerRemoveForm(forms.Form):
    """The name typed is the confirmation."""

    prefix = "remove"
    use_required_attribute = False

    name = forms.CharField(label="Type the customer's name to confirm", max_length=100)

    def __init__(self, *args: Any, customer: Tenant, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.customer = customer

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        if name != self.customer.name:
            raise forms.ValidationError("This is not its name. Nothing was deleted.")
        return name


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
