"""The host's own mirror is used, and a mirror that does not answer is named."""

import socket
from pathlib import Path

import pytest

from build.errors import BuildError
from build.mirror import DEFAULT_MIRROR, Mirror, mirror_of_address, mirror_of_host, read_archive

DEB822 = """\
# our own
Types: deb deb-src
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs:
 http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""


def test_deb822_sources_are_read(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    found = mirror_of_host(tmp_path)
    assert found == Mirror("http://mirror.example/debian", "http://mirror.example/debian-security")


def test_one_line_sources_are_read_and_strangers_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(
        "# deb http://old.example/debian bookworm main\n"
        "deb https://packages.example/apt stable main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://local.example/debian bookworm main\n"
    )
    found = mirror_of_host(tmp_path)
    assert found == Mirror("http://local.example/debian", "http://local.example/debian-security")


def test_a_disabled_stanza_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text("Enabled: no\n" + DEB822[10:])
    assert mirror_of_host(tmp_path).main == DEFAULT_MIRROR


def test_without_apt_sources_debians_own_mirror_is_used(tmp_path: Path) -> None:
    assert mirror_of_host(tmp_path) == mirror_of_address(DEFAULT_MIRROR)


def test_a_suite_is_its_release_its_updates_and_its_security_fixes() -> None:
    mirror = mirror_of_address("http://m.example/debian/")
    assert mirror.sources("trixie") == [
        "deb http://m.example/debian trixie main",
        "deb http://m.example/debian trixie-updates main",
        "deb http://m.example/debian-security trixie-security main",
    ]


def archive(folder: Path, *, digest: str, date: str) -> Mirror:
    """A mirror in a folder, with one package list of the given digest."""
    for base, suite in (
        ("debian", "bookworm"),
        ("debian", "bookworm-updates"),
        ("debian-security", "bookworm-security"),
    ):
        release = folder / base / "dists" / suite / "InRelease"
        release.parent.mkdir(parents=True, exist_ok=True)
        release.write_text(
            f"Date: {date}\nMD5Sum:\n {'0' * 32} 1 main/binary-amd64/Packages\nSHA256:\n"
            f" {digest} 123 main/binary-amd64/Packages\n {'1' * 64} 1 main/binary-arm64/Packages\n"
        )
    return Mirror(f"file:{folder}/debian", f"file:{folder}/debian-security")


def test_a_mirror_signed_anew_offers_the_same_packages(tmp_path: Path) -> None:
    mirror = archive(tmp_path, digest="a" * 64, date="Sat, 12 Sep 2026 07:55:41 UTC")
    before = read_archive(mirror, "bookworm")
    archive(tmp_path, digest="a" * 64, date="Sun, 13 Sep 2026 07:55:41 UTC")
    after = read_archive(mirror, "bookworm")
    assert before.packages_digest == after.packages_digest
    assert after.epoch - before.epoch == 24 * 3600


def test_other_packages_have_another_digest(tmp_path: Path) -> None:
    mirror = archive(tmp_path, digest="a" * 64, date="Sat, 12 Sep 2026 07:55:41 UTC")
    before = read_archive(mirror, "bookworm")
    archive(tmp_path, digest="b" * 64, date="Sat, 12 Sep 2026 07:55:41 UTC")
    assert read_archive(mirror, "bookworm").packages_digest != before.packages_digest


def test_an_address_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    mirror = archive(tmp_path, digest="a" * 64, date="Sat, 12 Sep 2026 07:55:41 UTC")
    (tmp_path / "debian/dists/bookworm/InRelease").write_text("<html>Welcome</html>")
    with pytest.raises(BuildError, match="not the index of a Debian archive"):
        read_archive(mirror, "bookworm")


def test_a_mirror_that_does_not_answer_is_named_with_what_to_do() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/debian"
        with pytest.raises(BuildError, match="--mirror") as caught:
            read_archive(mirror_of_address(address), "bookworm")
    assert caught.value.code == "mirror_unreachable"
    assert address in str(caught.value)
