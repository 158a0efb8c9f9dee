"""What `script/up` does once the packages are there."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from portal.embedded.processes import EmbeddedError, run_quietly
from portal.embedded.services import Libvirt, Postgres, Redis
from portal.embedded.supervisor import Child, Supervisor

ROOT = Path(__file__).resolve().parent.parent.parent
GUEST_IMAGE = "debian-12"
_READY_S = 60
_AGENT_STOP_S = 60
_IMAGE_MAX_AGE_HOURS = 24 * 30


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
        with _only_one(options.data):
            return _Basalt(options).run()
    except EmbeddedError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except StoppedError:
        return 0


class _Basalt:
    def __init__(self, options: UpOptions) -> None:
        self.options = options
        self.data = options.data
        self.url = f"http://{_address_to_show(options.host)}:{options.port}"
        self.no_host = os.environ.get("BASALT_NO_HOST", "")
        self.host_here = options.hypervisor and not self.no_host
        self.simulated = options.simulate or (1 if self.no_host else 0)
        self.supervisor = Supervisor(self.data, say=_say)
        self.stops: list[Callable[[], None]] = []
        self.env: dict[str, str] = {}

    def run(self) -> int:
        begun = time.monotonic()
        try:
            self._start()
        except StoppedError:
            _say("\nStopping before it was ready.")
            self._stop()
            return 130
        except BaseException:
            self._stop()
            raise
        self._greet(time.monotonic() - begun)
        try:
            while True:
                self.supervisor.tend()
                time.sleep(0.2)
        except StoppedError:
            _say("\nStopping. Guests on this machine get a moment to shut down.")
        finally:
            self._stop()
        _say("Stopped. Everything is kept; script/up continues where you left.")
        return 0

    # ------------------------------------------------------------------ starting

    def _start(self) -> None:
        _must_be_free(self.options.host, self.options.port)
        if self.options.fresh:
            with _step("Forget all data"):
                _forget(self.data)
        image = self._begin_image()
        with _step("PostgreSQL and Redis"):
            postgres, redis = Postgres(self.data), Redis(self.data)
            self.stops.append(postgres.stop)
            postgres.start()
            self.stops.append(redis.stop)
            redis.start()
            self.env = {
                **os.environ,
                "DATABASE_URL": postgres.url,
                "REDIS_URL": redis.url,
                "BASALT_DATA_DIR": str(self.data),
                "BASALT_ORIGIN": self.url,
                "DJANGO_SETTINGS_MODULE": "portal.settings",
                "PYTHONUNBUFFERED": "1",
            }
        with _step("Database and static files"):
            self._manage("basalt_prepare")
            if (ROOT / "agent/install/bundle.py").exists():
                self._bundle()
        with _step("Portal, worker and beat"):
            self._start_portal()
        if self.host_here:
            with _step("libvirt"):
                libvirt = Libvirt(self.data)
                self.stops.append(libvirt.stop)
                libvirt.start()
        if image is not None:
            with _step(f"Guest image {GUEST_IMAGE}"):
                self._finish_image(image)
        made = json.loads(self._manage("basalt_bootstrap", *self._bootstrap_arguments()))
        with _step("Hosts"):
            self._start_hosts(made)

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
        _tell_identities_the_origin(self.data, self.url)
        python = sys.executable
        expected = 0
        if self.host_here:
            expected += 1
            folder = self.data / "host"
            if not (folder / "agent.json").exists():
                run_quietly(
                    [
                        *(python, "-m", "agent", "enrol", "--portal", self.url),
                        *("--token", made["join_token"], "--data", str(folder)),
                    ],
                    what="Enrolling this machine as a host",
                    env=self.env,
                    cwd=ROOT,
                )
            agent = [python, "-m", "agent", "run", "--data", str(folder), "--stop-guests-on-exit"]
            self.supervisor.add(Child("agent", agent, self._agent_env(), stop_s=_AGENT_STOP_S))
        if self.simulated:
            expected += self.simulated
            simulate = [
                *(python, "-m", "agent", "simulate", "--portal", self.url),
                *("--token", made["join_token"], "--count", str(self.simulated)),
                *("--data", str(self.data / "simulated")),
            ]
            self.supervisor.add(Child("simulated", simulate, self._agent_env(), stop_s=10))
        if expected:
            token = json.loads((self.data / "admin.json").read_text())["api_token"]
            self._wait("The hosts do not connect", lambda: self._hosts_online(token) >= expected)

    def _agent_env(self) -> dict[str, str]:
        # A host never gets to know the portal's database.
        hidden = {"DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}
        return {key: value for key, value in self.env.items() if key not in hidden}

    def _bundle(self) -> None:
        run_quietly(
            [sys.executable, "-m", "agent.install.bundle", "--output", str(self.data / "agent")],
            what="Packing the agent",
            env=self.env,
            cwd=ROOT,
        )

    # ------------------------------------------------------------------ the guest image

    def _image_folder(self) -> Path:
        shared = os.environ.get("BASALT_IMAGE_CACHE")
        return Path(shared) if shared else self.data / "images"

    def _begin_image(self) -> "subprocess.Popen[str] | None":
        """Begin to build the image beside the other steps. None where nothing boots it."""
        if not self.host_here:
            return None
        log = self.data / "log" / "image.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "TERM", "--"),
                *(sys.executable, "-m", "build", "guest", GUEST_IMAGE),
                *("--output", str(self._image_folder())),
                *("--max-age-hours", str(_IMAGE_MAX_AGE_HOURS)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
            start_new_session=True,
            cwd=ROOT,
        )

        def stop() -> None:
            if process.poll() is None:
                process.terminate()
                process.wait(30)

        self.stops.append(stop)
        return process

    def _finish_image(self, process: "subprocess.Popen[str]") -> None:
        path, _ = process.communicate()
        if process.returncode != 0:
            log = self.data / "log" / "image.log"
            raise EmbeddedError(f"The guest image could not be built:\n{log.read_text()[-1500:]}")
        self.image = Path(path.strip().splitlines()[-1])

    def _bootstrap_arguments(self) -> list[str]:
        arguments = ["--hosts", str(1 + self.simulated)]
        image = getattr(self, "image", None)
        if image is not None:
            arguments += ["--image", GUEST_IMAGE, str(image)]
        elif self.simulated:
            arguments += ["--pretend-image"]
        return arguments

    # ------------------------------------------------------------------ small things

    def _manage(self, *arguments: str) -> str:
        return run_quietly(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            what=f"manage.py {arguments[0]}",
            env=self.env,
            cwd=ROOT,
        )

    def _portal_answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz/", timeout=5) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False

    def _hosts_online(self, token: str) -> int:
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/api/v1/hypervisors/?page_size=500",
            headers={"Authorization": f"Bearer {token}"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            hosts = json.load(answer)["results"]
        return sum(host["online"] for host in hosts)

    def _wait(self, complaint: str, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + _READY_S
        while not ready():
            self.supervisor.tend()
            failing = self.supervisor.failing()
            if failing or time.monotonic() > end:
                log = self.data / "log" / f"{failing or 'portal'}.log"
                tail = log.read_text(errors="replace")[-1500:] if log.exists() else ""
                raise EmbeddedError(f"{complaint}. {log} ends with:\n{tail}")
            time.sleep(0.1)

    def _stop(self) -> None:
        # From here on only a second signal of the hardest kind ends us early.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.supervisor.stop()
        for stop in reversed(self.stops):
            try:
                stop()
            except (OSError, subprocess.SubprocessError) as error:
                _say(f"Something did not stop cleanly: {error}")

    def _greet(self, seconds: float) -> None:
        admin = json.loads((self.data / "admin.json").read_text())
        _say("")
        if self.no_host:
            _say(f"{self.no_host} You get {self.simulated} simulated host(s) instead.")
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
        raise StoppedError

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


@contextmanager
def _only_one(data: Path) -> Iterator[None]:
    """One Basalt per folder. The lock goes with the process, however that ends."""
    data.mkdir(parents=True, exist_ok=True)
    lock: TextIO = (data / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        raise EmbeddedError(
            f"Basalt runs with the data in {data} already (process {lock.read().strip()}). "
            "Stop that one with Ctrl-C, or choose another folder with --data DIR."
        ) from error
    with lock:
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _must_be_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise EmbeddedError(
                f"Port {port} of {host} can't be used ({error.strerror}). Choose another with "
                "--port N."
            ) from error


def _address_to_show(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104
        return socket.getfqdn()
    return f"[{host}]" if ":" in host else host


def _forget(data: Path) -> None:
    """Remove all data but built images, which hold nothing of anybody's."""
    _forget_guests(data)
    for path in data.iterdir():
        if path.name in ("lock", "images"):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _forget_guests(data: Path) -> None:
    """Guests whose disks lie in this data are off already; libvirt still knows their names."""
    identity = data / "host" / "agent.json"
    if not identity.exists() or shutil.which("virsh") is None:
        return
    hypervisor_id = json.loads(identity.read_text())["hypervisor_id"]
    listed = subprocess.run(
        ["virsh", "-q", "list", "--all", "--uuid"], check=False, capture_output=True, text=True
    )
    for domain in listed.stdout.split():
        shown = subprocess.run(
            ["virsh", "dumpxml", domain], check=False, capture_output=True, text=True
        )
        if hypervisor_id in shown.stdout:
            subprocess.run(["virsh", "destroy", domain], check=False, capture_output=True)
            subprocess.run(
                ["virsh", "undefine", "--nvram", domain], check=False, capture_output=True
            )


def _tell_identities_the_origin(data: Path, origin: str) -> None:
    """The hosts of this machine follow the portal to another port."""
    for path in [data / "host" / "agent.json", *(data / "simulated").glob("*/agent.json")]:
        if not path.exists():
            continue
        identity = json.loads(path.read_text())
        if identity["portal"] != origin or identity["origin"] != origin:
            identity |= {"portal": origin, "origin": origin}
            temporary = path.with_suffix(".new")
            temporary.touch(mode=0o600)
            temporary.write_text(json.dumps(identity))
            temporary.replace(path)
