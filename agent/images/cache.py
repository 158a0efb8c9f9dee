"""The host's image cache: each version once, whole and verified, or not at all."""

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path

import msgspec
import structlog

from agent.drivers.base import Progress
from agent.errors import JobFailedError
from agent.files import sync_folder
from agent.images.fetch_messages import FetchEnd, FetchProgress, FetchRequest, PortalAccess
from agent.images.inspection import backing_name, check_image
from agent.protocol import ImageSource
from agent.settings import Settings

_JUST_USED_S = 3600.0
"""A job may be about to lay a disk on it."""
_SELDOM_S = 30 * 24 * 3600.0
_PART_S = 2 * 24 * 3600.0

log = structlog.get_logger("agent.images")

_answer = msgspec.json.Decoder(FetchProgress | FetchEnd)


class _Download:
    """One download that any number of jobs wait for."""

    def __init__(self) -> None:
        self.listeners: list[Progress] = []
        self.task: asyncio.Task[None] | None = None


class ImageCache:
    """Files named <version_id>.<format> in `folder`; partial downloads end in .part."""

    def __init__(
        self, folder: Path, settings: Settings, *, pauses_s: tuple[float, ...] | None = None
    ) -> None:
        self.folder = folder
        self._settings = settings
        self._pauses_s = pauses_s
        self._downloads: dict[str, _Download] = {}
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)

    def path(self, source: ImageSource) -> Path:
        """Where the verified image is, once it is."""
        return self.folder / f"{source.version_id}.{source.format}"

    def cached(self) -> list[str]:
        names = [path for path in self.folder.iterdir() if path.suffix in (".qcow2", ".raw")]
        return sorted(path.stem for path in names)

    def note_use(self, source: ImageSource) -> bool:
        """Whether the image is here. It stays so for an hour at least."""
        try:
            os.utime(self.path(source))
        except FileNotFoundError:
            return False
        return True

    def make_room(self, needed: int) -> int:
        """Remove images that no disk lies on, those first that were not used for longest, until
        `needed` bytes are free that were not. Returns how many are."""
        freed = 0
        for path in self._unused(for_s=_JUST_USED_S):
            if freed >= needed:
                break
            freed += _remove(path)
        return freed

    def forget_seldom_used(self) -> int:
        """Remove images that no disk lies on and no guest was made from for a month, and
        downloads that nobody went on with. Returns the bytes."""
        parts = [path for path in self.folder.glob("*.part") if _age_s(path) > _PART_S]
        return sum(map(_remove, [*self._unused(for_s=_SELDOM_S), *parts]))

    def _unused(self, *, for_s: float) -> list[Path]:
        """Oldest use first. An image's time of change is when it was asked for last."""
        images = [path for path in self.folder.iterdir() if path.suffix in (".qcow2", ".raw")]
        old = sorted((path for path in images if _age_s(path) > for_s), key=_age_s, reverse=True)
        if not old:
            return []
        disks = (self.folder.parent / "disks").glob("*/*.qcow2")
        used = {Path(name).name for disk in disks if (name := backing_name(disk))}
        return [path for path in old if path.name not in used]

    async def ensure(self, source: ImageSource, *, progress: Progress) -> None:
        """Have the image. All who ask for one version at a time share one download.

        Raises JobFailedError: image_unreachable, image_checksum_mismatch, image_not_a_disk,
        address_private, not_enough_disk.
        """
        if self.note_use(source):
            return
        key = f"{source.version_id} {source.sha256}"
        download = self._downloads.get(key)
        if download is None:
            download = self._downloads[key] = _Download()
            download.task = asyncio.create_task(self._download(source, download))
            download.task.add_done_callback(lambda _: self._downloads.pop(key, None))
        download.listeners.append(progress)
        assert download.task is not None  # noqa: S101
        try:
            await asyncio.shield(download.task)
        except asyncio.CancelledError:
            download.listeners.remove(progress)
            if not download.listeners:
                download.task.cancel()
                await asyncio.gather(download.task, return_exceptions=True)
            raise

    async def _download(self, source: ImageSource, download: _Download) -> None:
        # The checksum is in the name: a corrected one never goes on from another file's part.
        part = self.folder / f"{source.version_id}.{source.sha256[:16]}.part"
        log.info("image download starts", version_id=source.version_id)
        end = await self._fetch(self._request(source, part), download)
        if end.code is not None:
            raise JobFailedError(end.code, end.message)
        try:
            await check_image(part, source.format)
        except JobFailedError:
            part.unlink(missing_ok=True)
            raise
        part.chmod(0o444)
        part.replace(self.path(source))
        await asyncio.to_thread(sync_folder, self.folder)
        log.info("image is here", version_id=source.version_id)

    def _request(self, source: ImageSource, part: Path) -> FetchRequest:
        identity = self._settings.identity
        access = None
        url = source.url
        if url is None:
            path = f"/agent/v1/images/{source.version_id}/"
            url = identity.portal.rstrip("/") + path
            access = PortalAccess(
                keys=str(self._settings.folder / "keys"),
                hypervisor_id=identity.hypervisor_id,
                path=path,
            )
        request = FetchRequest(
            url=url,
            part=str(part),
            sha256=source.sha256,
            size=source.size,
            # The portal itself may well stand on a private address.
            allow_private=self._settings.allow_private_image_urls or access is not None,
            portal=access,
        )
        if self._pauses_s is not None:
            request = msgspec.structs.replace(request, pauses_s=self._pauses_s)
        return request

    async def _fetch(self, request: FetchRequest, download: _Download) -> FetchEnd:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "agent.images.fetch",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        try:
            process.stdin.write(msgspec.json.encode(request) + b"\n")
            await process.stdin.drain()
            while line := await process.stdout.readline():
                answer = _answer.decode(line)
                if isinstance(answer, FetchEnd):
                    return answer
                for tell in download.listeners:
                    tell(min(1.0, answer.have / answer.total) if answer.total else 0.0)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        raise JobFailedError(
            "image_unreachable",
            "The download ended without a word: the host may be out of memory. Try again; the "
            "agent's log on the host has the details.",
        )


def _age_s(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def _remove(path: Path) -> int:
    size = path.stat().st_blocks * 512
    path.unlink(missing_ok=True)
    log.info("image removed from the cache", file=path.name, bytes=size)
    return size
