"""Where Debian packages come from, and which ones are there now."""

from __future__ import annotations

import hashlib
import re
import tempfile
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from build import run
from build.errors import BuildError

DEFAULT_MIRROR = "http://deb.debian.org/debian"
APT_HELPER = "/usr/lib/apt/apt-helper"

_ONE_LINE = re.compile(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)$")
_PACKAGES = re.compile(
    r"^ ([0-9a-f]{64})\s+\d+\s+(main/binary-(?:amd64|all)/Packages)$", re.MULTILINE
)


@dataclass(frozen=True)
class Mirror:
    """Base addresses of a Debian archive and of its security archive, without trailing slash."""

    main: str
    security: str

    def sources(self, suite: str) -> list[str]:
        """apt's one-line form of everything a `suite` is made of."""
        return [
            f"deb {self.main} {suite} main",
            f"deb {self.main} {suite}-updates main",
            f"deb {self.security} {suite}-security main",
        ]

    def releases(self, suite: str) -> list[str]:
        """Addresses of the signed indexes of `suite`."""
        return [
            f"{self.main}/dists/{suite}/InRelease",
            f"{self.main}/dists/{suite}-updates/InRelease",
            f"{self.security}/dists/{suite}-security/InRelease",
        ]


@dataclass(frozen=True)
class Archive:
    """What a mirror offers at one moment."""

    packages_digest: str
    """SHA-256 over the digests of the package lists: the same packages, the same digest."""

    epoch: int
    """When the archive was last published, as a unix timestamp."""


def mirror_of_address(address: str) -> Mirror:
    """The mirror at `address`; its security archive stands beside it, as on every full mirror."""
    main = address.rstrip("/")
    return Mirror(main=main, security=main.removesuffix("/debian") + "/debian-security")


def mirror_of_host(apt: Path = Path("/etc/apt")) -> Mirror:
    """The mirror that this host's own apt uses, so that a local mirror is used here too."""
    main = security = None
    for address, suites in _entries(apt):
        for suite in suites:
            if suite.endswith("-security") and "debian-security" in address:
                security = security or address
            elif re.search(r"/debian$", address):
                main = main or address
    fallback = mirror_of_address(main or DEFAULT_MIRROR)
    return Mirror(main=fallback.main, security=security or fallback.security)


def read_archive(mirror: Mirror, suite: str) -> Archive:
    """Ask `mirror` what it has. Raises BuildError("mirror_unreachable").

    apt fetches, so proxies and credentials of the host's apt apply. Signatures are checked
    later, by the apt that installs; here the text only decides whether to build at all.
    """
    digest = hashlib.sha256()
    epoch = 0
    with tempfile.TemporaryDirectory(prefix="basalt-build-") as folder:
        for address in mirror.releases(suite):
            text = _fetch(address, Path(folder) / "InRelease")
            lists = sorted(_PACKAGES.findall(text))
            if not lists:
                message = f"{address} is not the index of a Debian archive. Check --mirror."
                raise BuildError("mirror_unusable", message)
            digest.update(repr((address.rsplit("/", 2)[1], lists)).encode())
            epoch = max(epoch, _published(text))
    return Archive(packages_digest=digest.hexdigest(), epoch=epoch)


def _fetch(address: str, target: Path) -> str:
    target.unlink(missing_ok=True)
    # A folder of ours is closed to apt's own user; apt then warns, and fetches as root.
    options = ["-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=2"]
    try:
        run.capture(
            [
                APT_HELPER,
                *options,
                "-o",
                "Acquire::http::Timeout=20",
                "download-file",
                address,
                target,
            ],
            doing=f"asking {address} for its packages",
        )
        return target.read_text(errors="replace")
    except (BuildError, OSError) as error:
        message = (
            f"The Debian mirror cannot be reached at {address}. Check this machine's network "
            f"and /etc/apt, or name another mirror with --mirror.\n{error}"
        )
        raise BuildError("mirror_unreachable", message) from error


def _published(text: str) -> int:
    found = re.search(r"^Date: (.+)$", text, re.MULTILINE)
    return int(parsedate_to_datetime(found[1]).timestamp()) if found else 0


def _entries(apt: Path) -> list[tuple[str, list[str]]]:
    """(address, suites) of every enabled entry, in apt's order of files."""
    entries: list[tuple[str, list[str]]] = []
    folder = apt / "sources.list.d"
    parts = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in [apt / "sources.list", *parts]:
        if not path.is_file():
            continue
        text = path.read_text(errors="replace")
        if path.suffix == ".sources":
            entries += _deb822_entries(text)
        elif path.suffix == ".list":
            found = (_ONE_LINE.match(line.strip()) for line in text.splitlines())
            entries += [(match[1].rstrip("/"), [match[2]]) for match in found if match]
    return entries


def _deb822_entries(text: str) -> list[tuple[str, list[str]]]:
    entries = []
    plain = re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)
    for stanza in re.split(r"\n\s*\n", plain):
        unfolded = re.sub(r"\n[ \t]+", " ", stanza)
        pairs = [line.partition(":") for line in unfolded.splitlines() if ":" in line]
        fields = {name.strip().lower(): value.split() for name, _, value in pairs}
        if fields.get("enabled", ["yes"])[0].lower() == "no" or "deb" not in fields.get(
            "types", []
        ):
            continue
        entries += [
            (address.rstrip("/"), fields.get("suites", [])) for address in fields.get("uris", [])
        ]
    return entries
