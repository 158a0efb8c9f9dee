"""What script/up may touch in its data folder, and what it must not."""

import json
import multiprocessing
from pathlib import Path

import pytest

from portal.embedded.folder import forget, only_one, tell_identities_the_origin
from portal.embedded.processes import EmbeddedError


def test_forgetting_leaves_built_images_and_what_is_not_ours(tmp_path: Path):
    for name in ("postgres", "media", "images", "holidays"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / "secret_key").touch()
    forget(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["holidays", "images"]


def test_a_folder_that_is_not_ours_is_left_alone_whatever_the_names_in_it(tmp_path: Path):
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "wedding.jpg").touch()
    with pytest.raises(EmbeddedError, match="does not look like"):
        forget(tmp_path)
    assert (tmp_path / "media" / "wedding.jpg").exists()


def test_a_link_to_a_folder_elsewhere_goes_and_the_folder_stays(tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "image.qcow2").touch()
    data = tmp_path / "data"
    data.mkdir()
    (data / "secret_key").touch()
    (data / "media").symlink_to(elsewhere)
    forget(data)
    assert (elsewhere / "image.qcow2").exists()
    assert not (data / "media").is_symlink()


def test_a_data_folder_that_is_a_file_is_a_sentence(tmp_path: Path):
    path = tmp_path / "data"
    path.touch()
    with pytest.raises(EmbeddedError, match="--data DIR"), only_one(path):
        pytest.fail("a file can't hold the data")


def _hold(data: Path, held: "multiprocessing.synchronize.Event") -> None:
    with only_one(data):
        held.set()
        multiprocessing.Event().wait(60)


def test_the_folder_is_free_again_as_soon_as_its_holder_is_killed(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, held), daemon=True)
    holder.start()
    assert held.wait(60)
    with pytest.raises(EmbeddedError, match=str(holder.pid)), only_one(tmp_path):
        pytest.fail("two at once")
    holder.kill()
    holder.join()
    with only_one(tmp_path):
        assert (tmp_path / "lock").exists()


def test_hosts_follow_the_portal_and_their_identity_stays_private(tmp_path: Path):
    path = tmp_path / "host" / "agent.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"portal": "http://a:1", "origin": "http://a:1", "name": "vm"}))
    path.chmod(0o600)
    tell_identities_the_origin(tmp_path, "http://a:2")
    assert json.loads(path.read_text()) == {
        "portal": "http://a:2",
        "origin": "http://a:2",
        "name": "vm",
    }
    assert path.stat().st_mode & 0o777 == 0o600
