"""Forms of the VM page: resize, rename, delete."""

import uuid
from decimal import Decimal
from typing import Any

from django import forms

from vms.models import VirtualMachine


class ResizeForm(forms.Form):
    """Sizes of processors, memory and disks; fields `disk_<id>` are made for each disk."""

    prefix = "resize"
    use_required_attribute = False

    vcpus = forms.IntegerField(label="Processors", min_value=1, max_value=512)
    memory_gib = forms.DecimalField(
        label="Memory (GiB)", min_value=Decimal("0.0625"), max_value=16_384, decimal_places=4
    )
    new_disk = forms.IntegerField(
        label="Add a data disk (GiB)", required=False, min_value=1, max_value=65_536
    )
    autostart = forms.BooleanField(
        label="Start again after the host had a power cut", required=False
    )

    def __init__(self, *args: Any, vm: VirtualMachine, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.vm = vm
        self.initial.update(
            vcpus=vm.vcpus, memory_gib=f"{vm.memory_mib / 1024:g}", autostart=vm.autostart
        )
        for disk in vm.disks.all():
            name = f"disk_{disk.id}"
            self.fields[name] = forms.IntegerField(
                label="Boot disk (GiB)" if disk.position == 0 else f"Disk {disk.position} (GiB)",
                min_value=disk.size_gib,
                max_value=65_536,
                error_messages={
                    "min_value": f"A disk can only grow: it has {disk.size_gib} GiB already."
                },
            )
            self.initial[name] = disk.size_gib

    @property
    def disk_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith("disk_")]

    def wishes(self) -> dict[str, Any]:
        """Arguments of `vm_resize`: None where nothing changed."""
        values = self.cleaned_data
        disks: list[tuple[uuid.UUID | None, int]] = [
            (disk.id, values[f"disk_{disk.id}"])
            for disk in self.vm.disks.all()
            if values[f"disk_{disk.id}"] != disk.size_gib
        ]
        if values.get("new_disk"):
            disks.append((None, values["new_disk"]))
        memory_mib = int(values["memory_gib"] * 1024)
        return {
            "vcpus": values["vcpus"] if values["vcpus"] != self.vm.vcpus else None,
            "memory_mib": memory_mib if memory_mib != self.vm.memory_mib else None,
            "disks": disks or None,
            "autostart": (
                values["autostart"] if values["autostart"] != self.vm.autostart else None
            ),
        }


class RenameForm(forms.Form):
    prefix = "rename"
    use_required_attribute = False

    name = forms.CharField(
        label="New name",
        max_length=63,
        help_text="The guest learns its host name at its next boot.",
    )


class DeleteForm(forms.Form):
    """The name typed is the confirmation."""

    prefix = "delete"
    use_required_attribute = False

    name = forms.CharField(label="Type the VM's name to confirm", max_length=63)
    disks = forms.ChoiceField(
        choices=[("delete", "Delete its disks"), ("keep", "Keep its disks")], initial="delete"
    )

    def __init__(self, *args: Any, vm: VirtualMachine, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.vm = vm

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        if name != self.vm.name:
            raise forms.ValidationError(
                f"This is not the VM's name. Type “{self.vm.name}” to delete it."
            )
        return name
