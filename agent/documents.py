"""What each NIC's metadata service serves, composed with the secrets opened in memory."""

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from agent.errors import JobFailedError
from agent.facts import host_dns
from agent.keys import HostKeys
from agent.protocol import NicSpec, SealError
from agent.records import VmRecord

if TYPE_CHECKING:
    from metadata.documents import NicDocument

log = structlog.get_logger("agent.documents")


class Secrets(msgspec.Struct, frozen=True):
    """What the portal seals for one guest. Never logged, never written in clear."""

    password: str | None = None
    user_data: str | None = None

    def __repr__(self) -> str:
        return "Secrets(...)"


class DocumentWriter:
    """Makes a NIC's document from the guest's record."""

    def __init__(self, keys: HostKeys) -> None:
        self._keys = keys

    async def __call__(self, record: VmRecord, nic: NicSpec) -> "NicDocument":
        """Raises JobFailedError when the secrets were sealed for another host."""
        from agent.network.compose import hash_password, nic_document

        secrets = self._open(record)
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
        # After the first boot nothing secret is served again, whatever restarts.
        over = record.cloud_init == "done"
        return msgspec.structs.replace(document, sealed=True) if over else document

    def _open(self, record: VmRecord) -> Secrets:
        sealed = record.guest.sealed_secrets
        if sealed is None:
            return Secrets()
        try:
            plain = self._keys.open_sealed(sealed, purpose=f"vm:{record.vm_id}")
            content: dict[str, Any] = msgspec.msgpack.decode(plain)
            return msgspec.convert(content, Secrets)
        except (SealError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise JobFailedError(
                "internal",
                "The VM's password and script were sealed for another host, so this one cannot "
                "read them. Create the VM again.",
            ) from error
