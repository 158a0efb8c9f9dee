"""What `script/up` does once the packages are there."""

import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any

from portal.embedded import guest_image
from portal.embedded.addresses import ANY_ADDRESS, address_to_show, must_be_free, own_names
from portal.embedded.folder import (
    forget,
    forget_guests,
    has_host,
    only_one,
    tell_identities_the_origin,
)
from portal.embedded.guest_image import GuestImage
from portal.embedded.leftovers import end_leftovers, leftovers, mark
from portal.embedded.processes import EmbeddedError, run_quietly
from portal.embedded.services import Libvirt, Postgres, Redis
from portal.embedded.supervisor import Child, Supervisor

ROOT = Path(__file__).resolve().parent.parent.parent
_READY_S = 60
_AGENT_STOP_S = 60
_SECONDS_TO_FORGET_A_HOST = 15
_OWNER = "BASALT_OWNER_DATABASE_URL"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, kw_only=True)
class UpOptions:
    port: int
    host: str
    data: Path
    fresh: bool
    simulate: int
    hypervisor: bool


class StoppedError(Exception):
    """Somebody wants us to end."""


def run_up(options: UpOptions) -> int:
    """Start everything, wait for Ctrl-C, stop everything. Returns an exit status."""
    _stop_on_signals()
    try:
        with only_one(options.data):
            return _Basalt(options).run()
    except EmbeddedError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"\nThis machine could not go on: {error}. Is the disk full?", file=sys.stderr)
        return 1
    except StoppedError:
        return 130


