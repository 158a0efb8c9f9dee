"""How much a request may send, decided before anything of it is kept."""

import asyncio
import errno
import json
import os
from typing import Any

import pytest

from portal.bodies import SMALL, BoundedBodies

MIB = 1024**2


async def reads_everything(scope: Any, receive: Any, send: Any) -> None:
    """What Django does: read the whole body, then answer."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"taken"})


async def finds_the_disk_full(scope: Any, receive: Any, send: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def post(
    application: Any, path: str, *, mib: int, announced: bool, known: bool = True
) -> tuple[int, Any]:
    left, sent = mib, []

    async def receive() -> dict[str, Any]:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": bytes(MIB), "more_body": left > 0}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def trusted(scope: Any) -> bool:
        return known

    headers = [(b"content-length", str(mib * MIB).encode())] if announced else []
    bounded = BoundedBodies(application, large={"/upload/": 20 * MIB}, trusted=trusted)
    await bounded({"type": "http", "path": path, "headers": headers}, receive, send)
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.parametrize("announced", [True, False])
async def test_what_is_within_its_bound_passes(announced):
    small = await post(reads_everything, "/", mib=SMALL // MIB, announced=announced)
    large = await post(reads_everything, "/upload/", mib=20, announced=announced)
    assert small == large == (200, b"taken")


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize(("path", "mib"), [("/", SMALL // MIB + 1), ("/upload/", 21)])
async def test_what_is_over_it_is_a_413(path, mib, announced):
    status, body = await post(reads_everything, path, mib=mib, announced=announced)
    assert (status, json.loads(body)["error"]["code"]) == (413, "too_large")


@pytest.mark.parametrize("announced", [True, False])
async def test_nothing_large_is_kept_of_somebody_unknown(announced):
    status, _ = await post(
        reads_everything, "/upload/", mib=SMALL // MIB + 1, announced=announced, known=False
    )
    assert status == 413


async def test_a_full_disk_is_a_507_with_a_next_step():
    status, body = await post(finds_the_disk_full, "/upload/", mib=1, announced=True)
    assert (status, json.loads(body)["error"]["code"]) == (507, "portal_disk_full")
    assert "try again" in json.loads(body)["error"]["message"]


async def test_a_body_that_stops_half_way_is_a_408_with_a_next_step():
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not sent_one.is_set():
            sent_one.set()
            return {"type": "http.request", "body": b"half", "more_body": True}
        await asyncio.Event().wait()
        raise AssertionError("it went on waiting")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def anybody(scope: Any) -> bool:
        return True

    sent_one = asyncio.Event()
    bounded = BoundedBodies(reads_everything, large={}, trusted=anybody, silence_s=0.05)
    await bounded({"type": "http", "path": "/", "headers": []}, receive, send)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["error"]["code"] == "too_slow"
    assert (b"x-content-type-options", b"nosniff") in sent[0]["headers"]


async def test_an_answer_may_take_as_long_as_it_takes():
    """Once the body is here, waiting for the end of the connection has no end of its own."""
    parts = [{"type": "http.request", "body": b"all", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if parts:
            return parts.pop()
        await asyncio.sleep(0.2)
        return {"type": "http.disconnect"}

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"

    async def anybody(scope: Any) -> bool:
        return True

    bounded = BoundedBodies(application, large={}, trusted=anybody, silence_s=0.05)
    await bounded({"type": "http", "path": "/", "headers": []}, receive, anybody)
