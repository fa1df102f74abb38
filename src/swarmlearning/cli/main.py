"""The `swarm` command: one sub-command a module."""

import typer

from swarmlearning.cli import cert, demo, ledger, models, nodes, operate, run, status, trainings
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
app.command("sl", context_settings={"allow_extra_args": True})(nodes.sl)
app.command("status")(status.status)
app.command("report")(trainings.report)
app.add_typer(nodes.sn_app, name="sn")
app.add_typer(cert.app, name="cert")
app.add_typer(ledger.app, name="ledger")
app.add_typer(models.app, name="model")
app.add_typer(operate.contract_app, name="contract")
app.add_typer(operate.trust_app, name="trust")
app.add_typer(operate.node_app, name="node")


def main() -> None:
    """Entry point of the `swarm` command."""
    tolerate_any_encoding()
    app()


if __name__ == "__main__":
    main()
