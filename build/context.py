"""The state of one build, in one object."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

from build.mirror import Mirror
from build.recipe import Recipe

# Any fixed UUID will do: identifiers on the disk follow from the key, so that the same key
# gives the same disk layout.
NAMESPACE = uuid.UUID("5a1f3d86-93c5-4a0e-8a3c-0d1b9a5e7c11")


@dataclass(frozen=True)
class BuildContext:
    """Everything the steps need to know. Sizes in bytes."""

    recipe: Recipe
    mirror: Mirror
    key: str
    epoch: int
    disk_size: int
    work: Path
    log: Path

    @property
    def root(self) -> Path:
        """The root filesystem as a folder."""
        return self.work / "root"

    @property
    def raw_disk(self) -> Path:
        return self.work / "disk.raw"

    @property
    def qcow2(self) -> Path:
        return self.work / "disk.qcow2"

    @property
    def environment(self) -> dict[str, str]:
        """For programs that can be told the time (mke2fs before 1.47.1 reads the second)."""
        return {
            "SOURCE_DATE_EPOCH": str(self.epoch),
            "E2FSPROGS_FAKE_TIME": str(self.epoch),
            "DEBIAN_FRONTEND": "noninteractive",
        }

    def identifier(self, part: str) -> uuid.UUID:
        """A UUID for a `part` of the disk."""
        return uuid.uuid5(NAMESPACE, f"{self.key}/{part}")
