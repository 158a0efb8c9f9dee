"""Bringing images in, and retiring them. A version never changes once it is there."""

import re
from pathlib import Path

from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.db import IntegrityError, transaction
from django.utils import timezone

from tenants.actor import Actor
from tenants.errors import InvalidInputError, NameTakenError, RuleError
from tenants.models import Tenant
from tenants.services.audit import audit_record
from tenants.services.live import live_publish
from vms.models import Identity, Image, ImageVersion
from vms.services.capacity import GIB
from vms.services.credentials import username_check
from vms.services.image_files import (
    StoredFile,
    file_store,
    leftovers,
    read_chunks,
)
from vms.services.image_urls import image_url_check

_SHA256 = re.compile(r"\A[0-9a-f]{64}\Z")


class ImageVersionKnownError(RuleError):
    code = "image_version_known"
    status = 409


def image_create_from_url(
    *,
    actor: Actor,
    tenant: Tenant | None,
    name: str,
    url: str,
    sha256: str,
    format: str = "qcow2",  # noqa: A002
    os: str = "",
    default_username: str = "admin",
    identity: str = Identity.OPENSTACK,
    min_disk_gib: int = 1,
    min_memory_mib: int = 256,
) -> Image:
    """An image that hosts fetch from `url` themselves, and verify by its SHA-256.

    Raises InvalidInputError, NameTakenError.
    """
    url, sha256, format = _download_check(url, sha256, format)  # noqa: A001
    with transaction.atomic():
        image = _image_insert(
            tenant=tenant,
            name=name,
            os=os,
            default_username=default_username,
            identity=identity,
            min_disk_gib=min_disk_gib,
            min_memory_mib=min_memory_mib,
        )
        version = ImageVersion.objects.create(
            image=image,
            number=1,
            source=ImageVersion.Source.URL,
            url=url,
            format=format,
            sha256=sha256,
        )
        _record(actor, image, version, "image.create")
    return image


def image_create_from_upload(
    *,
    actor: Actor,
    tenant: Tenant | None,
    name: str,
    file: "UploadedFile[bytes]",
    sha256: str | None = None,
    os: str = "",
    default_username: str = "admin",
    identity: str = Identity.OPENSTACK,
    min_disk_gib: int = 1,
    min_memory_mib: int = 256,
) -> Image:
    """An image that the portal keeps, and that hosts read from it. Its format is seen from
    the file. Raises InvalidInputError, NameTakenError, ImageChecksumError,
    ImageNotADiskError, ImageTooLargeError, PortalDiskFullError; then nothing is kept.
    """
    expected = _sha256_check(sha256) if sha256 else None
    # Before gigabytes are copied; the constraint says it again for who comes second.
    _name_must_be_free(tenant, _name_check(name))
    if not file.size:
        raise InvalidInputError("The file is empty. Choose it again.", field="file")
    temporary = (
        Path(file.temporary_file_path()) if isinstance(file, TemporaryUploadedFile) else None
    )
    stored = file_store(file.chunks(), sha256=expected, link_to=temporary)
    try:
        with transaction.atomic():
            image = _image_insert(
                tenant=tenant,
                name=name,
                os=os,
                default_username=default_username,
                identity=identity,
                min_disk_gib=min_disk_gib,
                min_memory_mib=min_memory_mib,
            )
            version = _version_insert(image, stored)
            _record(actor, image, version, "image.create")
    except BaseException:
        stored.path.unlink(missing_ok=True)
        raise
    return image


def image_register_file(
    *,
    actor: Actor,
    tenant: Tenant | None,
    name: str,
    path: Path,
    os: str = "",
    default_username: str = "admin",
    identity: str = Identity.OPENSTACK,
    min_disk_gib: int = 1,
    min_memory_mib: int = 256,
) -> Image:
    """Take in a file of this machine, such as one built here. The same content twice is one
    version; other content under the same name is the next version. Errors as for an upload.
    """
    stored = file_store(read_chunks(path), link_to=path)
    kept = False
    try:
        with transaction.atomic():
            image = (
                Image.objects.select_for_update()
                .filter(tenant=tenant, name__iexact=name.strip(), retired_at=None)
                .first()
            ) or _image_insert(
                tenant=tenant,
                name=name,
                os=os,
                default_username=default_username,
                identity=identity,
                min_disk_gib=min_disk_gib,
                min_memory_mib=min_memory_mib,
            )
            known = image.versions.filter(sha256=stored.sha256).first()
            if known is None:
                version = _version_insert(image, stored)
                _record(actor, image, version, "image.create")
                kept = True
            elif _file_lost(known):
                # Somebody emptied the folder: the same content takes its place again.
                known.file = stored.name
                known.save(update_fields=["file"])
                kept = True
    finally:
        if not kept:
            stored.path.unlink(missing_ok=True)
    return image


@transaction.atomic
def image_version_add(
    *,
    actor: Actor,
    image: Image,
    url: str,
    sha256: str,
    format: str = "qcow2",  # noqa: A002
) -> ImageVersion:
    """The next version, which hosts fetch from `url`. New VMs are made from it; VMs of earlier
    versions go on as they are. Raises InvalidInputError, ImageVersionKnownError.
    """
    url, sha256, format = _download_check(url, sha256, format)  # noqa: A001
    locked = Image.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=image.pk)
    if locked.retired_at is not None:
        raise InvalidInputError(f"{locked.name} is retired. Add a new image instead.")
    if known := locked.versions.filter(sha256=sha256).first():
        raise ImageVersionKnownError(
            f"Version {known.number} of {locked.name} has this content already.", field="sha256"
        )
    last = locked.versions.order_by("-number").first()
    version = ImageVersion.objects.create(
        image=locked,
        number=last.number + 1 if last else 1,
        source=ImageVersion.Source.URL,
        url=url,
        format=format,
        sha256=sha256,
    )
    _record(actor, locked, version, "image.version")
    return version


