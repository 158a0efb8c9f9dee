"""Many simulated hosts in one process, on real links to a real portal."""

import asyncio
from pathlib import Path

from agent.assembly import simulated_agent
from agent.config import read_identity
from agent.daemon import serve
from agent.enrolment import enrol
from agent.settings import Settings

_ENROL_AT_ONCE = 8


async def simulate(*, portal: str, token: str, count: int, data: Path) -> None:
    """Enrol what is not enrolled, then run all hosts until the process is told to stop.

    A host that is enrolled keeps its identity, so a second run with the same folder needs
    no token that is still good. Raises EnrolmentError.
    """
    limit = asyncio.Semaphore(_ENROL_AT_ONCE)

    async def settings(number: int) -> Settings:
        name = f"sim-{number:02d}"
        folder = (data / name).resolve()
        identity = read_identity(folder)
        if identity is None or identity.portal != portal.rstrip("/"):
            async with limit:
                identity = await enrol(
                    portal=portal, token=token, data=folder, name=name, machine_salt=str(folder)
                )
        return Settings(data=str(folder), identity=identity)

    everyone = await asyncio.gather(*(settings(number) for number in range(1, count + 1)))
    await serve([simulated_agent(one, seed=seed) for seed, one in enumerate(everyone)])
