"""`swarm model`: the final models of the runs that an SL has taken part in, from its data directory."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarmlearning.cli.command import command
from swarmlearning.cli.options import DataDir, data_directory
from swarmlearning.errors import UserError

if TYPE_CHECKING:
    from swarmlearning.sl.results import FinalModel  # every `swarm` command would load numpy

app = typer.Typer(no_args_is_help=True, help="List, copy and remove the final models of finished trainings.")


class ModelError(UserError):
    """A model cannot be listed, copied or removed; the message gives the reason and what to do."""


@app.command("list")
@command("swarm model list")
def list_models(data_dir: DataDir = None) -> None:
    """List the final models in an SL's data directory: contract, run, rounds, bytes and digest."""
    place = data_directory(data_dir, "sl")
    for each in _runs(place):
        typer.echo(f"{each.contract}  run {each.run}  {each.rounds} rounds  {each.size} bytes  {each.model}")
        typer.echo(f"    {each.participation}; {place / each.path}")


@app.command("get")
@command("swarm model get")
def get_model(
    to: Annotated[Path, typer.Argument(help="The file to copy it to, as: final.safetensors", dir_okay=False)],
    data_dir: DataDir = None,
    contract: Annotated[str, typer.Option(help="The training contract, where there are several.")] = "",
    run: Annotated[int | None, typer.Option(help="Which run of it, from 1; by default the last one.", min=1)] = None,
) -> None:
    """Copy a run's final model out of an SL's data directory, checked against its digest."""
    place = data_directory(data_dir, "sl")
    chosen = _chosen(_runs(place), contract, run, place)
    _copy(place / chosen.path, to, chosen)
    typer.echo(f"contract {chosen.contract}  run {chosen.run}  round {chosen.rounds - 1}  {chosen.model}")
    typer.echo(f"copied to {to}")


@app.command("remove")
@command("swarm model remove")
def remove_models(
    keep: Annotated[int, typer.Option("--keep", help="So many of the newest runs of each contract stay.", min=1)],
    data_dir: DataDir = None,
) -> None:
    """Remove the final models and reports of older runs from an SL's data directory, which may be at work."""
    from swarmlearning.sl.results import remove_older

    place = data_directory(data_dir, "sl")
    try:
        removed = remove_older(place, keep)
    except OSError as error:
        raise ModelError(f"{error.filename}: cannot be removed: {error.strerror}") from error
    for each in removed:
        typer.echo(f"removed {each.contract}  run {each.run}  {each.size} bytes  {each.model}")
    typer.echo(f"{len(removed)} runs removed, the newest {keep} of each contract kept")


def _runs(data_dir: Path) -> "list[FinalModel]":
    from swarmlearning.sl.results import finished_runs

    found = list(finished_runs(data_dir))
    if not found:
        raise ModelError(
            f"{data_dir} has no finished training: give the --data-dir of an SL whose training has come to its end"
        )
    return found


def _chosen(runs: "list[FinalModel]", contract: str, run: int | None, data_dir: Path) -> "FinalModel":
    contracts = sorted({each.contract for each in runs})
    if not contract and len(contracts) > 1:
        raise ModelError(f"{data_dir} has models of several contracts: choose by --contract ({', '.join(contracts)})")
    wanted = contract or contracts[0]
    found = [each for each in runs if each.contract == wanted and run in (None, each.run)]
    if not found:
        which = f"contract {wanted}" if run is None else f"run {run} of contract {wanted}"
        raise ModelError(f"{data_dir} has no model of {which}; swarm model list shows what there is")
    return found[-1]


def _copy(source: Path, to: Path, chosen: "FinalModel") -> None:
    """Copies the model; a half-written or wrong one is never seen at `to`."""
    from swarmlearning.tensors.digest import is_named

    part = to.with_name(f".{to.name}.part")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, part)
        if not is_named(part, chosen.model):
            raise ModelError(
                f"{source} is damaged: its bytes are not those of model {chosen.model}; copy another site's"
            )
        part.replace(to)
    except OSError as error:
        raise ModelError(f"cannot copy {source} to {to}: {error}") from error
    finally:
        part.unlink(missing_ok=True)
