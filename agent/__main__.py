"""The commands of the agent: `python -m agent --help`."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The Basalt agent: runs virtual machines on this host for its portal.",
)

Data = Annotated[Path, typer.Option(help="The agent's own folder.", envvar="BASALT_AGENT_DATA")]
Portal = Annotated[str, typer.Option(help="The portal's address.", envvar="BASALT_AGENT_PORTAL")]
Token = Annotated[
    str, typer.Option(help="A join token from the portal.", envvar="BASALT_AGENT_TOKEN")
]


def _fail(message: object) -> NoReturn:
    typer.echo(str(message), err=True)
    raise typer.Exit(1)


@app.command()
def enrol(
    portal: Portal,
    token: Token,
    data: Data,
    name: Annotated[str | None, typer.Option(help="The host's name in the portal.")] = None,
) -> None:
    """Join a portal. Repeating it is harmless."""
    from agent.config import ConfigError
    from agent.enrolment import EnrolmentError, enrol_now
    from agent.keys import KeysError

    try:
        identity = enrol_now(portal=portal, token=token, data=data, name=name)
    except (EnrolmentError, ConfigError, KeysError, OSError) as error:
        _fail(error)
    typer.echo(f"Enrolled as {identity.name} ({identity.hypervisor_id}) at {identity.portal}.")


@app.command()
def run(
    data: Data,
    libvirt_uri: Annotated[str | None, typer.Option(help="Where libvirt answers.")] = None,
    stop_guests_on_exit: Annotated[
        bool | None,
        typer.Option(
            "--stop-guests-on-exit",
            help="At the end, stop the guests and take networks and metadata away; the next "
            "start starts the guests again. For development.",
        ),
    ] = None,
) -> None:
    """Run the agent of this host until it is told to stop."""
    from agent.config import ConfigError, read_settings

    try:
        settings = read_settings(
            data, libvirt_uri=libvirt_uri, stop_guests_on_exit=stop_guests_on_exit
        )
    except ConfigError as error:
        _fail(error)
    arguments = msgspec.json.encode(settings).decode()
    sys.stdout.flush()
    os.execv(  # noqa: S606
        sys.executable, [sys.executable, "-m", "agent.daemon", arguments]
    )


@app.command()
def simulate(
    portal: Portal,
    token: Token,
    data: Data,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many hosts.")] = 1,
) -> None:
    """Run simulated hosts in one process, each with its own keys and its own link."""
    from agent.config import ConfigError
    from agent.enrolment import EnrolmentError
    from agent.keys import KeysError
    from agent.logs import configure_logs
    from agent.simulation import simulate as run_simulation

    configure_logs(os.environ.get("BASALT_AGENT_LOG_LEVEL", "warning"))
    try:
        asyncio.run(run_simulation(portal=portal, token=token, count=count, data=data))
    except (EnrolmentError, ConfigError, KeysError, OSError) as error:
        _fail(error)


if __name__ == "__main__":
    app(prog_name="python -m agent")
