"""Asking a second person, deciding, and doing what two people agreed on. Once, exactly."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.utils import timezone

from tenants.actor import Actor
from tenants.errors import InvalidInputError, RuleError
from tenants.models import SecondPersonRequest, Tenant, User
from tenants.models.holdings import holdings_load
from tenants.models.second_person import MOST_THINGS
from tenants.scope import system_scope
from tenants.services.audit import audit_record
from tenants.services.limits import limit_use
from tenants.services.live import live_publish
from tenants.services.second_person_kinds import Kind, kind_named, may
from tenants.services.second_person_people import agreers
from tenants.services.second_person_rules import NobodyToAgreeError

log = structlog.get_logger("tenants.second_person")
_WHY = "a request is found by who may see it, and done as two people agreed"
_Decision = SecondPersonRequest.Decision
_MOST_COUNTED = 100


class NotTheSecondPersonError(RuleError):
    """Somebody who can't agree to this one."""

    code = "not_the_second_person"
    status = 409


class AlreadyAskedError(RuleError):
    code = "already_asked"
    status = 409


class AlreadyDecidedError(RuleError):
    code = "already_decided"
    status = 409


def agreements_waiting(user: User | AnonymousUser) -> int:
    """How many requests of others wait where this person might agree. One query."""
    rows = SecondPersonRequest.objects.allowed(user, "agreement.manage").waiting()
    return rows.exclude(asker_id=user.pk)[:_MOST_COUNTED].count()


def kind_of(request: SecondPersonRequest) -> Kind:
    """What was asked for."""
    kind = kind_named(request.kind)
    if kind is None:
        raise NotTheSecondPersonError("This version of Basalt does not know how to do this.")
    return kind


def asked_words(kind: Kind, ids: Collection[Any]) -> str:
    """Told to whoever asked."""
    return (
        f"Asked: {kind.verb.lower()} {len(ids)} {kind.nouns[len(ids) != 1]}. Nothing is done until "
        "a second person agrees, within 24 hours; you can take it back here."
    )


def rows_wanted(kind: Kind, user: User | None, ids: Collection[Any]) -> list[Any]:
    """Those of these rows that the person may do it to: as they are signed in, and by all it
    takes."""
    if user is None:
        return []
    rows: Any = kind.rows().filter(pk__in=ids)
    for permission in kind.permissions:
        rows = rows.allowed(user, permission)
    held = holdings_load(user)
    return [row for row in rows if may(kind, user, row, held=held)]


@transaction.atomic
def second_person_ask(
    *, actor: Actor, kind: Kind, rows: Sequence[Any], reason: str, option: str = ""
) -> list[SecondPersonRequest]:
    """Ask that a second person agrees to do this to `rows`, just as they are now: a request for
    each tenant. The caller has fetched `rows` among those that the person may do it to, and
    tells the others.

    Raises InvalidInputError, NobodyToAgreeError, AlreadyAskedError, TooOftenError.
    """
    reason = " ".join(reason.split())
    if actor.user is None or not reason or len(reason) > 500:
        raise InvalidInputError("Say in a few words why, 500 letters at most.", field="reason")
    if not kind.option_good(option):
        raise InvalidInputError("This can't be asked for.", field="option")
    if not rows or len(rows) > MOST_THINGS:
        raise InvalidInputError(f"Choose 1 to {MOST_THINGS}.", field="rows")
    with system_scope("a person asks for themselves, one request after the other"):
        User.objects.select_for_update(no_key=True).get(pk=actor.user.pk)
    limit_use(
        f"second-person:{actor.user.pk}",
        most=60,
        per_s=3600,
        message="You asked 60 times within an hour. Go on in an hour.",
    )
    groups: dict[UUID, tuple[Tenant, list[Any]]] = {}
    for row in sorted(rows, key=lambda row: row.pk):
        tenant = kind.tenant(row)
        if tenant is None:
            raise InvalidInputError("This belongs to nobody who could agree.", field="rows")
        groups.setdefault(tenant.pk, (tenant, []))[1].append(row)
    return [_ask(actor, kind, group, option, reason) for group in groups.values()]


