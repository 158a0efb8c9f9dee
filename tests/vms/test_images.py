"""Images: what may come in, in which words it is refused, and that nothing half-made stays."""

import errno
import hashlib
import os
import struct
import time
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile

from tenants.actor import SYSTEM
from tenants.errors import InvalidInputError, NameTakenError
from tests.factories import GIB, CustomerFactory, VirtualMachineFactory
from vms.models import Image, ImageVersion
from vms.services import image_files
from vms.services.image_files import (
    ImageChecksumError,
    ImageNotADiskError,
    ImageTooLargeError,
    PortalDiskFullError,
)
from vms.services.images import (
    image_create_from_upload,
    image_create_from_url,
    image_files_sweep,
    image_identify,
    image_register_file,
    image_retire,
)
from vms.services.specs import guest_spec

pytestmark = pytest.mark.django_db
SHA = "ab" * 32


def qcow2(
    *, size: int = 3 * GIB, backing: int = 0, features: int = 0, encryption: int = 0
) -> bytes:
    head = b"QFI\xfb" + struct.pack(">IQIIQI", 3, backing, 0, 16, size, encryption)
    return (head + bytes(72 - len(head)) + struct.pack(">Q", features)).ljust(65536, b"\0")


RAW = (bytes(510) + b"\x55\xaa").ljust(1024 * 1024, b"\0")


def upload(content: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile("disk.img", content)


def stored(media: Path) -> list[Path]:
    return sorted(media.rglob("*.*"))


def add(content: bytes, **options) -> Image:
    options = {"tenant": None, "name": "debian", "file": upload(content)} | options
    return image_create_from_upload(actor=SYSTEM, **options)


@pytest.mark.parametrize(
    ("content", "form", "size"), [(qcow2(), "qcow2", 3 * GIB), (RAW, "raw", len(RAW))]
)
def test_an_uploaded_disk_is_kept_under_its_checksum(media, content, form, size):
    digest = hashlib.sha256(content).hexdigest()
    version = add(content, sha256=digest.upper()).latest
    assert (version.format, version.virtual_size, version.sha256) == (form, size, digest)
    assert version.size == len(content)
    assert (media / version.file).read_bytes() == content
    assert len(stored(media)) == 1


def test_the_disk_in_the_image_sets_the_least_boot_disk(media):
    assert add(qcow2(size=7 * GIB + 1)).min_disk_gib == 8


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (qcow2(backing=512), "backing file"),
        (qcow2(features=4), "data in another file"),
        (qcow2(encryption=1), "encrypted"),
        (qcow2(size=0), "impossible size"),
        (qcow2(size=2**62), "impossible size"),
        (qcow2()[:40], "cut short"),
        (b"QFI\xfb\x00\x00\x00\x09" + bytes(600), "version 9"),
        (b"\x1f\x8b" + bytes(600), "gunzip"),
        (b"\xfd7zXZ" + bytes(600), "unxz"),
        (b"KDMV" + bytes(600), "VMware"),
        (b"<!DOCTYPE html><html>", "web page"),
        (bytes(0x8001) + b"CD001" + bytes(600), "installation CD"),
        (b"hello", "neither a qcow2"),
        (RAW + b"odd", "neither a qcow2"),
    ],
)
def test_what_is_no_disk_is_refused_with_a_way_out_and_nothing_stays(media, content, words):
    with pytest.raises(ImageNotADiskError, match=words):
        add(content)
    assert stored(media) == []
    assert Image.objects.count() == 0


def test_a_wrong_checksum_is_refused_and_nothing_stays(media):
    with pytest.raises(ImageChecksumError, match="changed or cut short") as refusal:
        add(RAW, sha256=SHA)
    assert refusal.value.code == "image_checksum_mismatch"
    assert stored(media) == []
    assert Image.objects.count() == 0


def test_an_empty_file_is_refused(media):
    with pytest.raises(InvalidInputError, match="empty"):
        add(b"")


def test_a_file_over_the_limit_is_refused_and_nothing_stays(media, settings):
    settings.BASALT_MAX_IMAGE_BYTES = 1000
    with pytest.raises(ImageTooLargeError):
        add(RAW)
    assert stored(media) == []


