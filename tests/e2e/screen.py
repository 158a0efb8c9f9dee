"""Reading a guest's screen as a person would: by looking at a picture of it."""

import subprocess
import time
from pathlib import Path

from playwright.sync_api import Page


def read(page: Page, picture: Path) -> str:
    """The text on the console in `page`, by optical character recognition.

    The picture stays at `picture`, for whoever wants to see it.
    """
    page.get_by_test_id("console-screen").locator("canvas").screenshot(path=str(picture))
    return subprocess.run(
        ["tesseract", str(picture), "-", "--psm", "6", "-l", "eng", "--dpi", "100"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def wait_for_text(page: Page, text: str, picture: Path, *, seconds: float) -> str:
    """Until `text` is on the screen; what is there then."""
    end = time.monotonic() + seconds
    while True:
        seen = read(page, picture)
        # Recognition now and then sees a gap between letters.
        if text.lower() in seen.lower().replace(" ", ""):
            return seen
        assert time.monotonic() < end, f"no “{text}” on the screen, but: {seen}"
        time.sleep(2)


def type_line(page: Page, text: str) -> None:
    """Type on the guest's keyboard, slowly enough for an emulated one."""
    page.get_by_test_id("console-screen").locator("canvas").click()
    page.keyboard.type(text, delay=60)
    page.keyboard.press("Enter")
