"""The `swarm` command: one sub-command a module."""

from typing import Annotated

import typer

from swarmlearning import __version__
from swarmlearning.cli import cert, demo, health, ledger, models, operate, run, sl, sn, status, trainings
from swarmlearning.cli.chaos import command as chaos
from swarmlearning.cli.console import tolerate_any_encoding

app = typer.Typer(
    name="swarm",
    help="Swarm Learning: train one model together without pooling data, and without a central server.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("run", context_settings=run.CONTEXT_SETTINGS)(run.run)
app.command("chaos", context_settings=run.CONTEXT_SETTINGS)(chaos.chaos)
app.command("sl", context_settings={"allow_extra_args": True})(sl.sl)
app.command("status")(status.status)
app.command("health")(health.health)
app.command("report")(trainings.report)
app.add_typer(sn.app, name="sn")
app.add_typer(cert.app, name="cert")
app.add_typer(ledger.app, name="ledger")
app.add_typer(models.app, name="model")
app.add_typer(operate.contract_app, name="contract")
app.add_typer(operate.trust_app, name="trust")
app.add_typer(operate.node_app, name="node")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"swarm {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of `swarm` itself."""


def main() -> None:
    """Entry point of the `swarm` command."""
    tolerate_any_encoding()
    app()


if __name__ == "__main__":
    main()
