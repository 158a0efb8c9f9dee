"""Finished images are found by what they were made of, and only when they are whole."""

import json
import threading
from pathlib import Path

import pytest

from build import cache
from build.recipe import RECIPES

DEBIAN_12 = RECIPES["debian-12"]
GIB = 1024**3


def finished(output: Path, key: str, *, recipe: str = "r1", built_at: str) -> Path:
    image = cache.image_path(output, DEBIAN_12, key)
    image.write_bytes(b"disk")
    record = {"size": 4, "recipe": recipe, "built_at": built_at, "key": key}
    image.with_suffix(".json").write_text(json.dumps(record))
    return image


def test_the_same_recipe_and_packages_give_the_same_key() -> None:
    first = cache.content_key(cache.recipe_digest(DEBIAN_12, disk_size=2 * GIB), "packages")
    second = cache.content_key(cache.recipe_digest(DEBIAN_12, disk_size=2 * GIB), "packages")
    assert first == second
    assert len(first) == cache.KEY_LENGTH


def test_other_packages_another_system_or_another_size_give_another_key() -> None:
    digest = cache.recipe_digest(DEBIAN_12, disk_size=2 * GIB)
    bigger = cache.recipe_digest(DEBIAN_12, disk_size=3 * GIB)
    other = cache.recipe_digest(RECIPES["debian-13"], disk_size=2 * GIB)
    keys = {
        cache.content_key(digest, "packages"),
        cache.content_key(digest, "newer packages"),
        cache.content_key(bigger, "packages"),
        cache.content_key(other, "packages"),
    }
    assert len(keys) == 4


def test_a_changed_overlay_file_gives_another_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cache.recipe_digest(DEBIAN_12, disk_size=GIB)
    here = Path(cache.recipes.__file__).parent
    for name in [*cache.SOURCES, "overlay/etc/motd"]:
        copy = tmp_path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((here / name).read_bytes() if (here / name).exists() else b"hello")
    monkeypatch.setattr(cache.recipes, "__file__", str(tmp_path / "recipe.py"))
    monkeypatch.setattr(cache.recipes, "OVERLAY", tmp_path / "overlay")
    hello = cache.recipe_digest(DEBIAN_12, disk_size=GIB)
    (tmp_path / "overlay/etc/motd").write_bytes(b"goodbye")
    assert len({before, hello, cache.recipe_digest(DEBIAN_12, disk_size=GIB)}) == 3


def test_a_finished_image_is_found_with_its_path(tmp_path: Path) -> None:
    image = finished(tmp_path, "a" * 12, built_at="2026-01-01T00:00:00+00:00")
    record = cache.find(tmp_path, DEBIAN_12, "a" * 12)
    assert record is not None
    assert record["path"] == str(image.resolve())


def test_an_image_cut_short_is_not_taken_for_a_finished_one(tmp_path: Path) -> None:
    image = finished(tmp_path, "a" * 12, built_at="2026-01-01T00:00:00+00:00")
    image.write_bytes(b"dis")
    assert cache.find(tmp_path, DEBIAN_12, "a" * 12) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"size": "4"}', "{}"])
def test_an_unreadable_record_is_no_finished_image(tmp_path: Path, text: str) -> None:
    image = finished(tmp_path, "a" * 12, built_at="2026-01-01T00:00:00+00:00")
    image.with_suffix(".json").write_text(text)
    assert cache.find(tmp_path, DEBIAN_12, "a" * 12) is None


def test_the_newest_image_is_the_last_built_of_the_same_recipe(tmp_path: Path) -> None:
    finished(tmp_path, "a" * 12, built_at="2026-01-01T00:00:00+00:00")
    finished(tmp_path, "b" * 12, built_at="2026-03-01T00:00:00+00:00")
    finished(tmp_path, "c" * 12, built_at="2026-05-01T00:00:00+00:00", recipe="another")
    newest = cache.newest(tmp_path, DEBIAN_12, "r1")
    assert newest is not None
    assert newest["key"] == "b" * 12


def test_no_folder_holds_no_image(tmp_path: Path) -> None:
    assert cache.newest(tmp_path / "missing", DEBIAN_12, "r1") is None


def test_publishing_writes_image_and_record_that_agree(tmp_path: Path) -> None:
    draft = tmp_path / "disk.qcow2"
    draft.write_bytes(b"basalt")
    target = cache.image_path(tmp_path, DEBIAN_12, "d" * 12)
    record = cache.publish(draft, target, {"name": "debian-12"})
    assert target.read_bytes() == b"basalt"
    assert cache.find(tmp_path, DEBIAN_12, "d" * 12) == record
    # printf basalt | sha256sum
    assert record["sha256"] == "8369762ae90ec0b2252931df46d51aa11a4c0727669c41c7157e6da8a88430f3"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"debian-12-{'d' * 12}.json",
        f"debian-12-{'d' * 12}.qcow2",
    ]


def test_what_a_killed_build_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    old = tmp_path / f"{cache.WORK_PREFIX}debian-12-1-1"
    (old / "root").mkdir(parents=True)
    with cache.work_folder(tmp_path, DEBIAN_12) as work:
        assert work.is_dir()
        assert not old.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_second_build_says_that_it_waits_and_goes_on_when_the_first_ends(tmp_path: Path) -> None:
    said: list[str] = []
    waiting = threading.Event()

    def say(text: str) -> None:
        said.append(text)
        waiting.set()

    def second() -> None:
        with cache.exclusively(tmp_path, DEBIAN_12, say=say):
            said.append("entered")

    thread = threading.Thread(target=second)
    with cache.exclusively(tmp_path, DEBIAN_12, say=said.append):
        thread.start()
        assert waiting.wait(10)
        assert said == ["Another build of debian-12 is running; waiting for it."]
    thread.join(10)
    assert said[-1] == "entered"
