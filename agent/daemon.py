"""The process of a running agent. `python -m agent run` becomes this one.

Its one argument is the finished `Settings` in JSON: reading the command line and the
configuration needs libraries that would stay in memory for as long as the host is up.
"""

import asyncio
import signal
import sys

import msgspec

from agent.logs import configure_logs
from agent.service import Agent
from agent.settings import Settings


async def serve(agents: list[Agent]) -> None:
    """Run agents until SIGTERM or SIGINT, then stop them in order."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    tasks = [asyncio.create_task(agent.run()) for agent in agents]
    waiting = asyncio.create_task(ended.wait())
    await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            waiting.cancel()
            task.result()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*(agent.stop() for agent in agents), return_exceptions=True)


async def _main(settings: Settings) -> None:
    from agent.assembly import real_agent
    from agent.reach import leave_folder

    await serve([real_agent(settings)])
    if settings.stop_guests_on_exit:
        await asyncio.to_thread(leave_folder, settings.identity.hypervisor_id)


def main() -> None:
    """Entry point of the process."""
    settings = msgspec.json.decode(sys.argv[1], type=Settings)
    configure_logs(settings.log_level)
    asyncio.run(_main(settings))


if __name__ == "__main__":
    main()