def _ask(
    actor: Actor, kind: Kind, group: tuple[Tenant, list[Any]], option: str, reason: str
) -> SecondPersonRequest:
    assert actor.user is not None  # noqa: S101 - second_person_ask saw to it
    tenant, rows = group
    if not agreers(kind, rows, but=actor.user):
        raise NobodyToAgreeError(
            f"Nobody but you may do this to all of it in {tenant.name}, and so nobody can agree. "
            "Give a colleague a role that may, or invite somebody; or choose fewer at a time."
        )
    with system_scope(_WHY):
        _check_not_asked(tenant, kind, rows)
        request = SecondPersonRequest.objects.create(
            tenant=tenant,
            kind=kind.name,
            option=option,
            things=[_frozen(kind, row, option) for row in rows],
            site_ids=sorted(_parts(rows, "site_of_reach")),
            vm_ids=sorted(_parts(rows, "vm_of_reach")),
            reason=reason,
            asker=actor.user,
            asker_name=str(actor.user)[:254],
        )
    _note(actor, request, "second_person.ask", {"reason": reason, "things": _names(request)})
    return request


def _check_not_asked(tenant: Tenant, kind: Kind, rows: list[Any]) -> None:
    wanted = {str(row.pk) for row in rows}
    for other in SecondPersonRequest.objects.waiting().filter(tenant=tenant, kind=kind.name):
        for thing in other.things:
            if thing["id"] in wanted:
                raise AlreadyAskedError(
                    f"{other.asker_name} has asked for “{thing['name']}” already. It waits under "
                    "Approvals; take it back there to ask for something else."
                )


@transaction.atomic
def second_person_decide(
    *, actor: Actor, request: SecondPersonRequest, agree: bool, word: str = ""
) -> SecondPersonRequest:
    """Agree or refuse, with a word if there is one to say. Of two that decide at once, the first
    does. Whoever agrees then calls `second_person_carry_out`. The caller has fetched `request`
    in scope.

    Raises InvalidInputError, NotTheSecondPersonError, AlreadyDecidedError.
    """
    word = " ".join(word.split())
    if len(word) > 500:
        raise InvalidInputError("500 letters at most.", field="word")
    why_not = cannot_decide(actor.user, request)
    if why_not:
        raise NotTheSecondPersonError(why_not)
    with system_scope(_WHY):
        locked = _locked(request.pk)
        _must_wait(locked)
        _decide(locked, actor, _Decision.AGREED if agree else _Decision.REFUSED, word)
    action = "second_person.agree" if agree else "second_person.refuse"
    _note(actor, locked, action, {"word": word, "things": _names(locked)})
    return locked


@transaction.atomic
def second_person_withdraw(*, actor: Actor, request: SecondPersonRequest) -> None:
    """Take back what one asked for oneself. Raises NotTheSecondPersonError, AlreadyDecidedError."""
    if actor.user is None or request.asker_id != actor.user.pk:
        raise NotTheSecondPersonError("Only who asked takes it back. You can refuse it.")
    with system_scope(_WHY):
        locked = _locked(request.pk)
        _must_wait(locked)
        _decide(locked, actor, _Decision.WITHDRAWN, "")
    _note(actor, locked, "second_person.withdraw", {"things": _names(locked)})


def cannot_decide(user: User | None, request: SecondPersonRequest) -> str:
    """Why this person can't be the second one; "" where they can. The whole of what was asked
    must be theirs to do, as they are signed in just now and as the database has it."""
    if user is None or getattr(user, "is_service", False):
        return "A person must agree, not a service account. Sign in yourself."
    if request.asker_id == user.pk:
        return "Nobody agrees with themselves. A colleague must, or you take it back."
    kind = kind_of(request)
    found = _rows_of(request, kind)
    if {row.pk for row in rows_wanted(kind, user, found)} != set(found):
        return (
            "Your role does not let you do this to all of it yourself, so somebody else must "
            "agree, or refuse."
        )
    return ""


def second_person_carry_out(request_id: UUID) -> SecondPersonRequest:
    """Do what was agreed on, row by row, each in a transaction of its own with its outcome. May be
    called by several at once, and again after it died half-way: each row is done once. Never
    inside of a transaction."""
    with system_scope(_WHY):
        while _next_done(request_id):
            pass
        return SecondPersonRequest.objects.select_related("tenant").get(pk=request_id)


@transaction.atomic
def _next_done(request_id: UUID) -> bool:
    """The next row, if there is one."""
    request = _locked(request_id)
    if request.decision != _Decision.AGREED or request.finished_at is not None:
        return False
    thing = next((one for one in request.things if "outcome" not in one), None)
    if thing is None:
        request.finished_at = timezone.now()
        request.save(update_fields=["finished_at"])
        _finished(request)
        return False
    told = _do(request, thing)
    thing["outcome"], thing["told"] = ("skipped", told) if told else ("done", "")
    request.save(update_fields=["things"])
    return True


