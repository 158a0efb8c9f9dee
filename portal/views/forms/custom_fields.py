"""Fields of one's own, and what an MSP does in all first boots."""

from django import forms

from tenants.errors import InvalidInputError
from tenants.models import Site, Tenant
from tenants.services.custom_fields import custom_fields_read, custom_fields_write


class CustomFieldsForm(forms.Form):
    prefix = "fields"
    use_required_attribute = False

    custom_fields = forms.CharField(
        label="Fields",
        required=False,
        max_length=20_000,
        help_text="One a line: name = value. No secrets: who sees it here, and every program in "
        "its VMs, can read them.",
        widget=forms.Textarea(
            attrs={
                "rows": 6,
                "class": "mono",
                "spellcheck": "false",
                "placeholder": "ntp_server = 10.0.0.1",
            }
        ),
    )

    def clean_custom_fields(self) -> dict[str, str]:
        try:
            return custom_fields_read(self.cleaned_data["custom_fields"])
        except InvalidInputError as refusal:
            raise forms.ValidationError(refusal.message) from refusal


def custom_fields_form(owner: Tenant | Site) -> CustomFieldsForm:
    """The form with the fields as they are."""
    return CustomFieldsForm(initial={"custom_fields": custom_fields_write(owner.custom_fields)})


class VendorDataForm(forms.Form):
    prefix = "vendor"
    use_required_attribute = False

    vendor_data = forms.CharField(
        label="Script or cloud-config",
        required=False,
        strip=False,
        max_length=65_536,
        help_text="No secrets: every program in the VMs can read it. Variables may be used. What a "
        "VM's own script says wins.",
        widget=forms.Textarea(
            attrs={
                "rows": 8,
                "class": "mono",
                "spellcheck": "false",
                "placeholder": "#cloud-config\npackages: [qemu-guest-agent]",
            }
        ),
    )
