"""What a guest would be told, before it is made."""

import email
import email.policy
from collections.abc import Mapping
from dataclasses import dataclass, replace

from django.db import transaction

from agent.protocol import NicSpec
from hypervisors.models import Hypervisor
from tenants.actor import Actor
from vms.services.creation import VmRequest, vm_create
from vms.services.specs import guest_spec, nic_specs
from vms.services.variables import filled_in

_STAND_IN = "not the password"


@dataclass(frozen=True, kw_only=True)
class Preview:
    """`parts`: kind and text of each part of the user-data that is not secret, filled in."""

    hostname: str
    username: str
    ssh_keys: int
    nics: list[NicSpec]
    parts: list[tuple[str, str]]
    variables: Mapping[str, str]
    tags: Mapping[str, str]
    vendor_data: bool


def vm_preview(*, actor: Actor, hypervisor: Hypervisor, request: VmRequest) -> Preview:
    """Everything is checked as in a creation, which then is taken back: no row, no event and no
    job stays, and addresses that nobody chose may be others a moment later.

    `request` need not hold the secrets. Raises what `vm_create` raises.
    """
    if request.password is None and not request.ssh_keys:
        request = replace(request, password=_STAND_IN)
    with transaction.atomic():
        vm, _ = vm_create(actor=actor, hypervisor=hypervisor, request=request)
        spec, nics = guest_spec(vm), nic_specs(vm)
        transaction.set_rollback(True)
    return Preview(
        hostname=spec.hostname,
        username=spec.username,
        ssh_keys=len(spec.ssh_keys),
        nics=nics,
        parts=_parts(filled_in(spec.user_data or "", spec.variables)),
        variables=spec.variables,
        tags=spec.tags,
        vendor_data=spec.vendor_data is not None,
    )


def _parts(user_data: str) -> list[tuple[str, str]]:
    if not user_data.strip():
        return []
    if not user_data.lstrip().lower().startswith(("content-type:", "mime-version:")):
        return [(_kind(user_data), user_data)]
    message = email.message_from_bytes(user_data.encode(), policy=email.policy.default)
    texts = []
    for part in message.walk():
        content = None if part.is_multipart() else part.get_payload(decode=True)
        if isinstance(content, bytes):
            text = content.decode(errors="replace")
            texts.append((_kind(text), text))
    return texts


def _kind(text: str) -> str:
    return "Cloud-config" if text.lstrip().startswith("#cloud-config") else "Script"
