"""Secrets that the browser has sealed to the host before it sent the form.

Without scripts they come in clear, over TLS, and are sealed at the door.
"""

import base64
import json
import uuid
from typing import Any

from django import forms

from hypervisors.models import Hypervisor
from tenants.errors import InvalidInputError
from vms.services.sealed import SealedSecrets, sealed_read

_SEAL_AGAIN = (
    "The password and the script were sealed for another host. Give them again: nobody could "
    "read them there."
)


class SealedFields(forms.Form):
    """`sealed`: a box for each host that the VM may come to be on, as JSON, {host id: base64}."""

    vm_id = forms.UUIDField(required=False)
    sealed = forms.CharField(required=False, max_length=4_000_000)
    sealed_holds = forms.CharField(required=False, max_length=40)

    def clean_sealed(self) -> dict[str, str]:
        text = self.cleaned_data["sealed"]
        if not text:
            return {}
        try:
            boxes = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(_SEAL_AGAIN) from error
        if not isinstance(boxes, dict) or not all(isinstance(box, str) for box in boxes.values()):
            raise forms.ValidationError(_SEAL_AGAIN)
        return boxes

    def sealed_for(self, host: Hypervisor) -> SealedSecrets | None:
        """What was sealed for this host. Raises InvalidInputError."""
        boxes, vm_id = self.cleaned_data["sealed"], self.cleaned_data["vm_id"]
        if not boxes:
            return None
        holds = self.cleaned_data["sealed_holds"].split()
        box = boxes.get(str(host.id))
        if box is None or not isinstance(vm_id, uuid.UUID):
            raise InvalidInputError(_SEAL_AGAIN, field="password")
        return sealed_read(
            vm_id=vm_id,
            box=box,
            has_password="password" in holds,
            has_user_data="user_data" in holds,
        )


def seal_keys(hosts: list[Hypervisor]) -> str:
    """The hosts' public keys for the browser: JSON, {host id: base64}."""
    keys: dict[str, Any] = {
        str(host.id): base64.b64encode(bytes(host.seal_public)).decode() for host in hosts
    }
    return json.dumps(keys)
