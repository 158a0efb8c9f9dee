"""Images that nobody uses make room; the others stay."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.disks import LocalDisks
from agent.errors import JobFailedError
from agent.images.cache import ImageCache
from agent.protocol import DiskSpec, ImageSource
from agent.settings import Identity, Settings
from tests.agent.specs import new_id

MIB = 2**20
HOUR = 3600.0
DAY = 24 * HOUR


class Host:
    """A host's cache and disks in a folder, and images that are there already."""

    def __init__(self, folder: Path) -> None:
        portal = "http://127.0.0.1:1"
        identity = Identity(portal=portal, origin=portal, hypervisor_id=new_id(), name="h")
        self.images = ImageCache(folder / "images", Settings(data=str(folder), identity=identity))
        self.disks = LocalDisks(folder, images=self.images, reachable=folder)

    def image(self, *, unused_for: float, mib: int = 1) -> ImageSource:
        source = ImageSource(version_id=new_id(), sha256="0" * 64, format="qcow2", size=MIB)
        path = self.images.path(source)
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=full"]
        subprocess.run([*command, str(path), f"{mib}M"], check=True)
        then = time.time() - unused_for
        os.utime(path, (then, then))
        return source

    def has(self, source: ImageSource) -> bool:
        return self.images.path(source).exists()

    async def vm_on(self, image: ImageSource, mib: int = 4) -> None:
        vm_id, disk = new_id(), DiskSpec(disk_id=new_id(), size=mib * MIB, boot=True)
        await self.disks.check_space(vm_id, [disk], image)
        await self.disks.make(vm_id, [disk], image)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system with 200 MiB beside the 1 GiB that is the host's own."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1224M", "none", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


async def test_what_nobody_has_used_for_a_month_is_removed_and_what_disks_lie_on_stays(tmp_path):
    host = Host(tmp_path)
    seldom, lately = host.image(unused_for=31 * DAY), host.image(unused_for=29 * DAY)
    under_a_disk = host.image(unused_for=0)
    await host.vm_on(under_a_disk)
    os.utime(host.images.path(under_a_disk), (0, 0))
    given_up = tmp_path / "images" / f"{new_id()}.{'0' * 16}.part"
    given_up.write_bytes(bytes(MIB))
    os.utime(given_up, (0, 0))
    going_on = tmp_path / "images" / f"{new_id()}.{'0' * 16}.part"
    going_on.write_bytes(b"x")

    assert host.images.forget_seldom_used() >= 2 * MIB
    there = [host.has(one) for one in (seldom, lately, under_a_disk)]
    assert there == [False, True, True]
    assert (given_up.exists(), going_on.exists()) == (False, True)
    assert host.images.forget_seldom_used() == 0


@pytest.mark.root
async def test_a_new_disk_takes_the_place_of_images_that_nobody_uses(small_disk):
    host = Host(small_disk)
    oldest = host.image(unused_for=3 * DAY, mib=50)
    older = host.image(unused_for=2 * DAY, mib=50)
    wanted = host.image(unused_for=9 * DAY, mib=40)
    # 60 MiB are left, 90 are needed: one image has to go, the one unused for longest.
    await host.vm_on(wanted, mib=90)
    assert [host.has(one) for one in (oldest, older, wanted)] == [False, True, True]


@pytest.mark.root
async def test_an_image_that_a_job_may_be_about_to_use_makes_no_room(small_disk):
    host = Host(small_disk)
    just_used = host.image(unused_for=HOUR / 2, mib=100)
    wanted = host.image(unused_for=0)
    with pytest.raises(JobFailedError) as refused:
        await host.vm_on(wanted, mib=150)
    assert refused.value.code == "not_enough_disk"
    assert host.has(just_used)
