"""Secrets of a guest, sealed to its host: by whoever sends them, or at the portal's door."""

import base64
import binascii
import uuid
from dataclasses import dataclass, field

import msgspec

from agent.protocol import SealError, seal
from hypervisors.models import Hypervisor, Job
from tenants.errors import InvalidInputError
from tenants.scope import system_scope
from vms.models import VirtualMachine

# An X25519 key and the tag of ChaCha20-Poly1305; and agent.protocol.GuestSpec's bound.
_LEAST, _MOST = 32 + 16, 262_144
_FIELD = "sealed_secrets"


@dataclass(frozen=True, kw_only=True)
class SealedSecrets:
    """What a sender sealed with the purpose `vm:<vm_id>`, which is why it chooses the VM's id.
    Nobody here can look inside: `has_password` and `has_user_data` are the sender's word."""

    vm_id: uuid.UUID
    box: bytes = field(repr=False)
    has_password: bool
    has_user_data: bool


def sealed_read(
    *, vm_id: uuid.UUID, box: str, has_password: bool, has_user_data: bool
) -> SealedSecrets:
    """From base64, as it comes over the wire. Raises InvalidInputError."""
    try:
        content = base64.b64decode(box, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError("What was sealed is not base64.", field=_FIELD) from error
    if not _LEAST <= len(content) <= _MOST:
        raise InvalidInputError(
            f"What was sealed has {len(content)} bytes; it has between {_LEAST} and {_MOST}.",
            field=_FIELD,
        )
    if not has_password and not has_user_data:
        raise InvalidInputError(
            "Say what was sealed: the password, the user-data or both.", field="sealed_holds"
        )
    return SealedSecrets(
        vm_id=vm_id, box=content, has_password=has_password, has_user_data=has_user_data
    )


def vm_id_check(vm_id: uuid.UUID) -> None:
    """An id that a sender chose is nobody's, and was nobody's. Raises InvalidInputError."""
    with system_scope("an id is unique in the whole portal"):
        known = (
            VirtualMachine.objects.filter(pk=vm_id).exists()
            or Job.objects.filter(subject_id=vm_id).exists()
        )
    if known or vm_id.version != 4:
        raise InvalidInputError(
            "This id can't be taken. Make a fresh random one (UUID, version 4), and seal the "
            "secrets with it.",
            field="id",
        )


def secrets_seal(
    *, hypervisor: Hypervisor, vm_id: uuid.UUID, password: str | None, user_data: str | None
) -> bytes | None:
    """Clear secrets, readable by this host alone from now on. None: there are none.

    Raises InvalidInputError.
    """
    if not password and not user_data:
        return None
    plain = msgspec.msgpack.encode({"password": password or None, "user_data": user_data or None})
    try:
        return seal(bytes(hypervisor.seal_public), plain, purpose=f"vm:{vm_id}")
    except SealError as error:
        raise InvalidInputError(
            f"The key of {hypervisor.name} can't be used to keep secrets. Remove the host and "
            "let it join again.",
            field="hypervisor",
        ) from error
