"""Forms of the VM page that change what a guest is told."""

from typing import Any

from django import forms

from vms.models import VirtualMachine
from vms.services.sealed import sealed_read

_SCRIPT = forms.Textarea(attrs={"rows": 5, "class": "mono", "spellcheck": "false"})


class TellForm(forms.Form):
    """What can be told without a first boot. Tags are lines of `name = value`."""

    prefix = "tell"
    use_required_attribute = False

    ssh_keys = forms.CharField(
        label="SSH keys",
        required=False,
        max_length=600_000,
        widget=forms.Textarea(attrs={"rows": 3, "class": "mono", "spellcheck": "false"}),
        help_text="One on each line.",
    )
    tags = forms.CharField(
        label="Tags",
        required=False,
        max_length=80_000,
        widget=forms.Textarea(attrs={"rows": 3, "class": "mono", "spellcheck": "false"}),
        help_text="One on each line, as name = value.",
    )
    user_data = forms.CharField(
        label="Script, without secrets",
        required=False,
        max_length=65_536,
        strip=False,
        widget=_SCRIPT,
        help_text="It stays readable in the guest. It runs in a first boot.",
    )

    def __init__(self, *args: Any, vm: VirtualMachine, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.vm = vm
        self.initial.update(
            ssh_keys="\n".join(vm.ssh_keys),
            tags="\n".join(f"{name} = {value}" for name, value in vm.tags.items()),
            user_data=vm.user_data,
        )

    def clean_ssh_keys(self) -> list[str]:
        lines = self.cleaned_data["ssh_keys"].splitlines()
        return [line.strip() for line in lines if line.strip()]

    def clean_tags(self) -> dict[str, str]:
        tags = {}
        for line in self.cleaned_data["tags"].splitlines():
            if not line.strip():
                continue
            name, sign, value = line.partition("=")
            if not sign:
                raise forms.ValidationError(f"“{line.strip()[:40]}” is no “name = value”.")
            tags[name.strip()] = value.strip()
        return tags


class _AgainForm(forms.Form):
    """The name typed is the confirmation. `sealed` holds, in base64, what the browser has sealed
    to the host; without scripts secrets come in clear, over TLS, and are sealed at the door."""

    use_required_attribute = False

    sealed = forms.CharField(required=False, max_length=360_000, widget=forms.HiddenInput)
    sealed_holds = forms.CharField(required=False, max_length=40, widget=forms.HiddenInput)
    name = forms.CharField(label="Type the VM's name to confirm", max_length=63)

    def __init__(self, *args: Any, vm: VirtualMachine, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.vm = vm

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        if name != self.vm.name:
            raise forms.ValidationError(
                f"This is not the VM's name. Type “{self.vm.name}” to confirm."
            )
        return name

    def secrets(self) -> dict[str, Any]:
        """Arguments of `vm_first_boot`. Raises InvalidInputError."""
        values = self.cleaned_data
        if not values["sealed"]:
            return {
                "password": values["password"] or None,
                "user_data": values.get("user_data") or None,
            }
        holds = values["sealed_holds"].split()
        sealed = sealed_read(
            vm_id=self.vm.id,
            box=values["sealed"],
            has_password="password" in holds,
            has_user_data="user_data" in holds,
        )
        return {"sealed": sealed}


def _password(label: str, *, help_text: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        # Not here, where it may be sealed: the service knows.
        required=False,
        strip=False,
        max_length=128,
        widget=forms.PasswordInput(
            attrs={"autocomplete": "new-password", "data-secret": "password"}
        ),
        help_text=help_text,
    )


class PasswordForm(_AgainForm):
    prefix = "password"

    password = _password(
        "New password", help_text="Sealed for the host in your browser; not kept here."
    )


class FirstBootForm(_AgainForm):
    prefix = "first-boot"

    password = _password("Password", help_text="Without one, only the SSH keys let somebody in.")
    user_data = forms.CharField(
        label="Script with secrets",
        required=False,
        max_length=65_536,
        strip=False,
        widget=forms.Textarea(
            attrs={
                "rows": 5,
                "class": "mono",
                "spellcheck": "false",
                "data-secret": "user_data",
            }
        ),
        help_text="Beside the one without secrets. Sealed for the host in your browser.",
    )