class _Basalt:
    def __init__(self, options: UpOptions) -> None:
        self.options = options
        self.data = options.data
        self.url = f"http://{address_to_show(options.host)}:{options.port}"
        # What keeps this machine from being a host, as a sentence; empty when nothing does.
        self.no_host = os.environ.get("BASALT_NO_HOST", "")
        self.supervisor = Supervisor(self.data, say=_say)
        self.stops: list[Callable[[], None]] = []
        self.remarks: list[str] = []
        self.env: dict[str, str] = {}
        self.owner_url = ""
        self.begun = datetime.now(tz=UTC)

    @property
    def host_here(self) -> bool:
        return self.options.hypervisor and not self.no_host

    @property
    def simulated(self) -> int:
        """How many hosts to simulate: one at least where this machine should be a host and
        can't."""
        return self.options.simulate or (1 if self.no_host else 0)

    def run(self) -> int:
        begun = time.monotonic()
        ready = False
        try:
            self._start()
            ready = True
            self._greet(time.monotonic() - begun)
            while True:
                self.supervisor.tend()
                time.sleep(0.2)
        except StoppedError:
            _say("\nStopping." if ready else "\nStopping before it was ready.")
            if ready and self.host_here:
                _say("Guests on this machine get a moment to shut down.")
        finally:
            self._stop()
        _say("Stopped. Everything is kept; script/up continues where you left.")
        return 0 if ready else 130

    # ------------------------------------------------------------------ starting

    def _start(self) -> None:
        if any(not left.is_metadata for left in leftovers(self.data)):
            with _step("Wait for what an earlier run left"):
                end_leftovers(self.data, also_metadata=False)
        must_be_free(self.options.host, self.options.port)
        mark(self.data)
        if self.host_here:
            self._start_libvirt()
        if self.options.fresh:
            with _step("Forget all data"):
                self._forget()
        image = self._begin_image()
        with _step("PostgreSQL and Redis"):
            self._start_services()
        with _step("Database and static files"):
            # Nothing else is told how to be the owner of the tables.
            self._manage("basalt_prepare", env={_OWNER: self.owner_url})
            self._bundle()
        with _step("Portal, worker and beat"):
            self._start_portal()
        arguments = self._image_arguments(image)
        made = json.loads(
            self._manage("basalt_bootstrap", "--hosts", str(self._hosts_to_enrol()), *arguments)
        )
        if self.host_here or self.simulated:
            with _step("Hosts"):
                self._start_hosts(made)

    def _start_libvirt(self) -> None:
        libvirt = Libvirt(self.data)
        self.stops.append(libvirt.stop)
        try:
            with _step("libvirt"):
                libvirt.start()
        except EmbeddedError as error:
            self.no_host = f"This machine can't run guests: {error}"

    def _start_services(self) -> None:
        postgres, redis = Postgres(self.data), Redis(self.data)
        self.owner_url = postgres.owner_url
        self.stops.append(postgres.stop)
        postgres.start()
        self.stops.append(redis.stop)
        redis.start()
        ours = {name: value for name, value in os.environ.items() if name != _OWNER}
        self.env = {
            **ours,
            "DATABASE_URL": postgres.url,
            "REDIS_URL": redis.url,
            "BASALT_DATA_DIR": str(self.data),
            "BASALT_ORIGIN": self.url,
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "PYTHONUNBUFFERED": "1",
        }
        if self.options.host in ANY_ADDRESS:
            self.env.setdefault("BASALT_EXTRA_HOSTS", json.dumps(own_names()))

    def _start_portal(self) -> None:
        python = sys.executable
        options = self.options
        web = [
            *(python, "-m", "uvicorn", "portal.asgi:application"),
            *("--host", options.host, "--port", str(options.port)),
            *("--loop", "uvloop", "--ws", "websockets-sansio"),
            *("--ws-per-message-deflate", "false", "--ws-max-size", str(8 * 1024 * 1024)),
            # A slow console can hold back the answer to a ping for a while.
            *("--ws-ping-timeout", "60"),
            *("--no-access-log", "--no-server-header", "--timeout-graceful-shutdown", "3"),
        ]
        self.supervisor.add(
            Child("portal", web, {**self.env, "BASALT_DATABASE_POOL": "1"}, stop_s=10)
        )
        celery = [python, "-m", "celery", "-A", "portal", "--quiet"]
        worker = [
            *celery,
            *("worker", "--concurrency", "2", "--loglevel", "WARNING"),
            *("--without-gossip", "--without-mingle"),
        ]
        self.supervisor.add(Child("worker", worker, self.env, stop_s=10))
        schedule = str(self.data / "run" / "beat-schedule")
        beat = [*celery, "beat", "--schedule", schedule, "--loglevel", "WARNING", "--pidfile="]
        self.supervisor.add(Child("beat", beat, self.env, stop_s=5))
        self._wait("The portal does not answer", self._portal_answers)

    def _start_hosts(self, made: dict[str, Any]) -> None:
        tell_identities_the_origin(self.data, self.url)
        expected = 0
        if self.host_here:
            expected += 1
            self._enrol(made["join_token"])
            self.supervisor.add(
                Child("agent", self._agent_command(), self._agent_env(), stop_s=_AGENT_STOP_S)
            )
        if self.simulated:
            expected += self.simulated
            simulate = [
                *(sys.executable, "-m", "agent", "simulate", "--portal", self.url),
                *("--token", made["join_token"], "--count", str(self.simulated)),
                *("--data", str(self.data / "simulated")),
            ]
            self.supervisor.add(Child("simulated", simulate, self._agent_env(), stop_s=10))
        token = json.loads((self.data / "admin.json").read_text())["api_token"]
        self._wait(
            "The hosts do not connect",
            lambda: self._hosts_online(token) >= expected,
            seconds=_READY_S + expected / 5,
        )

    def _hosts_to_enrol(self) -> int:
        known = len(list((self.data / "simulated").glob("*/agent.json")))
        here = int(self.host_here and not has_host(self.data))
        return here + max(self.simulated - known, 0)

    def _enrol(self, join_token: str) -> None:
        if has_host(self.data):
            return
        run_quietly(
            [
                *(sys.executable, "-m", "agent", "enrol", "--portal", self.url),
                *("--token", join_token, "--data", str(self.data / "host")),
            ],
            what="Enrolling this machine as a host",
            env=self._agent_env(),
            cwd=ROOT,
        )

    def _agent_command(self) -> list[str]:
        folder = str(self.data / "host")
        return [sys.executable, "-m", "agent", "run", "--data", folder, "--stop-guests-on-exit"]

    def _agent_env(self) -> dict[str, str]:
        # A host never gets to know the portal's database.
        hidden = {_OWNER, "DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}
        env = self.env or dict(os.environ)
        return {key: value for key, value in env.items() if key not in hidden}

    def _bundle(self) -> None:
        run_quietly(
            [sys.executable, "-m", "agent.install.bundle", "--output", str(self.data / "agent")],
            what="Packing the agent",
            env=self.env,
            cwd=ROOT,
        )

    def _forget(self) -> None:
        """Guests and their networks go the way that the agent knows, then all the rest."""
        if has_host(self.data) and self.host_here:
            if (self.data / "run" / "processes.json").exists():
                # It did not end by itself the last time: networks and guests may be left.
                agent = Supervisor(self.data, say=_say)
                agent.add(
                    Child("agent", self._agent_command(), self._agent_env(), stop_s=_AGENT_STOP_S)
                )
                time.sleep(_SECONDS_TO_FORGET_A_HOST)
                agent.stop()
            forget_guests(self.data)
        end_leftovers(self.data, also_metadata=True)
        forget(self.data)

    # ------------------------------------------------------------------ the guest image

    def _begin_image(self) -> GuestImage | None:
        """Begin to build the image beside the other steps. None where nothing boots it."""
        if not self.host_here:
            return None
        image = GuestImage(self.data)
        self.stops.append(image.stop)
        image.begin()
        return image

    def _image_arguments(self, image: GuestImage | None) -> list[str]:
        if image is not None:
            try:
                with _step(f"Guest image {guest_image.NAME}"):
                    return ["--image", guest_image.NAME, str(image.finish())]
            except EmbeddedError as error:
                self.remarks.append(
                    f"{error}\nWithout it, bring an image in by its address or by upload, under "
                    "Images; the next script/up tries to build it again."
                )
        return ["--pretend-image"] if self.simulated else []

    # ------------------------------------------------------------------ small things

    def _manage(self, *arguments: str, env: Mapping[str, str] = MappingProxyType({})) -> str:
        return run_quietly(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            what=f"manage.py {arguments[0]}",
            env={**self.env, **env},
            cwd=ROOT,
        )

    def _portal_answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz/", timeout=5) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False

    def _hosts_online(self, token: str) -> int:
        online = 0
        page: str | None = f"{self.url}/api/v1/hypervisors/?page_size=100"
        while page:
            request = urllib.request.Request(  # noqa: S310
                page, headers={"Authorization": f"Bearer {token}"}
            )
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                hosts = json.load(answer)
            # After a crash the links of the time before look open for a while.
            online += sum(
                host["online"] and datetime.fromisoformat(host["connected_at"]) >= self.begun
                for host in hosts["results"]
            )
            page = hosts["next"]
        return online

    def _wait(
        self, complaint: str, ready: Callable[[], bool], *, seconds: float = _READY_S
    ) -> None:
        end = time.monotonic() + seconds
        while not ready():
            self.supervisor.tend()
            failing = self.supervisor.failing()
            if failing or time.monotonic() > end:
                log = self.data / "log" / f"{failing or 'portal'}.log"
                tail = log.read_text(errors="replace")[-1500:] if log.exists() else ""
                raise EmbeddedError(f"{complaint}. {log} ends with:\n{tail}")
            time.sleep(0.1)

    def _stop(self) -> None:
        # From here on only a signal of the hardest kind ends us early.
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        self.supervisor.stop()
        for stop in reversed(self.stops):
            try:
                stop()
            except (OSError, EmbeddedError) as error:
                _say(f"Something did not stop cleanly: {error}")
        if leftovers(self.data):
            end_leftovers(self.data, also_metadata=True)

    def _greet(self, seconds: float) -> None:
        admin = json.loads((self.data / "admin.json").read_text())
        _say("")
        for remark in self.remarks:
            _say(f"{remark}\n")
        if self.no_host:
            _say(f"{self.no_host}\nYou get {_hosts(self.simulated)} instead.\n")
        _say(f"Basalt is ready after {seconds:.0f} s.")
        _say("")
        _say(f"  Address    {admin['url']}")
        _say(f"  E-mail     {admin['email']}")
        _say(f"  Password   {admin['password']}")
        _say("")
        if self.host_here or self.simulated:
            _say("Sign in and press “Create VM”. Everything has a default but the password.")
        else:
            _say("Sign in, open the site “Workshop” and press “Add host”.")
        _say(f"Scripts find address and token in {self.data / 'admin.json'}. Ctrl-C stops it all.")


# ---------------------------------------------------------------------- functions


def _say(text: str) -> None:
    print(text, flush=True)


def _hosts(count: int) -> str:
    return "a simulated host" if count == 1 else f"{count} simulated hosts"


@contextmanager
def _step(title: str) -> Iterator[None]:
    print(f"  {title:<46}", end="", flush=True)
    begun = time.monotonic()
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - begun:6.1f} s", flush=True)


def _stop_on_signals() -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        # One is enough: what comes next is stopping, which nothing shall cut off.
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise StoppedError

    for number in _SIGNALS:
        signal.signal(number, stop)
