"""The part of the form that says what happens in the first boot."""

from collections.abc import Callable
from typing import Any, TypeVar

from django import forms
from django.http import QueryDict

from portal.views.forms.places import time_zones
from tenants.errors import InvalidInputError
from tenants.services.custom_fields import custom_fields_read
from vms.services.setup import (
    Setup,
    lines_read,
    mounts_read,
    packages_read,
    users_read,
)

_LONGEST = 65_536
Read = TypeVar("Read")


def _lines(rows: int, placeholder: str) -> forms.Textarea:
    return forms.Textarea(
        attrs={"rows": rows, "class": "mono", "spellcheck": "false", "placeholder": placeholder}
    )


class SetupFields(forms.Form):
    """The usual wishes, one's own script, and tags."""

    time_zone = forms.ChoiceField(label="Time zone", required=False)
    packages = forms.CharField(
        label="Packages",
        required=False,
        max_length=_LONGEST,
        help_text="Names, separated by blanks. They need a way to the package servers.",
        widget=forms.TextInput(
            attrs={"class": "mono", "spellcheck": "false", "placeholder": "nginx htop"}
        ),
    )
    upgrade = forms.BooleanField(
        label="Bring all packages up to date in the first boot", required=False
    )
    users = forms.CharField(
        label="More users",
        required=False,
        max_length=_LONGEST,
        help_text="One a line: a name and an SSH public key. They may use sudo, without password.",
        widget=_lines(2, "anna ssh-ed25519 AAAA… anna@example.com"),
    )
    commands = forms.CharField(
        label="Commands",
        required=False,
        max_length=_LONGEST,
        help_text="One a line, run as root at the end of the first boot.",
        widget=_lines(3, "systemctl enable --now nginx"),
    )
    proxy = forms.CharField(
        label="Proxy",
        required=False,
        max_length=500,
        help_text="For packages and all sessions.",
        widget=forms.TextInput(
            attrs={"spellcheck": "false", "placeholder": "http://10.0.0.8:3128"}
        ),
    )
    mounts = forms.CharField(
        label="Shares and other mounts",
        required=False,
        max_length=_LONGEST,
        help_text="One a line, as in fstab: source, directory, type, options.",
        widget=_lines(2, "nas.example.com:/share /mnt/share nfs ro"),
    )
    user_data = forms.CharField(
        label="Script or cloud-config",
        required=False,
        strip=False,
        max_length=_LONGEST,
        help_text="Starts with #!/bin/sh for a script, or #cloud-config for YAML. Runs once, at "
        "the first boot.",
        widget=_lines(8, "#!/bin/sh\necho {{ site.name }} > /etc/motd"),
    )
    readable = forms.BooleanField(
        label="It holds no secrets: keep it readable",
        required=False,
        help_text="Otherwise it is sealed for the host, never shown again, and the guest can read "
        "it until its first boot is done.",
    )
    tags = forms.CharField(
        label="Tags",
        required=False,
        max_length=_LONGEST,
        help_text="One a line: name = value. Programs in the guest can read them.",
        widget=_lines(2, "role = web"),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["time_zone"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - declared above
        field.choices = [("", "As the image has it"), *time_zones()]

    @property
    def setup_open(self) -> bool:
        """Whether the folded part has something in it that should be seen."""
        names = ("packages", "upgrade", "users", "commands", "proxy", "mounts", "tags")
        return any(bool(self[name].value()) or name in self.errors for name in names)

    @property
    def data_rows(self) -> list[tuple[str, str]]:
        """Size and directory of each data disk, as they were typed."""
        if isinstance(self.data, QueryDict):
            sizes, mounts = self.data.getlist("data_disk"), self.data.getlist("data_mount")
        else:
            sizes, mounts = list(self.initial.get("data_disks", [])), []
        return list(zip(sizes, [*mounts, *([""] * len(sizes))], strict=False))

    def clean_users(self) -> list[tuple[str, str]]:
        return users_read(self.cleaned_data["users"])

    def clean_mounts(self) -> list[tuple[str, str, str, str]]:
        return self._read(mounts_read, "mounts")

    def clean_tags(self) -> dict[str, str]:
        return self._read(lambda text: custom_fields_read(text, field="tags"), "tags")

    def _read(self, reader: Callable[[str], Read], name: str) -> Read:
        try:
            return reader(self.cleaned_data[name])
        except InvalidInputError as refusal:
            raise forms.ValidationError(refusal.message) from refusal

    def setup(self) -> Setup:
        """The wishes of a valid form."""
        values = self.cleaned_data
        return Setup(
            packages=packages_read(values["packages"]),
            upgrade=values["upgrade"],
            time_zone=values["time_zone"],
            proxy=values["proxy"],
            users=values["users"],
            mounts=values["mounts"],
            data_mounts=[mount for size, mount in self.data_rows if size.strip()],
            commands=lines_read(values["commands"]),
        )
