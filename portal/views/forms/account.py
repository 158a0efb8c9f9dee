"""Forms about oneself."""

from django import forms

from portal.views.forms.places import time_zones


class ProfileForm(forms.Form):
    use_required_attribute = False

    name = forms.CharField(label="Name", max_length=100, required=False)
    time_zone = forms.ChoiceField(
        label="Time zone", choices=time_zones, help_text="Times are shown in it."
    )


class TokenForm(forms.Form):
    prefix = "token"
    use_required_attribute = False

    name = forms.CharField(
        label="What it is for", max_length=100, help_text="For example “backup script”."
    )
    days = forms.ChoiceField(
        label="Good for",
        choices=[("30", "30 days"), ("90", "90 days"), ("365", "a year"), ("", "until revoked")],
        initial="90",
        required=False,
    )
