"""An agent's plumber as a process that can be killed: `python -m ... FOLDER NIC.json`.

It finds or starts the metadata server, attaches one NIC, says "ready", and waits.
"""

import asyncio
import sys
from pathlib import Path

import msgspec

from agent.protocol import NicSpec
from tests.agent.network.plumbing import Plumbing, document_of


async def main(folder: Path, spec: bytes) -> None:
    nic = msgspec.json.decode(spec, type=NicSpec)
    plumbing = Plumbing(folder)
    await plumbing.plumber.start()
    await plumbing.attach(nic, document_of(nic, "web-1"))
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
