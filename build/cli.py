"""The command line: `python -m build guest debian-12`."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from build.errors import BuildError, InterruptedBuild
from build.guest import SMALLEST_DISK_GIB, GuestRequest, build_guest
from build.mirror import mirror_of_address, mirror_of_host
from build.recipe import RECIPES, recipe_named

DEFAULT_OUTPUT = Path(__file__).resolve().parent.parent / "var" / "images"
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Make bootable disks.")


@app.callback()
def commands() -> None:
    """Make bootable disks."""


@app.command()
def guest(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(sorted(RECIPES))}.")],
    *,
    output: Annotated[Path, typer.Option(help="Folder of finished images.")] = DEFAULT_OUTPUT,
    force: Annotated[bool, typer.Option("--force", help="Build even if it is there.")] = False,
    size_gib: Annotated[
        int, typer.Option(help="Size of the disk; guests grow it as they start.")
    ] = SMALLEST_DISK_GIB,
    mirror: Annotated[
        str, typer.Option(help="Address of a Debian archive. Default: the one of this host's apt.")
    ] = "",
    max_age_hours: Annotated[
        float, typer.Option(help="Take a finished image younger than this without asking.")
    ] = 0.0,
) -> None:
    """Make a guest image: a qcow2 with cloud-init that starts with BIOS and UEFI.

    Prints the image's path; its record (JSON) lies beside it.
    """
    began = time.monotonic()
    _stop_on_signals()
    try:
        record = build_guest(
            GuestRequest(
                recipe=recipe_named(name),
                mirror=mirror_of_address(mirror) if mirror else mirror_of_host(),
                output=output,
                disk_gib=size_gib,
                force=force,
                max_age=max_age_hours * 3600,
            ),
            say=_say,
        )
    except BuildError as error:
        _say(str(error))
        raise typer.Exit(1) from error
    except InterruptedBuild:
        _say("Stopped. Nothing was left behind; run the command again when you like.")
        raise typer.Exit(130) from None
    except OSError as error:
        _say(f"The build could not go on: {error}. Put that right and run the command again.")
        raise typer.Exit(1) from error
    size = record["size"] / 1024**2
    _say(f"{record['os_name']}, {size:.0f} MiB, {time.monotonic() - began:.1f} s")
    sys.stdout.write(f"{record['path']}\n")


def main() -> None:
    app(prog_name="python -m build")


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _stop_on_signals() -> None:
    def stop(signum: int, _frame: FrameType | None) -> None:
        # Tidying up must not be interrupted in its turn.
        for other in STOPPING:
            signal.signal(other, signal.SIG_IGN)
        raise InterruptedBuild(signum)

    for signum in STOPPING:
        signal.signal(signum, stop)
    os.umask(0o022)
