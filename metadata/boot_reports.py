"""What a guest says about its own first boot, taken apart where a mistake costs least.

Two kinds of bodies come to POST /basalt/v1/report from our command in the guest: events, one by
one, in the form of cloud-init's own
(https://cloudinit.readthedocs.io/en/latest/reference/base_config_reference.html#reporting),
and, once, what it found at the end: cloud-init's status.json and result.json, and the lines of
its log that matter. Nothing of either is believed beyond what a guest may say about itself.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

STAGES = {
    "init-local": "local",
    "init-network": "network",
    "init": "network",
    "modules-config": "config",
    "modules-final": "final",
}
"""cloud-init's names of its stages, in its events and in its status.json, and ours."""
MOST_EVENTS = 96
MOST_LINES = 200
MOST_ERRORS = 16
_LINE = 500
_ERROR = 2000
_NAME = 128

Line = Annotated[str, Meta(max_length=_LINE)]
Error = Annotated[str, Meta(max_length=_ERROR)]
Seconds = Annotated[float, Meta(ge=0, le=2**40)]


class BootEvent(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A stage or one of its modules began or ended. `at`: when we heard of it, since guests'
    clocks are wrong before they have asked for the time."""

    stage: Literal["local", "network", "config", "final"]
    module: Annotated[str, Meta(max_length=_NAME)] = ""
    """Empty: the stage itself."""
    kind: Literal["start", "finish"]
    result: Literal["SUCCESS", "WARN", "FAIL"] = "SUCCESS"
    at: float = 0.0


class BootFinal(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """What cloud-init left behind at its end. `seconds` and `errors` are by our stage names."""

    datasource: Annotated[str, Meta(max_length=255)] = ""
    seconds: Annotated[dict[str, Seconds], Meta(max_length=8)] = {}
    errors: Annotated[dict[str, list[Error]], Meta(max_length=8)] = {}
    lines: Annotated[list[Line], Meta(max_length=MOST_LINES)] = []
    at: float = 0.0


BootWord = BootEvent | BootFinal


def read_report(body: bytes, *, now: float) -> BootWord | None:
    """What a posted body says, within bounds. None: it says nothing that matters.

    Raises ValueError for a body that is no JSON object.
    """
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("not JSON") from error
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - a guest's value, not our type
    if "event_type" in content:
        return _event(content, now)
    if "status" in content or "result" in content:
        return _final(content, now)
    return None


def clean(text: object, length: int) -> str:
    """One line of text without control characters, cut to `length`."""
    if not isinstance(text, str):
        return ""
    return "".join(letter if letter.isprintable() else " " for letter in text[:length]).strip()


def _event(content: dict[str, Any], now: float) -> BootEvent | None:
    name, _, module = clean(content.get("name"), 2 * _NAME).partition("/")
    kind = content.get("event_type")
    if name not in STAGES or kind not in ("start", "finish"):
        return None
    result = content.get("result") if kind == "finish" else "SUCCESS"
    if result not in ("SUCCESS", "WARN", "FAIL"):
        return None
    if module and result == "SUCCESS":
        return None  # scores of them in every boot, and the stage tells the same
    return msgspec.convert(
        {
            "type": "BootEvent",
            "stage": STAGES[name],
            "module": module.removeprefix("config-")[:_NAME],
            "kind": kind,
            "result": result,
            "at": now,
        },
        BootEvent,
    )


def _final(content: dict[str, Any], now: float) -> BootFinal:
    status = _versioned(content.get("status"))
    result = _versioned(content.get("result"))
    seconds: dict[str, float] = {}
    errors: dict[str, list[str]] = {}
    for name, stage in STAGES.items():
        found = status.get(name)
        if not isinstance(found, dict):
            continue
        took = _took(found)
        if took is not None:
            seconds[stage] = took
        told = _texts(found.get("errors"), _ERROR)
        if told:
            errors[stage] = told[:MOST_ERRORS]
    rest = _texts(result.get("errors"), _ERROR)[:MOST_ERRORS]
    if rest and not errors:
        errors["final"] = rest
    return BootFinal(
        datasource=clean(result.get("datasource") or status.get("datasource"), 255),
        seconds=seconds,
        errors=errors,
        lines=_texts(content.get("log"), _LINE)[-MOST_LINES:],
        at=now,
    )


def _versioned(document: object) -> dict[str, Any]:
    """cloud-init's files say "v1" around what they say."""
    inner = document.get("v1") if isinstance(document, dict) else None
    return inner if isinstance(inner, dict) else {}


def _took(stage: dict[str, Any]) -> float | None:
    start, finished = stage.get("start"), stage.get("finished")
    if isinstance(start, bool) or not isinstance(start, int | float):
        return None
    if isinstance(finished, bool) or not isinstance(finished, int | float):
        return None
    took = float(finished) - float(start)
    # A clock that was set in between says nothing about how long it took.
    return round(took, 3) if 0 <= took < 1_000_000 else None


def _texts(values: object, length: int) -> list[str]:
    if not isinstance(values, list):
        return []
    cleaned = (clean(value, length) for value in _first(values, 1000))
    return [text for text in cleaned if text]


def _first(values: Iterable[object], most: int) -> Iterable[object]:
    for number, value in enumerate(values):
        if number >= most:
            return
        yield value


class BootReports:
    """What one NIC's guest has said of one first boot, so that an agent that was away hears it
    all. Bounded: the same is kept once, and what comes beyond `MOST_EVENTS` is dropped."""

    def __init__(self) -> None:
        self._events: dict[tuple[str, str, str, str], BootEvent] = {}
        self._final: BootFinal | None = None

    @property
    def words(self) -> list[BootWord]:
        final = [self._final] if self._final is not None else []
        return [*self._events.values(), *final]

    def take(self, word: BootWord) -> bool:
        """Keep it. False: it was said before, or enough was said."""
        if isinstance(word, BootFinal):
            known, self._final = self._final is not None, self._final or word
            return not known
        key = (word.stage, word.module, word.kind, word.result)
        if key in self._events or len(self._events) >= MOST_EVENTS:
            return False
        self._events[key] = word
        return True
