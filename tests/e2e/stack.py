"""The whole of Basalt as a newcomer starts it, with `script/up`, and ways to ask it."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parent.parent.parent


class Api:
    """The API as a script would use it: JSON in and out, with a bearer token."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token

    def get(self, path: str, *, expect: int = 200) -> Any:
        return self._ask("GET", path, None, expect)

    def post(self, path: str, body: Any = None, *, expect: int = 200) -> Any:
        return self._ask("POST", path, body if body is not None else {}, expect)

    def patch(self, path: str, body: Any, *, expect: int = 200) -> Any:
        return self._ask("PATCH", path, body, expect)

    def delete(self, path: str, *, expect: int = 202) -> Any:
        return self._ask("DELETE", path, None, expect)

    def _ask(self, method: str, path: str, body: Any, expect: int) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, raw = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, raw = error.code, error.read()
        assert status == expect, f"{method} {path}: {status} {raw[:2000]!r}"
        return json.loads(raw) if raw else None


@dataclass
class Person:
    """Somebody with an account of their own."""

    email: str
    password: str
    api: Api

    def open_socket(self, url: str, *, cookie: str) -> int:
        """The HTTP status, or the close code, with which a socket is refused to the session
        in `cookie`. Raises AssertionError when it opens.
        """
        headers = {"Cookie": cookie, "Origin": self.api.url}
        try:
            with connect(url, additional_headers=headers, open_timeout=10) as socket:
                with contextlib.suppress(ConnectionClosed):
                    socket.recv(timeout=10)
                if socket.close_code is not None:
                    return socket.close_code
        except InvalidStatus as refusal:
            return refusal.response.status_code
        raise AssertionError("the console opened for a stranger")


