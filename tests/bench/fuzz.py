"""Many cases for what reads guests' bytes: `python -m tests.bench.fuzz TARGET CASES SECONDS SEED`.

Prints how many were tried, and those that did harm. With `--atheris` in the environment that has
it (it is no dependency: `pip install atheris`), coverage leads the way, and libFuzzer's own words
are the outcome.
"""

import json
import logging
import random
import sys
import time
from typing import Any

from tests.metadata.mutations import CORPUS, corpus, mutated
from tests.metadata.targets import TARGETS

_MOST_SHOWN = 10


def tried(name: str, *, cases: int, seconds: float, seed: int) -> dict[str, Any]:
    """At most so many cases and seconds."""
    target, known, chance = TARGETS[name], corpus(name), random.Random(seed)
    crashes: list[str] = []
    count = found = 0
    ends = time.monotonic() + seconds
    while count < cases and (count % 256 or time.monotonic() < ends):
        data = mutated(known, chance)
        count += 1
        try:
            target(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            found += 1
            if len(crashes) < _MOST_SHOWN:
                crashes.append(f"{data.hex()}: {error!r}")
    return {"cases": count, "crashes": found, "shown": crashes}


def led_by_coverage(name: str, *, cases: int, seconds: float, seed: int) -> None:
    """Ends the process. Raises ModuleNotFoundError where there is no atheris."""
    import atheris

    atheris.instrument_all()
    arguments = [
        sys.argv[0],
        f"-runs={cases}",
        f"-max_total_time={int(seconds)}",
        f"-seed={seed}",
        "-max_len=2000",
        str(CORPUS / name),
    ]
    atheris.Setup(arguments, TARGETS[name])
    atheris.Fuzz()


def main(name: str, cases: str, seconds: str, seed: str) -> None:
    logging.disable(logging.CRITICAL)
    how = {"cases": int(cases), "seconds": float(seconds), "seed": int(seed)}
    if "--atheris" in sys.argv:
        led_by_coverage(name, **how)  # type: ignore[arg-type]
    json.dump(tried(name, **how), sys.stdout)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(*sys.argv[1:5])