def test_a_full_disk_is_said_and_nothing_stays(media, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(image_files.os, "fsync", full)
    with pytest.raises(PortalDiskFullError, match="disk is full, and nothing"):
        add(RAW)
    assert stored(media) == []
    assert Image.objects.count() == 0


def test_a_name_in_use_is_refused_and_its_file_does_not_stay(media):
    add(RAW)
    with pytest.raises(NameTakenError, match="retire that one"):
        add(qcow2(), name="Debian")
    assert len(stored(media)) == 1


def test_two_tenants_may_use_one_name(media):
    add(RAW, tenant=CustomerFactory())
    add(RAW, tenant=CustomerFactory())
    add(RAW)
    assert Image.objects.count() == 3


def test_a_large_upload_that_django_put_on_disk_is_linked_and_not_copied(media, settings):
    media.mkdir()
    settings.FILE_UPLOAD_TEMP_DIR = str(media)
    file = TemporaryUploadedFile("disk.img", "application/octet-stream", len(RAW), None)
    file.write(RAW)
    file.flush()
    inode = Path(file.temporary_file_path()).stat().st_ino
    version = add(b"", file=file).latest
    assert (media / version.file).stat().st_ino == inode
    file.close()
    assert (media / version.file).read_bytes() == RAW


def register(path: Path, **options) -> Image:
    return image_register_file(actor=SYSTEM, tenant=None, name="debian-12", path=path, **options)


def test_registering_a_built_image_twice_is_one_version_and_new_content_the_next(media, tmp_path):
    path = tmp_path / "built.qcow2"
    path.write_bytes(qcow2())
    first, again = register(path), register(path)
    assert first == again
    assert len(stored(media)) == 1
    path.unlink()
    path.write_bytes(qcow2(size=4 * GIB))
    register(path)
    assert [version.number for version in first.versions.all()] == [2, 1]
    assert first.latest.number == 2
    assert (media / first.versions.get(number=1).file).read_bytes() == qcow2()


def test_a_registered_file_that_was_lost_comes_back(media, tmp_path):
    path = tmp_path / "built.qcow2"
    path.write_bytes(qcow2())
    version = register(path).latest
    (media / version.file).unlink()
    register(path)
    version.refresh_from_db()
    assert (media / version.file).read_bytes() == qcow2()


def by_url(url: str, **options) -> Image:
    options = {"name": "by-url", "sha256": SHA} | options
    return image_create_from_url(actor=SYSTEM, tenant=None, url=url, **options)


def test_an_image_by_url_is_kept_as_an_address_and_a_checksum():
    version = by_url(" https://1.1.1.1/debian.qcow2 ", sha256=SHA.upper()).latest
    assert (version.source, version.url) == ("url", "https://1.1.1.1/debian.qcow2")
    assert (version.sha256, version.size, version.file) == (SHA, None, "")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://10.1.2.3/x",
        "http://192.168.1.1:8080/x",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/x",
        "http://[fe80::1]/x",
        "http://[::ffff:10.0.0.1]/x",
        "http://[fd00:ec2::254]/x",
        "http://0.0.0.0/x",
        "http://localhost/x",
        "http://2130706433/x",
        "http://0x7f.1/x",
        "http://224.0.0.1/x",
    ],
)
def test_private_addresses_are_refused(url):
    with pytest.raises(InvalidInputError) as refusal:
        by_url(url)
    assert refusal.value.field == "url"
    assert "a private address" in refusal.value.message
    assert Image.objects.count() == 0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "debian.qcow2",
        "file:///etc/passwd",
        "ftp://1.1.1.1/x",
        "https:///x",
        "https://user:secret@1.1.1.1/x",
        "https://1.1.1.1/a b",
        "https://1.1.1.1:99999/x",
        "https://[1.1.1.1/x",
        "https://1.1.1.1/" + "x" * 2000,
        "https://nowhere.invalid/x",
    ],
)
def test_what_is_no_usable_url_is_refused(url):
    with pytest.raises(InvalidInputError) as refusal:
        by_url(url)
    assert refusal.value.field == "url"


def test_an_operator_can_allow_a_mirror_of_their_own(settings):
    settings.BASALT_ALLOW_PRIVATE_IMAGE_URLS = True
    assert by_url("http://10.1.2.3/x").latest


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"sha256": "abc"}, "sha256"),
        ({"sha256": ""}, "sha256"),
        ({"format": "vmdk"}, "format"),
        ({"name": " "}, "name"),
        ({"default_username": "root"}, "default_username"),
        ({"min_disk_gib": 0}, "min_disk_gib"),
    ],
)
def test_wrong_fields_are_named(options, field):
    with pytest.raises(InvalidInputError) as refusal:
        by_url("https://1.1.1.1/x", **options)
    assert refusal.value.field == field


def test_a_retired_image_makes_no_new_vms_and_gives_its_name_back():
    vm = VirtualMachineFactory()
    image = vm.image_version.image
    image_retire(actor=SYSTEM, image=image)
    image_retire(actor=SYSTEM, image=image)
    assert not Image.objects.usable_by(vm.tenant).filter(pk=image.pk).exists()
    assert by_url("https://1.1.1.1/x", name=image.name).pk != image.pk
    vm.refresh_from_db()
    assert vm.image_version.image == image


def test_the_sweep_removes_what_no_image_has_and_nothing_else(media, settings, tmp_path):
    image = add(RAW)
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    killed = tmp_path / "tmpabc.upload.raw"
    killed.write_bytes(b"half")
    folder = media / "images"
    half = folder / "abc.part"
    half.write_bytes(b"half")
    assert image_files_sweep(older_than=time.time() - 60) == 0
    assert image_files_sweep(older_than=time.time() + 60) == 2
    assert not killed.exists()
    assert stored(media) == [media / image.latest.file]


def test_other_errors_of_the_disk_are_not_hidden(media):
    media.mkdir()
    (media / "images").write_text("in the way")
    with pytest.raises(OSError, match=r"exists|Not a directory"):
        add(RAW)
    assert ImageVersion.objects.count() == 0


def test_an_image_says_what_its_guests_look_for(media):
    assert add(qcow2()).identity == "openstack"
    image = add(RAW, name="windows", identity="nocloud")
    vm = VirtualMachineFactory(image_version=image.latest)
    assert guest_spec(vm).identity == "nocloud"
    image_identify(actor=SYSTEM, image=image, identity="ec2")
    vm.refresh_from_db()
    assert guest_spec(vm).identity == "ec2"


def test_what_no_guest_looks_for_is_refused(media):
    with pytest.raises(InvalidInputError, match="OpenStack, EC2 or NoCloud") as refusal:
        add(qcow2(), identity="azure")
    assert refusal.value.field == "identity"
    assert stored(media) == []
