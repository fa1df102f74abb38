"""`swarm experiment`: the runs of all training contracts, and what one's own organisation notes about them."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from swarmlearning.cli.acting import own_organisation, perform, recorded
from swarmlearning.cli.command import command
from swarmlearning.cli.connection import Connection
from swarmlearning.cli.console import print_json, print_table
from swarmlearning.cli.report import save, write_whole
from swarmlearning.errors import UserError
from swarmlearning.operator import experiments as acts
from swarmlearning.views.render import clock
from swarmlearning.views.runcharts import run_charts, runs_table
from swarmlearning.views.runs import RunSummary, run_key, run_list, summary_of

app = typer.Typer(help="Runs of training contracts: list, annotate, tag, hide, export.", no_args_is_help=True)

Run = Annotated[str, typer.Argument(help="The run: its contract and number, as `swarm experiment list` shows it.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command("list")
@command("swarm experiment list")
def list_runs(
    *,
    every: Annotated[bool, typer.Option("--all", help="Also those that your organisation has hidden.")] = False,
    json: Json = False,
    connection: Connection,
) -> None:
    """Show all runs, newest first: who has requested them, how they went, and what is noted about them."""
    recorder = recorded(connection)
    found = run_list(recorder, own_organisation(connection, recorder.chain), hidden=every)
    if json:
        print_json(msgspec.to_builtins(found), indent=2)
        return
    columns = ("run", "state", "task", "requested by", "begun", "ended", "sites", "rounds", "loss", "metric", "tags")
    print_table(columns, map(_row, found))


@app.command("annotate")
@command("swarm experiment annotate")
def annotate(
    run: Run,
    text: Annotated[str, typer.Argument(help="What to note, in one or more lines; an empty text removes it.")],
    connection: Connection,
) -> None:
    """Note something about a run for your organisation; everybody in the network can read it."""
    perform(connection, lambda world: acts.annotate(world, run, text))


@app.command("tag")
@command("swarm experiment tag")
def tag(
    run: Run,
    add: Annotated[list[str] | None, typer.Option("--add", help="A tag to give. Repeatable.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", help="A tag to take away. Repeatable.")] = None,
    *,
    connection: Connection,
) -> None:
    """Give tags of your organisation to a run, or take them away."""
    perform(connection, lambda world: acts.tag(world, run, add or (), remove or ()))


@app.command("hide")
@command("swarm experiment hide")
def hide(
    run: Run,
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Show it again.")] = False,
    connection: Connection,
) -> None:
    """Hide a run from the lists of your organisation; it stays on the ledger, and in the lists of others."""
    perform(connection, lambda world: acts.hide(world, run, hidden=not undo))


@app.command("export")
@command("swarm experiment export")
def export(
    *,
    file: Annotated[Path, typer.Argument(help="The file to write: .csv has a line a run, .json also its curves.")],
    run: Annotated[list[str] | None, typer.Option("--run", help="Only this run. Repeatable.")] = None,
    connection: Connection,
) -> None:
    """Write runs with their parameters, results and notes to a file."""
    if file.suffix not in (".csv", ".json"):
        raise UserError(f"{file}: name a file that ends with .csv or .json")
    recorder = recorded(connection)
    own = own_organisation(connection, recorder.chain)
    keys = [run_key(each) for each in run] if run else recorder.trainings
    found = [summary_of(recorder, *key, own) for key in keys]
    if file.suffix == ".csv":
        write_whole(file, runs_table(found).encode())
    else:
        save([{"run": each, "charts": run_charts(recorder, *key)} for key, each in zip(keys, found, strict=True)], file)
    print(f"{len(found)} runs are written to {file}")


def _row(each: RunSummary) -> tuple[str, ...]:
    times = ("" if at is None else clock(at) for at in (each.begun_ms, each.ended_ms))
    measures = ("" if value is None else f"{value:.4g}" for value in (each.loss, each.metric))
    counts = (str(len(each.sites)), str(each.rounds))
    return (each.id, each.state, each.task, each.requested_by, *times, *counts, *measures, ", ".join(each.tags))
