"""Finished images: found again by what they were made of."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from build import recipe as recipes
from build.recipe import Recipe

KEY_LENGTH = 12
# What decides the bytes of the image; a change elsewhere must not cause a rebuild.
SOURCES = ("recipe.py", "rootfs.py", "bootloader.py", "disk.py", "context.py")
WORK_PREFIX = ".work-"


def recipe_digest(recipe: Recipe, *, disk_size: int) -> str:
    """SHA-256 over everything of ours that goes into an image."""
    here = Path(recipes.__file__).parent
    overlay = sorted(path for path in recipes.OVERLAY.rglob("*") if path.is_file())
    digest = hashlib.sha256(repr((recipe, disk_size)).encode())
    for path in [*(here / name for name in SOURCES), *overlay]:
        digest.update(repr((str(path.relative_to(here)), path.read_bytes())).encode())
    return digest.hexdigest()


def content_key(recipe_digest: str, packages_digest: str) -> str:
    """The part of the file's name that says what is inside."""
    joined = f"{recipe_digest}/{packages_digest}"
    return hashlib.sha256(joined.encode()).hexdigest()[:KEY_LENGTH]


def image_path(output: Path, recipe: Recipe, key: str) -> Path:
    return output / f"{recipe.name}-{key}.qcow2"


def find(output: Path, recipe: Recipe, key: str) -> dict[str, Any] | None:
    """The record of a finished image, or None when it is missing, cut short or unreadable."""
    return _read(image_path(output, recipe, key))


def newest(output: Path, recipe: Recipe, recipe_digest: str) -> dict[str, Any] | None:
    """The newest finished image of this very recipe, whatever packages were current then."""
    name = re.compile(re.escape(recipe.name) + rf"-[0-9a-f]{{{KEY_LENGTH}}}\.qcow2")
    paths = output.iterdir() if output.is_dir() else ()
    found = (_read(path) for path in paths if name.fullmatch(path.name))
    fitting = [record for record in found if record and record.get("recipe") == recipe_digest]
    return max(fitting, key=lambda record: str(record["built_at"]), default=None)


def age_seconds(record: dict[str, Any]) -> float:
    """How long ago the image of `record` was built."""
    return (datetime.now(UTC) - datetime.fromisoformat(record["built_at"])).total_seconds()


def publish(qcow2: Path, target: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Put the image at `target` and its record beside it; returns the complete record.

    The record comes last and both come by rename: whoever sees a record has the image too.
    """
    complete = {
        "file": target.name,
        "path": str(target.resolve()),
        "sha256": _sha256(qcow2),
        "size": qcow2.stat().st_size,
        "format": "qcow2",
        **record,
        "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    qcow2.chmod(0o644)
    _sync(qcow2)
    draft = qcow2.with_suffix(".json")
    draft.write_text(json.dumps(complete, indent=2) + "\n")
    _sync(draft)
    qcow2.replace(target)
    draft.replace(target.with_suffix(".json"))
    _sync(target.parent)
    return complete


@contextmanager
def exclusively(output: Path, recipe: Recipe, *, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the only build of `recipe` in `output`; a second one waits, then finds the result."""
    output.mkdir(parents=True, exist_ok=True)
    with (output / f".{recipe.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another build of {recipe.name} is running; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def work_folder(output: Path, recipe: Recipe) -> Iterator[Path]:
    """A folder for one build, removed at its end; remains of a killed build are removed first."""
    for old in output.glob(f"{WORK_PREFIX}{recipe.name}-*"):
        shutil.rmtree(old, ignore_errors=True)
    work = output / f"{WORK_PREFIX}{recipe.name}-{os.getpid()}-{int(time.time())}"
    work.mkdir(mode=0o700)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _read(image: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(image.with_suffix(".json").read_text())
        complete = image.stat().st_size == record["size"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # A moved folder keeps its images.
    return {**record, "path": str(image.resolve())} if complete else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
