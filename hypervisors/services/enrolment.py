"""Enrolment: a machine with a join token becomes a host of the token's site."""

import re
import uuid
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.utils import timezone

from agent.protocol import VERSION, SealError, seal
from hypervisors.models import Hypervisor, JoinToken
from hypervisors.services.join_tokens import join_token_hash
from hypervisors.services.networks import default_network_create
from tenants.actor import Actor
from tenants.errors import InvalidInputError, RuleError
from tenants.scope import system_scope, tenant_scope
from tenants.services.audit import audit_record
from tenants.services.live import live_publish

_KEY_BYTES = 32
_NAME_LENGTH = 63
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9-]+")
_MACHINE_ID = re.compile(r"\A[0-9a-f]{32,64}\Z")


class TokenInvalidError(RuleError):
    code = "token_invalid"
    status = 403


class TokenExpiredError(RuleError):
    code = "token_expired"
    status = 403


class TokenRevokedError(RuleError):
    code = "token_revoked"
    status = 403


class TokenUsedUpError(RuleError):
    code = "token_used_up"
    status = 403


class KeysKnownError(RuleError):
    """These keys belong to a host of another site already."""

    code = "keys_known"
    status = 409


@dataclass(frozen=True, kw_only=True)
class EnrolmentRequest:
    """What a machine says about itself. Keys are raw 32 bytes; nothing here is secret but
    `token`."""

    token: str
    name: str
    machine_id: str
    sign_public: bytes
    seal_public: bytes
    protocol: int
    agent_version: str


@transaction.atomic
def hypervisor_enrol(*, actor: Actor, request: EnrolmentRequest) -> tuple[Hypervisor, bool]:
    """The host, and whether it is new. Asking again with the same keys and token answers the
    same host: an answer that was lost on its way costs nothing.

    Raises InvalidInputError, TokenInvalidError, TokenExpiredError, TokenRevokedError,
    TokenUsedUpError, KeysKnownError.
    """
    _check(request)
    with system_scope("a join token says which tenant a machine comes to"):
        # Whoever joins with one token takes turns, so that it is never used once too often.
        token = (
            JoinToken.objects.select_for_update(of=("self",))
            .select_related("site", "tenant")
            .filter(hash=join_token_hash(request.token))
            .first()
        )
    if token is None:
        raise TokenInvalidError(
            "This join token is not known. Copy the whole command from the site's page again, "
            "or make a new token there."
        )
    with tenant_scope([token.tenant_id]):
        return _enrol(actor, token, request)


def _enrol(actor: Actor, token: JoinToken, request: EnrolmentRequest) -> tuple[Hypervisor, bool]:
    known = _known(request)
    if known is not None and known.joined_with_id == token.pk:
        return known, False
    _check_usable(token)
    if known is not None:
        if known.site_id != token.site_id:
            raise KeysKnownError(
                "This host is enrolled at another site already. Remove it there, remove its "
                "agent's folder, and enrol it again."
            )
        return known, False
    host = _create(token, request)
    JoinToken.objects.filter(pk=token.pk).update(used_count=token.used_count + 1)
    default_network_create(host)
    audit_record(
        actor=actor,
        tenant=token.tenant,
        action="hypervisor.enrol",
        object_kind="hypervisor",
        object_id=host.id,
        object_name=host.name,
        site_id=token.site_id,
        after={"name": host.name, "site": token.site.name, "joined_with": str(token)},
    )
    live_publish(tenant_id=host.tenant_id, kind="hypervisor", object_id=host.id)
    return host, True


def _check(request: EnrolmentRequest) -> None:
    if request.protocol not in (VERSION, VERSION - 1):
        raise InvalidInputError(
            f"This agent speaks version {request.protocol} of the protocol, and the portal "
            f"version {VERSION}. Install the agent again from the portal's install command.",
            field="protocol",
            code="protocol",
        )
    if not _MACHINE_ID.match(request.machine_id):
        raise InvalidInputError(
            "The machine id is not 32 to 64 hexadecimal digits.", field="machine_id"
        )
    keys = request.sign_public, request.seal_public
    if any(len(key) != _KEY_BYTES for key in keys) or keys[0] == keys[1]:
        raise InvalidInputError("The host's public keys must be two keys of 32 bytes each.")
    try:
        seal(request.seal_public, b"", purpose="enrolment")
    except SealError as error:
        raise InvalidInputError(
            "The host's sealing key is not usable. Remove the agent's keys folder and enrol again.",
            field="seal_public",
        ) from error


def _check_usable(token: JoinToken) -> None:
    if token.revoked_at is not None:
        raise TokenRevokedError("This join token was revoked. Make a new one on the site's page.")
    if token.expires_at <= timezone.now():
        raise TokenExpiredError(
            f"This join token expired on {token.expires_at:%d %b %Y at %H:%M} UTC. Make a new "
            "one on the site's page."
        )
    if token.used_count >= token.max_uses:
        hosts = "one host" if token.max_uses == 1 else f"{token.max_uses} hosts"
        raise TokenUsedUpError(
            f"This join token was for {hosts} and is used up. Make a new one on the site's page."
        )


def _known(request: EnrolmentRequest) -> Hypervisor | None:
    with system_scope("a host's keys are its own in the whole portal"):
        host = Hypervisor.objects.filter(sign_public=request.sign_public).first()
    if host is not None and bytes(host.seal_public) != request.seal_public:
        raise KeysKnownError(
            "One of this host's two keys is known with another partner: its keys folder was "
            "mixed up. Remove the agent's folder and enrol again."
        )
    return host


def _create(token: JoinToken, request: EnrolmentRequest) -> Hypervisor:
    base = host_name_from(request.name)
    for number in range(1, 10_000):
        suffix = "" if number == 1 else f"-{number}"
        name = base[: _NAME_LENGTH - len(suffix)] + suffix
        if Hypervisor.objects.filter(tenant_id=token.tenant_id, name__iexact=name).exists():
            continue
        try:
            with transaction.atomic():
                return Hypervisor.objects.create(
                    id=uuid.uuid4(),
                    tenant_id=token.tenant_id,
                    site_id=token.site_id,
                    name=name,
                    machine_id=request.machine_id,
                    sign_public=request.sign_public,
                    seal_public=request.seal_public,
                    joined_with=token,
                    agent_version=request.agent_version[:255],
                    protocol=request.protocol,
                )
        except IntegrityError:
            # Another token's host took the name (or these very keys) in the same moment.
            known = _known(request)
            if known is not None:
                raise KeysKnownError(
                    "This host is being enrolled with another token. Wait a moment, then look "
                    "for it on the hosts page."
                ) from None
    raise InvalidInputError(f"Too many hosts are named “{base}”. Give another name.", field="name")


def host_name_from(hostname: str) -> str:
    """A name that fits pages' addresses, from what a machine calls itself."""
    return _NOT_IN_A_NAME.sub("-", hostname).strip("-")[:_NAME_LENGTH].strip("-") or "host"