@transaction.atomic
def image_identify(*, actor: Actor, image: Image, identity: str) -> Image:
    """What VMs made from now on look for. A VM that is there follows at its next start, once
    its host has been told anything new of it. Raises InvalidInputError.
    """
    identity = _identity_check(identity)
    locked = Image.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=image.pk)
    before = locked.identity
    if before == identity:
        return locked
    locked.identity = identity
    locked.save(update_fields=["identity"])
    if locked.tenant is not None:
        audit_record(
            actor=actor,
            tenant=locked.tenant,
            action="image.identity",
            object_kind="image",
            object_id=locked.id,
            object_name=locked.name,
            before={"identity": before},
            after={"identity": identity},
        )
        live_publish(tenant_id=locked.tenant.id, kind="image", object_id=locked.id)
    return locked


@transaction.atomic
def image_retire(*, actor: Actor, image: Image) -> None:
    """No new VM is made from it. VMs that were, go on; its name is free again."""
    locked = Image.objects.select_for_update().get(pk=image.pk)
    if locked.retired_at is not None:
        return
    locked.retired_at = timezone.now()
    locked.save(update_fields=["retired_at"])
    _record(actor, locked, None, "image.retire")


def image_files_sweep(*, older_than: float) -> int:
    """Remove files that belong to no image: what an upload left that died half-way.
    Returns how many. `older_than` is in seconds since the epoch."""
    known = set(ImageVersion.objects.exclude(file="").values_list("file", flat=True))
    found = leftovers(known, older_than=older_than)
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def version_path(version: ImageVersion) -> Path:
    """Where the portal keeps this version's file."""
    return Path(settings.MEDIA_ROOT) / version.file


def _image_insert(
    *,
    tenant: Tenant | None,
    name: str,
    os: str,
    default_username: str,
    identity: str,
    min_disk_gib: int,
    min_memory_mib: int,
) -> Image:
    name = _name_check(name)
    if not 1 <= min_disk_gib <= 65_536 or not 64 <= min_memory_mib <= 16_777_216:
        raise InvalidInputError(
            "An image needs between 1 and 65536 GiB of disk, and at least 64 MiB of memory.",
            field="min_disk_gib",
        )
    try:
        with transaction.atomic():
            return Image.objects.create(
                tenant=tenant,
                name=name,
                os=os.strip()[:100],
                default_username=_default_username(default_username),
                identity=_identity_check(identity),
                min_disk_gib=min_disk_gib,
                min_memory_mib=min_memory_mib,
            )
    except IntegrityError as error:
        raise _name_taken(name) from error


def _version_insert(image: Image, stored: StoredFile) -> ImageVersion:
    last = image.versions.order_by("-number").first()
    # A boot disk can't be smaller than the disk it starts from.
    least = -(-stored.virtual_size // GIB)
    if image.min_disk_gib < least:
        image.min_disk_gib = least
        image.save(update_fields=["min_disk_gib"])
    return ImageVersion.objects.create(
        image=image,
        number=last.number + 1 if last else 1,
        source=ImageVersion.Source.FILE,
        file=stored.name,
        format=stored.format,
        sha256=stored.sha256,
        size=stored.size,
        virtual_size=stored.virtual_size,
    )


def _record(actor: Actor, image: Image, version: ImageVersion | None, action: str) -> None:
    if image.tenant is None:
        return
    after = {"name": image.name, "os": image.os, "identity": image.identity}
    if version is not None:
        after |= {"url": version.url, "sha256": version.sha256, "format": version.format}
    audit_record(
        actor=actor,
        tenant=image.tenant,
        action=action,
        object_kind="image",
        object_id=image.id,
        object_name=image.name,
        after=after,
    )
    live_publish(tenant_id=image.tenant.id, kind="image", object_id=image.id)


def _file_lost(version: ImageVersion) -> bool:
    return version.source == ImageVersion.Source.FILE and not version_path(version).is_file()


def _name_check(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise InvalidInputError("An image's name has 1 to 100 characters.", field="name")
    return name


def _name_must_be_free(tenant: Tenant | None, name: str) -> None:
    if Image.objects.filter(tenant=tenant, name__iexact=name, retired_at=None).exists():
        raise _name_taken(name)


def _name_taken(name: str) -> NameTakenError:
    return NameTakenError(
        f"There is an image named “{name}” already. Choose another name, or retire that one.",
        field="name",
    )


def _download_check(url: str, sha256: str, disk_format: str) -> tuple[str, str, str]:
    if disk_format not in {"qcow2", "raw"}:
        raise InvalidInputError("The format is either qcow2 or raw.", field="format")
    return image_url_check(url), _sha256_check(sha256), disk_format


def _identity_check(identity: str) -> str:
    if identity not in Identity.values:
        raise InvalidInputError(
            "Guests can look for OpenStack, EC2 or NoCloud metadata: give “openstack”, “ec2” or "
            "“nocloud”.",
            field="identity",
        )
    return identity


def _sha256_check(sha256: str) -> str:
    sha256 = sha256.strip().lower()
    if not _SHA256.match(sha256):
        raise InvalidInputError(
            "A SHA-256 checksum has 64 digits, each 0 to 9 or a to f. It is often beside the "
            "download, in a file named SHA256SUMS.",
            field="sha256",
        )
    return sha256


def _default_username(username: str) -> str:
    try:
        return username_check(username)
    except InvalidInputError as error:
        raise InvalidInputError(error.message, field="default_username") from error
