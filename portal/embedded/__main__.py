"""python -m portal.embedded up | test"""

import os
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parent.parent.parent

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def up(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    host: str = "127.0.0.1",
    data: Path = ROOT / "var",
    fresh: bool = False,
    simulate: Annotated[int, typer.Option(min=0, max=10_000)] = 0,
    no_hypervisor: bool = False,
) -> None:
    """Start everything, and stop it all at Ctrl-C."""
    from portal.embedded.up import UpOptions, run_up

    raise typer.Exit(
        run_up(
            UpOptions(
                port=port,
                host=host,
                data=Path(os.environ.get("BASALT_CALLED_FROM", ""), data).absolute(),
                fresh=fresh,
                simulate=simulate,
                hypervisor=not no_hypervisor,
            )
        )
    )


@app.command("test", context_settings={"ignore_unknown_options": True})
def run_test(
    arguments: Annotated[list[str] | None, typer.Argument()] = None,
    *,
    setup_seconds: int = 0,
) -> None:
    """Run every check and test; with arguments only pytest, unless --all is among them."""
    from portal.embedded.tests import run_tests

    given = arguments or []
    wanted = [argument for argument in given if argument != "--all"]
    raise typer.Exit(run_tests(wanted, setup_seconds=setup_seconds, everything=wanted != given))


if __name__ == "__main__":
    app(prog_name="python -m portal.embedded")