class Stack:
    """A running `script/up` with this machine as its host."""

    def __init__(self, data: Path, port: int, *options: str) -> None:
        self.data, self.port, self.options = data, port, options
        self.url = f"http://127.0.0.1:{port}"
        self.output = data.parent / "up.log"
        self.process: subprocess.Popen[bytes] | None = None

    # ------------------------------------------------------------------ running it

    def start(self, *, seconds: float = 600) -> None:
        self.output.parent.mkdir(parents=True, exist_ok=True)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    ROOT / "script" / "up",
                    *("--port", str(self.port), "--data", str(self.data)),
                    *self.options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        end = time.monotonic() + seconds
        while b"Basalt is ready" not in self.output.read_bytes():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < end, self.output.read_text()
            time.sleep(0.2)

    def stop(self) -> None:
        """Ctrl-C."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(120)

    def move(self, port: int) -> None:
        """The next start listens elsewhere."""
        self.port, self.url = port, f"http://127.0.0.1:{port}"
        self.__dict__.pop("api", None)

    def kill(self, name: str, *, seconds: float = 60) -> None:
        """SIGKILL, as from a lack of memory: the program gets no last word. Returns when
        another runs in its place, and the host is connected anew where its link was cut."""
        pid, connected_at = self.pids()[name], self._connected_at()
        os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + seconds
        while self.pids().get(name) in (None, pid):
            assert time.monotonic() < end, f"{name} was not started again"
            time.sleep(0.1)
        while name != "worker" and self._connected_at() in (None, connected_at):
            assert time.monotonic() < end, "the host did not connect again"
            time.sleep(0.3)

    def _connected_at(self) -> str | None:
        """When the host's present link was opened; None while it or the portal is away."""
        try:
            host = self.api.get(f"hypervisors/{self.hypervisor['id']}/")
        except OSError:
            return None
        return host["connected_at"] if host["online"] else None

    def pids(self) -> dict[str, int]:
        return json.loads((self.data / "run" / "processes.json").read_text())

    # ------------------------------------------------------------------ what is there

    @cached_property
    def admin(self) -> dict[str, str]:
        return json.loads((self.data / "admin.json").read_text())

    @property
    def email(self) -> str:
        return self.admin["email"]

    @property
    def password(self) -> str:
        return self.admin["password"]

    @cached_property
    def api(self) -> Api:
        return Api(self.url, self.admin["api_token"])

    @property
    def agent_data(self) -> Path:
        return self.data / "host"

    @cached_property
    def hypervisor(self) -> dict[str, Any]:
        return self.api.get("hypervisors/")["results"][0]

    @cached_property
    def image(self) -> dict[str, Any]:
        return next(
            image for image in self.api.get("images/")["results"] if image["name"] == "debian-12"
        )

    @cached_property
    def network(self) -> dict[str, Any]:
        return self.api.get(f"networks/?hypervisor={self.hypervisor['id']}")["results"][0]

    @cached_property
    def customer(self) -> dict[str, Any]:
        return next(
            tenant
            for tenant in self.api.get("tenants/")["results"]
            if tenant["id"] == self.hypervisor["tenant"]["id"]
        )

    def address(self, last: int) -> str:
        """An address of the host's network, by its last number."""
        return f"{self.network['subnet'].rsplit('.', 1)[0]}.{last}"

    # ------------------------------------------------------------------ waiting for it

    def wait_for_job(self, job_id: str, *, seconds: float = 240) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while True:
            job = self.api.get(f"jobs/{job_id}/")
            if job["status"] not in ("queued", "sent", "running"):
                return job
            assert time.monotonic() < end, job
            time.sleep(0.2)

    def wait_for_vm(
        self,
        vm_id: str,
        *,
        seconds: float,
        power: str | None = None,
        cloud_init: str | None = None,
    ) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while True:
            vm = self.api.get(f"vms/{vm_id}/")
            if power in (None, vm["power"]) and cloud_init in (None, vm["cloud_init"]):
                return vm
            assert time.monotonic() < end, vm
            time.sleep(0.1)

    def wait_until_gone(self, vm_id: str, *, seconds: float) -> None:
        end = time.monotonic() + seconds
        while any(vm["id"] == vm_id for vm in self.api.get("vms/")["results"]):
            assert time.monotonic() < end, "the VM is still there"
            time.sleep(0.2)

    def vm_named(self, name: str) -> dict[str, Any] | None:
        found = self.api.get(f"vms/?name={name}")["results"]
        return self.api.get(f"vms/{found[0]['id']}/") if found else None

    def delete_vm_if_there(self, vm_id: str) -> None:
        if any(vm["id"] == vm_id for vm in self.api.get("vms/")["results"]):
            job = self.wait_for_job(self.api.delete(f"vms/{vm_id}/")["id"])
            assert job["status"] == "succeeded", job["error"]

    def virsh(self, *arguments: str) -> str:
        done = subprocess.run(
            ["virsh", "-q", "-c", "qemu:///system", *arguments],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    # ------------------------------------------------------------------ other people

    def new_user(self, *, customer: str, role: str) -> Person:
        """Somebody of another, new customer, made as an operator would make them."""
        tag = secrets.token_hex(3)
        customer, email, password = f"{customer} {tag}", f"{tag}@other.test", "quiet-river-stone-9"
        code = (
            "from tenants.actor import SYSTEM\n"
            "from tenants.models import Tenant\n"
            "from tenants.services.people import api_token_create, user_create\n"
            "from tenants.services.tenants import tenant_create\n"
            "from tenants.scope import enter, system_scope\n"
            "enter(system_scope('a new customer for the tests'))\n"
            "msp = Tenant.objects.get(kind='msp')\n"
            f"customer = tenant_create(actor=SYSTEM, name={customer!r}, parent=msp)\n"
            f"user = user_create(actor=SYSTEM, tenant=customer, role={role!r}, "
            f"email={email!r}, password={password!r})\n"
            "print(api_token_create(user=user, name='e2e')[1])\n"
        )
        done = subprocess.run(
            [ROOT / ".venv" / "bin" / "python", ROOT / "manage.py", "shell", "-v", "0", "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env=self._environment(),
        )
        return Person(email, password, Api(self.url, done.stdout.strip().splitlines()[-1]))

    def _environment(self) -> dict[str, str]:
        """What the portal's own process runs with."""
        raw = Path(f"/proc/{self.pids()['portal']}/environ").read_bytes()
        pairs = (item.partition(b"=") for item in raw.split(b"\0") if b"=" in item)
        return {key.decode(): value.decode() for key, _, value in pairs}
