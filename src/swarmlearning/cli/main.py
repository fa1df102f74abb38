"""The `swarm` command: each sub-command is imported only when it is used, so that a node starts without the others."""

from collections import UserDict
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from swarmlearning import __version__
from swarmlearning.cli.console import tolerate_any_encoding

COMMANDS = {
    "demo": "demo:demo",
    "run": "run:run",
    "chaos": "chaos.command:chaos",
    "sl": "sl:sl",
    "status": "status:status",
    "health": "health:health",
    "verify-round": "verifyround:verify_round",
    "ui": "ui:app",
    "report": "trainings:report",
    "doctor": "doctor.command:doctor",
    "sn": "sn:app",
    "swop": "swop:app",
    "swci": "swci:swci",
    "cert": "cert:app",
    "ca": "ca:app",
    "invite": "invite:app",
    "join": "join:join",
    "license": "license:app",
    "ledger": "ledger:app",
    "model": "models:app",
    "privacy": "privacy:app",
    "contract": "operate:contract_app",
    "organisation": "governance:organisation_app",
    "trust": "governance:trust_app",
    "policy": "governance:policy_app",
    "proposal": "governance:proposal_app",
    "node": "operate:node_app",
    "experiment": "experiments:app",
    "task": "tasks:task_app",
    "taskrunner": "tasks:taskrunner_app",
    "logs": "logs:app",
    "explain": "explain:explain_command",
}
"""By name: the module below this package, and in it a function or a Typer app with sub-commands."""

BEFORE_A_SCRIPT = {"allow_interspersed_args": False}
"""All arguments behind the script are the script's, with `--` or without."""
SETTINGS: dict[str, dict[str, bool]] = {
    "run": BEFORE_A_SCRIPT,
    "chaos": BEFORE_A_SCRIPT,
    "sl": {"allow_extra_args": True},
    "doctor": {"allow_extra_args": True},
}


def _plain() -> type[TyperCommand]:
    return TyperCommand


def _of_monitors() -> type[TyperCommand]:
    from swarmlearning.cli.checking import CheckCommand

    return CheckCommand


PARSERS: dict[str, Callable[[], type[TyperCommand]]] = {"status": _of_monitors}


def _load(name: str) -> Any:
    """Imports a command, as the object that parses its arguments."""
    from swarmlearning.node.variables import NODES, help_text

    module, _, attribute = COMMANDS[name].partition(":")
    found: typer.Typer | Callable[..., None] = getattr(import_module(f"swarmlearning.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        command: Any = typer.main.get_group(found)
    else:
        alone = typer.Typer(add_completion=False)
        alone.command(cls=PARSERS.get(name, _plain)(), context_settings=SETTINGS.get(name))(found)
        command = typer.main.get_command(alone)
    command.name = name
    if name in NODES:
        command.epilog = help_text(name)
    return command


class _OnDemand(UserDict[str, Any]):
    """The commands by name, each imported when it is first read."""

    def __getitem__(self, name: str) -> Any:
        if self.data[name] is None:
            self.data[name] = _load(name)
        return self.data[name]


class _Commands(TyperGroup):
    """All sub-commands of `swarm`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _OnDemand(dict.fromkeys(COMMANDS))


app = typer.Typer(
    name="swarm",
    cls=_Commands,
    help="Swarm Learning: train one model together without pooling data, and without a central server.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(requested: bool) -> None:
    if requested:
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
