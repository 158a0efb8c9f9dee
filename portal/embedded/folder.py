"""The data folder of script/up: one Basalt at a time, forgetting, and moving house."""

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from portal.embedded.processes import EmbeddedError

# What --fresh removes. Built images stay: they hold nothing of anybody's. Nothing else in the
# folder is touched, for it may be a folder that holds other things too.
_OURS = (
    "admin.json",
    "agent",
    "host",
    "log",
    "media",
    "postgres",
    "postgres.new",
    "redis",
    "run",
    "secret_key",
    "simulated",
    "staticfiles",
    "tmp",
)


@contextmanager
def only_one(data: Path) -> Iterator[None]:
    """One Basalt per folder. The lock goes with the process, however that ends."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock: TextIO = (data / "lock").open("a+")
    except OSError as error:
        raise EmbeddedError(
            f"The folder {data} can't hold the data ({error.strerror}). Choose another with "
            "--data DIR."
        ) from error
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


def forget(data: Path) -> None:
    """Remove all data but built images. Raises EmbeddedError where no Basalt has been."""
    here = [name for name in _OURS if (data / name).exists()]
    if here and not ((data / "secret_key").exists() or (data / "postgres").exists()):
        raise EmbeddedError(
            f"{data} does not look like a folder of Basalt's data, so --fresh removes nothing "
            f"there. Remove {', '.join(here)} yourself, or choose another folder with --data DIR."
        )
    # The key goes last: until then the folder is known as ours, should this be cut off.
    for name in sorted(here, key=lambda name: name == "secret_key"):
        path = data / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def has_host(data: Path) -> bool:
    """This machine was enrolled as a host."""
    return (data / "host" / "agent.json").exists()


def forget_guests(data: Path) -> None:
    """Take the guests whose disks lie in this data from libvirt, which must be running."""
    hypervisor_id = json.loads((data / "host" / "agent.json").read_text())["hypervisor_id"]
    for domain in _virsh("list", "--all", "--uuid").split():
        if hypervisor_id in _virsh("dumpxml", domain):
            _virsh("destroy", domain)
            _virsh("undefine", "--nvram", domain)


def _virsh(*arguments: str) -> str:
    command = ["virsh", "-q", "-c", "qemu:///system", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


def tell_identities_the_origin(data: Path, origin: str) -> None:
    """The hosts of this machine follow the portal to another port."""
    for path in [data / "host" / "agent.json", *(data / "simulated").glob("*/agent.json")]:
        if not path.exists():
            continue
        identity = json.loads(path.read_text())
        if identity["portal"] != origin or identity["origin"] != origin:
            identity |= {"portal": origin, "origin": origin}
            temporary = path.with_suffix(".new")
            temporary.unlink(missing_ok=True)
            temporary.touch(mode=0o600)
            temporary.write_text(json.dumps(identity))
            temporary.replace(path)
