"""Forms about oneself."""

from django import forms

from portal.views.forms.places import time_zones
from tenants.errors import InvalidInputError
from tenants.ssh_keys import ssh_keys_check


class ProfileForm(forms.Form):
    use_required_attribute = False

    name = forms.CharField(label="Name", max_length=100, required=False)
    time_zone = forms.ChoiceField(
        label="Time zone", choices=time_zones, help_text="Times are shown in it."
    )
    ssh_keys = forms.CharField(
        label="Your SSH keys",
        required=False,
        max_length=100_000,
        help_text="Public keys, one a line. A new VM begins with them.",
        widget=forms.Textarea(
            attrs={"rows": 3, "class": "mono", "spellcheck": "false", "autocomplete": "off"}
        ),
    )

    def clean_ssh_keys(self) -> list[str]:
        try:
            return ssh_keys_check(self.cleaned_data["ssh_keys"].splitlines())
        except InvalidInputError as refusal:
            raise forms.ValidationError(refusal.message) from refusal