def _do(request: SecondPersonRequest, thing: dict[str, str]) -> str:
    """Why it was not done; "" where it was. All is looked at anew."""
    kind = kind_of(request)
    row = kind.rows().filter(pk=thing["id"]).first()
    if row is None:
        return "it is gone already"
    now = _frozen(kind, row, request.option)
    if any(now[key] != thing[key] for key in now):
        return f"it changed since it was asked about: {now['name']}, {now['where']}, {now['loss']}"
    second = request.decided_by
    if not may(kind, request.asker, row):
        return f"{request.asker_name} may not do this any more"
    if second is None or not may(kind, second, row):
        return f"{request.decided_by_name} may not do this any more"
    try:
        with transaction.atomic():
            actor = Actor(user=request.asker, agreed=frozenset({row.pk}))
            kind.carry_out(actor, row, request.option)
    except RuleError as refusal:
        return refusal.message
    return ""


def _finished(request: SecondPersonRequest) -> None:
    _note(
        Actor(user=request.asker, agreed=frozenset({request.pk})),
        request,
        "second_person.done",
        {
            "second_person": request.decided_by.email if request.decided_by else "",
            "done": request.done,
            "skipped": [f"{thing['name']}: {thing['told']}" for thing in request.skipped],
        },
    )


def second_person_resume() -> int:
    """Go on with what was agreed on and not done to its end, as the portal was stopped. Answers
    how many requests those were."""
    since = timezone.now() - timedelta(minutes=1)
    stuck = SecondPersonRequest.objects.filter(
        decision=_Decision.AGREED, finished_at=None, decided_at__lt=since
    )
    found = list(stuck.values_list("id", flat=True))
    for request_id in found:
        try:
            second_person_carry_out(request_id)
        except Exception:
            # The others can still be done.
            log.exception("what two people agreed on could not be done")
    return len(found)


def _rows_of(request: SecondPersonRequest, kind: Kind) -> dict[UUID, Any]:
    """What is still there of what was asked about."""
    with system_scope(_WHY):
        rows = kind.rows().filter(pk__in=[thing["id"] for thing in request.things])
        return {row.pk: row for row in rows}


def _locked(request_id: UUID) -> SecondPersonRequest:
    rows = SecondPersonRequest.objects.select_for_update(of=("self",))
    return rows.select_related("tenant__parent", "asker", "decided_by").get(pk=request_id)


def _must_wait(request: SecondPersonRequest) -> None:
    if request.state != SecondPersonRequest.State.WAITING:
        by = f" by {request.decided_by_name}" if request.decided_by_name else ""
        raise AlreadyDecidedError(
            f"It is {request.state.label.lower()} already{by}. If it is still wanted, it must be "
            "asked again."
        )


def _decide(request: SecondPersonRequest, actor: Actor, decision: str, word: str) -> None:
    request.decision, request.word, request.decided_at = decision, word, timezone.now()
    request.decided_by, request.decided_by_name = actor.user, str(actor.user)[:254]
    request.save(update_fields=["decision", "word", "decided_at", "decided_by", "decided_by_name"])


def _frozen(kind: Kind, row: Any, option: str) -> dict[str, str]:
    thing = kind.thing(row, option)
    return {"id": str(row.pk), "name": thing.name, "where": thing.where, "loss": thing.loss}


def _parts(rows: list[Any], name: str) -> set[UUID]:
    return {getattr(row, name, None) for row in rows} - {None}  # type: ignore[return-value]


def _names(request: SecondPersonRequest) -> list[str]:
    return [thing["name"] for thing in request.things]


def _note(
    actor: Actor, request: SecondPersonRequest, action: str, after: dict[str, object]
) -> None:
    with system_scope("an event of the tenant that was asked about, whoever decided"):
        audit_record(
            actor=actor,
            tenant=request.tenant,
            action=action,
            object_kind="second_person",
            object_id=request.id,
            object_name=f"{kind_of(request).verb} {len(request.things)} "
            f"{kind_of(request).nouns[len(request.things) != 1]}",
            after={"kind": request.kind, "asker": request.asker.email, **after},
        )
    live_publish(tenant_id=request.tenant_id, kind="agreement", object_id=request.id)
