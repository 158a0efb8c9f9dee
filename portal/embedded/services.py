"""The private PostgreSQL and Redis: on unix sockets only, gone with whoever started them."""

import grp
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from portal.embedded.leftovers import MARK
from portal.embedded.processes import (
    Account,
    EmbeddedError,
    open_log,
    own_folder,
    program,
    run_quietly,
    service_account,
    stop_group,
)
from portal.embedded.shared_daemons import SharedDaemons

if TYPE_CHECKING:
    import psycopg

_LONGEST_SOCKET_PATH = 100
_START_S = 30


def _socket_folder(data: Path, name: str, account: Account) -> Path:
    """Where the socket goes: below the data, or in /tmp when that path is too long for one."""
    folder = data / "run" / name
    if len(str(folder)) > _LONGEST_SOCKET_PATH - 20:
        key = hashlib.sha256(str(data).encode()).hexdigest()[:12]
        folder = Path(tempfile.gettempdir()) / f"basalt-{key}-{name}"
        if folder.exists() and folder.stat().st_uid != account.ids[0]:
            raise EmbeddedError(f"{folder} belongs to somebody else. Choose a shorter --data DIR.")
    return own_folder(folder, account)


def _leave_socket_folder(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


class Postgres:
    """A cluster of its own in DATA/postgres, with the database `basalt` and its two roles:
    `basalt_owner` owns and migrates the tables, `basalt` is the application's and owns nothing."""

    def __init__(self, data: Path, *, durable: bool = True) -> None:
        self.account = service_account("postgres")
        self.folder = data / "postgres"
        self.socket_folder = _socket_folder(data, "postgres", self.account)
        self.log = data / "log" / "postgres.log"
        self.durable = durable
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For the application."""
        return self._url("basalt")

    @property
    def owner_url(self) -> str:
        """For migrations."""
        return self._url("basalt_owner")

    def _url(self, role: str) -> str:
        return f"postgresql:///basalt?host={quote(str(self.socket_folder), safe='')}&user={role}"

    def start(self) -> None:
        """Ready when this returns. Raises EmbeddedError."""
        if not (self.folder / "PG_VERSION").exists():
            self._initialise()
        # A cluster that was killed left its pid; PostgreSQL checks itself whether that lives.
        command = [
            *self.account.prefix(die_with_parent="INT", folder=self.folder),
            self._program("postgres"),
            "-D",
            str(self.folder),
            "-k",
            str(self.socket_folder),
            "-c",
            "listen_addresses=",
            "-c",
            "max_connections=200",
            "-c",
            "unix_socket_permissions=0700",
        ]
        if not self.durable:
            command += [
                "-c",
                "fsync=off",
                "-c",
                "synchronous_commit=off",
                "-c",
                "full_page_writes=off",
            ]
        with open_log(self.log) as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._wait()
        self._make_database()

    def stop(self) -> None:
        if self._process is not None:
            stop_group(self._process, first=signal.SIGINT, seconds=20)
            self._process = None
            _leave_socket_folder(self.socket_folder)

    def _initialise(self) -> None:
        """A whole cluster or none: one that was cut off half-made is begun anew."""
        half = self.folder.with_name("postgres.new")
        shutil.rmtree(half, ignore_errors=True)
        own_folder(half, self.account)
        run_quietly(
            [
                *self.account.prefix(die_with_parent="TERM", folder=half),
                *(self._program("initdb"), "-D", str(half), "--auth=trust"),
                *("--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8"),
            ],
            what="Making the private PostgreSQL",
            cwd=Path("/"),
        )
        half.replace(self.folder)

    def _wait(self) -> None:
        end = time.monotonic() + _START_S
        ready = [self._program("pg_isready"), "-q", "-h", str(self.socket_folder)]
        while subprocess.run(ready, check=False).returncode != 0:
            if self._process is None or self._process.poll() is not None:
                raise EmbeddedError(f"PostgreSQL did not start; {self.log} says why.")
            if time.monotonic() > end:
                raise EmbeddedError(f"PostgreSQL is not ready after {_START_S} s; see {self.log}.")
            time.sleep(0.05)

    def _make_database(self) -> None:
        """The roles and the database as they should be, whichever version made the cluster."""
        with self._as_superuser("postgres") as connection:
            roles = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
            for role in {"basalt", "basalt_owner"} - roles:
                connection.execute(f"CREATE ROLE {role} LOGIN")
            connection.execute("ALTER ROLE basalt_owner NOSUPERUSER NOBYPASSRLS CREATEDB")
            connection.execute(
                "ALTER ROLE basalt NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION"
            )
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname='basalt'")
            if not found.fetchone():
                connection.execute("CREATE DATABASE basalt OWNER basalt_owner")
        with self._as_superuser("basalt") as connection:
            # Before there were two roles, the application's owned database and tables.
            connection.execute("REASSIGN OWNED BY basalt TO basalt_owner")
            connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")

    def _as_superuser(self, database: str) -> "psycopg.Connection[Any]":
        import psycopg

        return psycopg.connect(
            host=str(self.socket_folder), user="postgres", dbname=database, autocommit=True
        )

    def _program(self, name: str) -> str:
        """A program of the version that made the cluster, or of the newest for a new one."""
        made_by = self.folder / "PG_VERSION"
        installed = {path.parent.name: path for path in Path("/usr/lib/postgresql").glob("*/bin")}
        if not made_by.exists():
            newest = max(installed, key=int, default=None)
            return str(installed[newest] / name) if newest else program(name)
        version = made_by.read_text().strip()
        if version in installed:
            return str(installed[version] / name)
        if installed:
            raise EmbeddedError(
                f"The data in {self.folder} was made by PostgreSQL {version}, and only "
                f"{', '.join(sorted(installed))} is here. Install postgresql-{version}, or move "
                "the data with pg_upgrade."
            )
        return program(name)


class Redis:
    """A Redis of its own in DATA/redis, which keeps its queue over a restart."""

    def __init__(self, data: Path, *, durable: bool = True) -> None:
        self.account = service_account("redis")
        self.folder = data / "redis"
        self.socket = _socket_folder(data, "redis", self.account) / "redis.sock"
        self.log = data / "log" / "redis.log"
        self.durable = durable
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket))}"

    def start(self) -> None:
        """Ready when this returns. Raises EmbeddedError."""
        import redis

        own_folder(self.folder, self.account)
        self.socket.unlink(missing_ok=True)
        command = [
            *self.account.prefix(die_with_parent="TERM", folder=self.folder),
            program("redis-server", "/usr/bin", "/usr/sbin"),
            *("--port", "0"),
            *("--unixsocket", str(self.socket)),
            *("--unixsocketperm", "700"),
            *("--dir", str(self.folder)),
            *("--appendonly", "yes" if self.durable else "no"),
            *("--save", ""),
            *("--daemonize", "no"),
        ]
        with open_log(self.log) as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        client = redis.Redis(unix_socket_path=str(self.socket))
        end = time.monotonic() + _START_S
        while True:
            try:
                client.ping()
                break
            except redis.RedisError as error:
                if self._process.poll() is not None:
                    raise EmbeddedError(f"Redis did not start; {self.log} says why.") from error
                if time.monotonic() > end:
                    raise EmbeddedError(f"Redis is not ready; see {self.log}.") from error
                time.sleep(0.05)
        client.close()

    def stop(self) -> None:
        if self._process is not None:
            stop_group(self._process, first=signal.SIGTERM, seconds=10)
            self._process = None
            self.socket.unlink(missing_ok=True)
            _leave_socket_folder(self.socket.parent)


class Libvirt:
    """libvirt's daemons, where no systemd runs them. What runs already is left alone; what a
    run of ours started ends with the last run that uses it."""

    def __init__(self, data: Path) -> None:
        self.log = data / "log" / "libvirt.log"
        self._daemons = SharedDaemons(Path("/run/basalt-libvirt.lock"))

    def start(self) -> None:
        """libvirt answers when this returns. Raises EmbeddedError."""
        _give_kvm_its_group()
        self._daemons.join()
        if self._answers():
            return
        if Path("/run/systemd/system").exists():
            run_quietly(["systemctl", "start", "libvirtd"], what="Starting libvirtd")
        else:
            absent = [
                program(name, "/usr/sbin")
                for name in ("virtlogd", "libvirtd")
                if not _alive(Path("/run") / f"{name}.pid")
            ]
            env = {name: value for name, value in os.environ.items() if name != MARK}
            with open_log(self.log) as log:
                self._daemons.start(absent, log=log, env=env)
        end = time.monotonic() + _START_S
        while not self._answers():
            if time.monotonic() > end:
                raise EmbeddedError(f"libvirtd does not answer; {self.log} says why.")
            time.sleep(0.1)

    def stop(self) -> None:
        self._daemons.leave()

    @staticmethod
    def _answers() -> bool:
        done = subprocess.run(
            ["virsh", "-q", "-c", "qemu:///system", "uri"],
            check=False,
            capture_output=True,
            timeout=60,
        )
        return done.returncode == 0


def _give_kvm_its_group() -> None:
    """What udev does for /dev/kvm, where no udev runs.

    libvirt remembers what QEMU can do together with whether its guests' user may open
    /dev/kvm. Where that user may not, libvirt 9 asks QEMU again at every look-up, seconds
    each time, whether or not KVM is ever used.
    """
    device = Path("/dev/kvm")
    if Path("/run/udev/control").exists() or not device.exists():
        return
    try:
        group = grp.getgrnam("kvm").gr_gid
    except KeyError:
        return
    if device.stat().st_gid != group:
        os.chown(device, -1, group)
        device.chmod(0o660)


def _alive(pid_file: Path) -> bool:
    try:
        os.kill(int(pid_file.read_text().strip()), 0)
    except (ValueError, OSError):  # no such file, or no such process
        return False
    return True
