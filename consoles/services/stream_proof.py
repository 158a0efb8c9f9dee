"""Whether an agent that dials a stream is the one that was asked to."""

import uuid

from django.conf import settings

from agent.protocol import SignatureError, stream_statement, verify
from hypervisors.models import Hypervisor
from tenants.scope import system_scope


def stream_proven(*, stream_id: uuid.UUID, hypervisor_id: uuid.UUID, signature: bytes) -> bool:
    """True if this host signed this stream's statement."""
    with system_scope("a host says who it is, before its tenant is known"):
        host = Hypervisor.objects.filter(pk=hypervisor_id).only("sign_public").first()
    if host is None:
        return False
    statement = stream_statement(
        stream_id=str(stream_id),
        hypervisor_id=str(hypervisor_id),
        origin=settings.BASALT_ORIGIN,
    )
    try:
        verify(bytes(host.sign_public), signature, statement)
    except SignatureError:
        return False
    return True
