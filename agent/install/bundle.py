"""The agent as one archive: `python -m agent.install.bundle --output DIR`.

The same sources give the same bytes, so the archive's SHA-256 names what is in it. Only
the standard library is needed here.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("agent", "metadata")
_SUFFIXES = (".py", ".service", ".in")
_FILES = ("requirements/agent.txt", "LICENSE")
_INSTALLER = Path(__file__).with_name("install.sh.in")


def build_bundle(root: Path = ROOT) -> tuple[bytes, str]:
    """The archive (tar.gz) of the agent's files under `root`, and its SHA-256 in hex."""
    names = [name for name in _FILES if (root / name).is_file()]
    for package in _PACKAGES:
        found = (path for path in (root / package).rglob("*") if _belongs(path))
        names += [path.relative_to(root).as_posix() for path in found]
    archive = io.BytesIO()
    # No time and no name in the gzip header, and a fixed owner and time for each file.
    with (
        gzip.GzipFile(fileobj=archive, mode="wb", mtime=0, filename="") as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name in sorted(names):
            content = (root / name).read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(content))
    data = archive.getvalue()
    return data, hashlib.sha256(data).hexdigest()


def write_bundle(folder: Path, root: Path = ROOT) -> str:
    """Put archive, installer and latest.json into `folder` for the portal to serve.

    Each file is replaced whole, latest.json last, so a portal that reads meanwhile sees
    the old set or the new one. Archives of earlier versions stay: an installer that was
    fetched a moment ago still finds its own. Returns the SHA-256.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data, sha256 = build_bundle(root)
    file = f"basalt-agent-{sha256}.tar.gz"
    latest = {"sha256": sha256, "file": file}
    _replace(folder / file, data)
    _replace(folder / "install.sh.in", _INSTALLER.read_bytes())
    _replace(folder / "latest.json", json.dumps(latest).encode() + b"\n")
    return sha256


def _belongs(path: Path) -> bool:
    return path.is_file() and path.suffix in _SUFFIXES and "__pycache__" not in path.parts


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.chmod(0o644)
    temporary.replace(path)


def main() -> None:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, required=True, help="where the portal looks")
    print(write_bundle(parser.parse_args().output))


if __name__ == "__main__":
    main()
