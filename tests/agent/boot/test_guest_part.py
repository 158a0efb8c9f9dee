"""Our command in the guest, run as a guest's shell runs it, with a folder for its `/run`."""

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from agent.boot.guest_part import REPORT_URL, telling_config
from metadata.boot_reports import BootEvent, BootFinal, BootWord, read_report

# As cloud-init 22.4 and 25.1 write it into status.json.
FAILED = "('scripts_user', RuntimeError('Runparts: 1 failures (part-001) in 1 attempted commands'))"
LOG = """\
2026-11-29 00:09:18,001 - util.py[DEBUG]: Cloud-init v. 22.4.2 running 'init-local' at ...
2026-11-29 00:09:29,120 - cc_scripts_user.py[WARNING]: Failed to run module scripts-user
2026-11-29 00:09:29,130 - util.py[DEBUG]: nothing to see
"""


class Service:
    """What the command posts to, instead of the metadata service."""

    def __init__(self) -> None:
        self.heard: list[BootWord | None] = []
        self.refuses = 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                refused, service.refuses = service.refuses > 0, max(service.refuses - 1, 0)
                if not refused:
                    service.heard.append(read_report(body, now=1.0))
                self.send_response(503 if refused else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/basalt/v1/report"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, count: int) -> None:
        until = time.monotonic() + 20
        while len(self.heard) < count:
            assert time.monotonic() < until, self.heard
            time.sleep(0.05)


class Inside:
    """A guest's folders, and our command in it."""

    def __init__(self, folder, url: str) -> None:
        self.folder = folder
        self._url = url
        (folder / "run").mkdir()
        (folder / "log").mkdir()
        (folder / "lib").mkdir()
        self.marker = folder / "lib" / "basalt-reported"

    def write(self, name: str, content: object) -> None:
        temporary = self.folder / "run" / f".{name}"
        temporary.write_text(json.dumps({"v1": content}))
        temporary.rename(self.folder / "run" / name)

    @contextlib.contextmanager
    def booted(self) -> Iterator[None]:
        """cloud-init's network stage, which runs boot commands."""
        [command] = telling_config()["bootcmd"]
        moved = [
            part.replace(REPORT_URL, self._url)
            .replace("/var/lib/cloud/instance/", f"{self.folder}/lib/")
            .replace("/run/cloud-init/", f"{self.folder}/run/")
            .replace("/var/log/", f"{self.folder}/log/")
            for part in command
        ]
        subprocess.run(moved, check=True, timeout=20)
        try:
            yield
        finally:
            subprocess.run(["pkill", "-f", str(self.folder)], check=False)


def stage(start: float | None, finished: float | None, *errors: str) -> dict[str, object]:
    return {"start": start, "finished": finished, "errors": list(errors)}


@pytest.fixture
def service() -> Iterator[Service]:
    one = Service()
    yield one
    one.close()


@pytest.fixture
def inside(service, tmp_path) -> Inside:
    return Inside(tmp_path, service.url)


def event(stage: str, kind: str, result: str = "SUCCESS", module: str = "") -> BootEvent:
    return BootEvent(stage=stage, kind=kind, result=result, module=module, at=1.0)


def test_each_stage_is_told_as_it_begins_and_ends_and_once(service, inside):
    stages = {"init-local": stage(1.0, 2.5), "init": stage(3.0, None)}
    inside.write("status.json", stages)
    with inside.booted():
        service.wait(2)
        stages |= {"init": stage(3.0, 4.0), "modules-config": stage(5.0, None)}
        inside.write("status.json", stages)
        service.wait(4)
        time.sleep(1.2)
        assert service.heard == [
            event("local", "finish"),
            event("network", "start"),
            event("network", "finish"),
            event("config", "start"),
        ]
        assert not inside.marker.exists()


def test_what_failed_and_the_last_word_come_at_the_end(service, inside):
    (inside.folder / "log" / "cloud-init.log").write_text(LOG)
    inside.write("status.json", {"modules-final": stage(5.0, 7.25, FAILED)})
    inside.write("result.json", {"datasource": "DataSourceOpenStackLocal", "errors": [FAILED]})
    with inside.booted():
        service.wait(3)
    module, final, last = service.heard
    assert module == event("final", "finish", "FAIL", module="scripts_user")
    assert final == event("final", "finish", "FAIL")
    assert isinstance(last, BootFinal)
    assert last.datasource == "DataSourceOpenStackLocal"
    assert (last.seconds, last.errors) == ({"final": 2.25}, {"final": [FAILED]})
    assert [line for line in last.lines if "scripts-user" in line] == last.lines != []


def test_a_service_that_is_away_for_a_moment_hears_the_last_word_all_the_same(service, inside):
    service.refuses = 3  # the stage's end, and the last word twice
    inside.write("status.json", {"modules-final": stage(5.0, 7.0)})
    inside.write("result.json", {"datasource": "DataSourceOpenStackLocal", "errors": []})
    with inside.booted():
        service.wait(1)
        _wait_for(inside.marker.exists)
    assert isinstance(service.heard[-1], BootFinal)


def test_later_boots_of_the_same_instance_say_nothing(service, inside):
    inside.write("status.json", {"modules-final": stage(5.0, 7.0)})
    inside.write("result.json", {"datasource": "DataSourceOpenStackLocal", "errors": []})
    with inside.booted():
        _wait_for(inside.marker.exists)
    told = len(service.heard)
    with inside.booted():
        time.sleep(1.5)
    assert len(service.heard) == told
    # Nor does cloud-init by itself, which warns where there is no network yet.
    assert "reporting" not in telling_config()


def _wait_for(reached) -> None:
    until = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.05)
