"""Running nft. Every change is one transaction: all of it holds, or none."""

import json
import subprocess
from typing import Any

from agent.network.errors import NetworkError

_TIMEOUT_S = 30


def apply(rules: str) -> None:
    """Load rules in nft's own language. Raises NetworkError."""
    done = _run(["-f", "-"], text=rules)
    if done.returncode != 0:
        raise NetworkError("internal", f"nft refused the rules: {_reason(done)}.")


def replace_table(family: str, name: str, body: str) -> None:
    """Have the table hold exactly `body`; there is no moment without its rules."""
    head = f"table {family} {name}"
    apply(f"add {head}\ndelete {head}\n{head} {{\n{body}\n}}\n")


def delete_table(family: str, name: str) -> None:
    """Idempotent: adding what is there is no error, so deleting what isn't is none either."""
    head = f"table {family} {name}"
    apply(f"add {head}\ndelete {head}\n")


def chain(family: str, table: str, name: str) -> list[dict[str, Any]] | None:
    """The chain and its rules as nft lists them in JSON, or None when there is no such."""
    done = _run(["-j", "-a", "list", "chain", family, table, name])
    if done.returncode != 0:
        return None
    try:
        listed: list[dict[str, Any]] = json.loads(done.stdout)["nftables"]
    except (ValueError, KeyError):
        return None
    return listed


def _run(arguments: list[str], *, text: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["nft", *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
    except FileNotFoundError as error:
        raise NetworkError(
            "internal", "The host has no nft command. Install the package nftables."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise NetworkError("internal", f"nft did not answer within {_TIMEOUT_S} s.") from error


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    return lines[0] if lines else f"exit code {done.returncode}"
