"""`python -m metadata --control PATH --user NAME`: the process that faces the guests."""

import argparse
import asyncio
import gc
import os
import signal
import sys
from pathlib import Path

# Everything that a request can need is loaded here: after the change of user the program's
# own folder may be out of reach.
import encodings.idna  # noqa: F401 isort: skip

from metadata.control_server import ControlServer, bind_control
from metadata.privileges import PrivilegesError, drop_privileges


def main() -> int:
    """Bind the control socket, drop privileges, serve until told to quit."""
    parser = argparse.ArgumentParser(prog="metadata", description=__doc__)
    parser.add_argument("--control", type=Path, required=True, help="unix socket of the agent")
    parser.add_argument("--user", default="nobody", help="whom to run as")
    arguments = parser.parse_args()
    owner = os.geteuid()
    listener = bind_control(arguments.control)
    try:
        drop_privileges(arguments.user)
    except PrivilegesError as error:
        print(error, file=sys.stderr)
        return 1
    # Guests are served whatever happens to the terminal that the agent was started from.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # What is loaded by now stays: looking through it for garbage would make guests wait.
    gc.freeze()
    asyncio.run(ControlServer(owner=owner).run(listener))
    return 0


if __name__ == "__main__":
    sys.exit(main())
