"""The guest image of script/up, built beside the other steps."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from portal.embedded.processes import EmbeddedError, stop_group

ROOT = Path(__file__).resolve().parent.parent.parent
NAME = "debian-12"
_MAX_AGE_HOURS = 24 * 30


class GuestImage:
    """`python -m build guest`, which takes a minute or two the first time."""

    def __init__(self, data: Path) -> None:
        shared = os.environ.get("BASALT_IMAGE_CACHE")
        self.folder = Path(shared) if shared else data / "images"
        self.log = data / "log" / "image.log"
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "TERM", "--"),
                    *(sys.executable, "-m", "build", "guest", NAME),
                    *("--output", str(self.folder), "--max-age-hours", str(_MAX_AGE_HOURS)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                cwd=ROOT,
            )

    def finish(self) -> Path:
        """Wait for it. Raises EmbeddedError."""
        if self._process is None:
            raise RuntimeError("the image was not begun")
        said, _ = self._process.communicate()
        lines = said.decode().strip().splitlines()
        if self._process.returncode != 0 or not lines:
            why = self.log.read_text(errors="replace").strip()[-1500:]
            raise EmbeddedError(f"The guest image {NAME} could not be built:\n{why}")
        return Path(lines[-1])

    def stop(self) -> None:
        """The build takes its half-made work away before it ends."""
        if self._process is not None:
            stop_group(self._process, first=signal.SIGTERM, seconds=30)
