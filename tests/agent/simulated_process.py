"""A simulated host as a process of its own, to be killed: portal, folder, pace."""

import asyncio
import sys
from pathlib import Path

from agent.assembly import simulated_agent
from agent.daemon import serve
from agent.enrolment import enrol
from agent.settings import Settings


async def main(portal: str, folder: Path, pace: float) -> None:
    identity = await enrol(portal=portal, token="bj_good", data=folder, name="killed")
    settings = Settings(data=str(folder), identity=identity)
    await serve([simulated_agent(settings, seed=1, pace=pace)])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])))
