"""`script/bench metadata`: many NICs on a host, what they cost, and what a hostile guest can do."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure, at_most, emit, plain, say
from tests.bench.portal import PortalError

NAME = "metadata"
ROOT = Path(__file__).resolve().parents[2]
AIM_MEMORY_KIB = 150.0
AIM_SETUP_MS = 5.0
AIM_P99_MS = 1.0
AIM_EFFECT_PERCENT = 10.0
AIM_FUZZ = 1_000_000


def run(arguments: list[str]) -> int:
    """The figures, one line each. Returns 0 when every aim was met, else 1."""
    options = _options(arguments)
    if os.geteuid() != 0:
        raise PortalError("It makes network namespaces, which needs root. Run it with sudo.")
    figures: list[Figure] = []
    if options.only in ("all", "nics"):
        figures += _nics(options)
    if options.only in ("all", "fuzz"):
        figures += _fuzz(options)
    return 0 if all(figure.ok for figure in figures) else 1


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/bench metadata", description=__doc__)
    parser.add_argument("--only", choices=["all", "nics", "fuzz"], default="all")
    parser.add_argument("--nics", type=int, default=1000)
    parser.add_argument("--guests", type=int, default=16, help="that ask; one of them floods")
    parser.add_argument("--haproxies", type=int, default=50, help="beside it; 0: none")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round of requests")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--frames", type=int, default=200_000, help="forged ones, at most")
    parser.add_argument("--frames-seconds", type=float, default=60.0)
    parser.add_argument("--fuzz", type=int, default=AIM_FUZZ, help="cases of each kind, at most")
    parser.add_argument("--fuzz-seconds", type=float, default=300.0, help="for each kind, at most")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def _nics(options: argparse.Namespace) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="basalt-bench-") as folder:
        said = _said_by("metadata_worker", json.dumps({**vars(options), "folder": folder}))
    peer = said.get("haproxy", {})
    # What another guest with the same appetite costs is the machine's share, not the service's.
    effect = (said["p99_flood_ms"] / said["p99_burn_ms"] - 1) * 100
    return [
        emit(at_most(NAME, "memory-per-nic", said["memory_kib"], "KiB", aim=AIM_MEMORY_KIB,
                     peer=peer.get("memory_kib"))),
        emit(plain(NAME, "process", said["process_mib"], "MiB")),
        emit(plain(NAME, "kernel-per-nic", said["kernel_kib"], "KiB",
                   peer=peer.get("kernel_kib"))),
        emit(plain(NAME, "files-per-nic", said["files"], "files")),
        emit(at_most(NAME, "setup-per-nic", said["setup_ms"], "ms", aim=AIM_SETUP_MS)),
        emit(plain(NAME, "setup-of-the-first", said["setup_first_ms"], "ms")),
        emit(plain(NAME, "removal-per-nic", said["removal_ms"], "ms")),
        emit(plain(NAME, "counters-of-all", said["counters_ms"], "ms")),
        emit(at_most(NAME, "p99", said["p99_quiet_ms"], "ms", aim=AIM_P99_MS,
                     peer=peer.get("p99_quiet_ms"))),
        emit(plain(NAME, "median", said["p50_quiet_ms"], "ms", peer=peer.get("p50_quiet_ms"))),
        emit(plain(NAME, "p99-beside-a-busy-guest", said["p99_burn_ms"], "ms",
                   peer=peer.get("p99_burn_ms"))),
        emit(plain(NAME, "p99-beside-a-flood", said["p99_flood_ms"], "ms",
                   peer=peer.get("p99_flood_ms"))),
        emit(at_most(NAME, "effect-of-a-flood", effect, "%", aim=AIM_EFFECT_PERCENT)),
        emit(plain(NAME, "forged-frames", said["frames_sent"], "frames")),
        emit(at_most(NAME, "forged-frames-passed", said["frames_passed"], "frames", aim=0)),
    ]  # fmt: skip


def _fuzz(options: argparse.Namespace) -> list[Figure]:
    figures = []
    for name in ("dhcp", "http", "control"):
        say(f"Fuzzing: {name}")
        how = (str(options.fuzz), str(options.fuzz_seconds), str(options.seed))
        said = _said_by("fuzz", name, *how)
        for line in said["shown"]:
            say(f"  {line}")
        figures += [
            emit(plain(NAME, f"fuzz-{name}", said["cases"], "cases")),
            emit(at_most(NAME, f"fuzz-{name}-crashes", said["crashes"], "crashes", aim=0)),
        ]
    return figures


def _said_by(module: str, *arguments: str) -> dict[str, Any]:
    """What a process of the bench answers. Raises PortalError where it failed."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.bench.{module}", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PortalError("A process of the bench failed; its own words are above.")
    # The agent's log goes there too.
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return said
