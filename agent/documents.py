"""What each NIC's metadata service serves, composed with the secrets opened in memory."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import msgspec
import structlog
from msgspec import Meta

from agent.errors import JobFailedError
from agent.facts import host_dns
from agent.keys import HostKeys
from agent.passwords import password_must_be_usable
from agent.protocol import NicSpec, SealError
from agent.records import VmRecord

if TYPE_CHECKING:
    from metadata.documents import NicDocument

log = structlog.get_logger("agent.documents")


_USER_DATA_BYTES = 65_536


class Secrets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the portal seals for one guest. Never logged, never written in clear."""

    password: str | None = None
    user_data: Annotated[str, Meta(max_length=_USER_DATA_BYTES)] | None = None

    def __repr__(self) -> str:
        return "Secrets(...)"


def open_secrets(keys: HostKeys, vm_id: str, sealed: bytes | None) -> Secrets:
    """What was sealed for this guest, by the portal or by the person's own browser: so its shape
    is checked here, where it can be seen for the first time.

    Raises JobFailedError `secrets_unreadable` or `secrets_invalid`.
    """
    if sealed is None:
        return Secrets()
    try:
        plain = keys.open_sealed(sealed, purpose=f"vm:{vm_id}")
    except SealError as error:
        raise JobFailedError(
            "secrets_unreadable",
            "The VM's password and script were sealed for another host or another VM, so this "
            "host cannot read them. Give them again.",
        ) from error
    try:
        secrets = msgspec.msgpack.decode(plain, type=Secrets)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise JobFailedError(
            "secrets_invalid",
            "What was sealed for the VM is not a map of “password” and “user_data”, or its "
            f"script has more than {_USER_DATA_BYTES} characters. Seal it again in that form.",
        ) from error
    _check(secrets)
    return secrets


def _check(secrets: Secrets) -> None:
    if secrets.password is not None:
        try:
            password_must_be_usable(secrets.password)
        except ValueError as error:
            raise JobFailedError("password_invalid", str(error)) from error
    text = secrets.user_data or ""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = _USER_DATA_BYTES + 1
    if size > _USER_DATA_BYTES or "\0" in text:
        raise JobFailedError(
            "secrets_invalid",
            f"The sealed script has a NUL character, is no Unicode, or has more than "
            f"{_USER_DATA_BYTES} bytes. Fetch the rest from your own server with “#include”.",
        )


class DocumentWriter:
    """Makes a NIC's document from the guest's record."""

    def __init__(self, keys: HostKeys) -> None:
        self._keys = keys

    async def __call__(self, record: VmRecord, nic: NicSpec) -> "NicDocument":
        """Raises JobFailedError when the secrets were sealed for another host."""
        from agent.network.compose import hash_password, nic_document

        # After the first boot nothing secret is served again, whatever restarts.
        sealed = None if record.over else record.guest.sealed_secrets
        secrets = open_secrets(self._keys, record.vm_id, sealed)
        password_hash = None
        if secrets.password:
            try:
                password_hash = await asyncio.to_thread(hash_password, secrets.password)
            except ValueError as error:
                raise JobFailedError("password_invalid", str(error)) from error
        document = nic_document(
            guest=record.guest,
            nic=nic,
            nics=record.nics,
            password_hash=password_hash,
            user_data=secrets.user_data,
            host_dns=host_dns(),
            instance_type=f"basalt.{record.vcpus}x{record.memory_mib}",
            image_id=record.image_id,
        )
        return msgspec.structs.replace(document, sealed=record.over, seal_at=record.seal_at)
