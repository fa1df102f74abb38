"""`swarm task` and `swarm taskrunner`: what the SWOPs of a network are to do, and how far they are."""

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from swarmlearning.choices import DEFAULT_TASKRUNNER
from swarmlearning.cli.acting import perform, verified
from swarmlearning.cli.command import command
from swarmlearning.cli.connection import Connection
from swarmlearning.cli.console import print_json, print_table
from swarmlearning.cli.taskrun import Order, read_files, run_files
from swarmlearning.errors import UserError
from swarmlearning.ledger.contracts.taskrunner import taskrunners
from swarmlearning.operator import taskrunners as runner_acts
from swarmlearning.operator import tasks as task_acts
from swarmlearning.operator.session import acting
from swarmlearning.views.names import displayed, for_person
from swarmlearning.views.render import clock
from swarmlearning.views.taskrender import peer_text, runner_text
from swarmlearning.views.tasks import runner_view, task_view, task_views

task_app = typer.Typer(help="Tasks: what SWOPs carry out; create, look at, assign and wait.", no_args_is_help=True)
taskrunner_app = typer.Typer(
    help="Taskrunners: SWOPs listen to one, operators assign tasks to it.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="Name of the task.")]
Runner = Annotated[str, typer.Argument(help="Name of the taskrunner.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Files = Annotated[list[Path], typer.Argument(help="Task files, each prerequisite before the task that needs it.")]
Peers = Annotated[int, typer.Option(min=0, help="SL+ML pairs that a RUN_SWARM needs; SWOPs that any other task needs.")]
All = Annotated[bool, typer.Option("--all", help="All SWOPs that listen.")]
Target = Annotated[str, typer.Option(help="One SWOP alone: its name, or the beginning of its UID.")]


# --- tasks ----------------------------------------------------------------------------------------------------------


@task_app.command("create")
@command("swarm task create")
def create_tasks(files: Files, connection: Connection) -> None:
    """Create the drafts of tasks from their files."""
    found = read_files(files)

    async def send() -> None:
        address, source, home = connection.address, connection.credentials.source(), connection.home
        async with acting(address, source, home, connection.network_id, lasting=True) as operator:
            for file in found:
                for act in task_acts.create_acts(operator.chain.world, file):
                    await operator.perform(act)
                print(f"task {displayed(file.name)} is created, a draft with {len(file.lines)} lines")

    asyncio.run(send())


@task_app.command("finalize")
@command("swarm task finalize")
def finalize_task(name: Name, connection: Connection) -> None:
    """Make a draft final: it never changes again, and can be assigned."""
    perform(connection, lambda world: task_acts.finalize_task(world, name))


@task_app.command("delete")
@command("swarm task delete")
def delete_task(name: Name, connection: Connection) -> None:
    """Delete a draft."""
    perform(connection, lambda world: task_acts.delete_task(world, name))


@task_app.command("list")
@command("swarm task list")
def list_tasks(*, json: Json = False, connection: Connection) -> None:
    """Show every task."""
    found = task_views(verified(connection).world)
    if json:
        print_json(msgspec.to_builtins(found), indent=2)
        return
    print_table(
        ("task", "type", "state", "prerequisite", "outcome", "made by", "digest"),
        (
            (each.name, each.type, each.state, each.prerequisite, each.outcome, each.organisation, each.digest[:12])
            for each in found
        ),
    )


@task_app.command("show")
@command("swarm task show")
def show_task(name: Name, *, json: Json = False, connection: Connection) -> None:
    """Show a task with its body."""
    found = task_view(task_acts.task(verified(connection).world, name))
    if json:
        print_json(msgspec.to_builtins(found), indent=2)
        return
    maker = f"{found.made_by} of {found.organisation}{for_person(found.on_behalf_of)}"
    made = f"{maker}, {clock(found.created_ms)}" if found.organisation else "nobody"
    print(f"{found.name}: {found.type}, {found.state}, made by {made}; author: {found.author}")
    print(f"prerequisite {found.prerequisite}, outcome {found.outcome}, digest {found.digest or 'none yet'}")
    for number, line in enumerate(found.lines, 1):
        print(f"{number:4}  {line}")


@task_app.command("run")
@command("swarm task run")
def run_tasks(
    *,
    files: Files,
    peers: Peers = 0,
    all_peers: All = False,
    target: Target = "",
    builders: Annotated[
        int, typer.Option(min=0, help="SWOPs that carry out the tasks before the last one; 0: all that listen.")
    ] = 0,
    taskrunner: Annotated[str, typer.Option(help="Name of the taskrunner.")] = DEFAULT_TASKRUNNER,
    connection: Connection,
) -> None:
    """Create and finalize the tasks of files, have them carried out one after the other, and report.

    Equal tasks that there are already are used again; one that is being carried out is waited for.
    """
    order = Order(tuple(read_files(files)), _peers(peers, all_peers, target), target, builders, taskrunner)
    asyncio.run(run_files(connection, order, print))


def _peers(peers: int, all_peers: bool, target: str) -> int:
    """The number of peers as the ledger has it. Raises `UserError` unless one of the three is chosen."""
    if (peers > 0) + all_peers + bool(target) != 1:
        raise UserError("say who is to carry it out, by one of --peers NUMBER, --all and --target SWOP")
    return peers


# --- taskrunners ----------------------------------------------------------------------------------------------------


@taskrunner_app.command("create")
@command("swarm taskrunner create")
def create_taskrunner(name: Runner, connection: Connection) -> None:
    """Create a taskrunner, which SWOPs then name in their profiles."""
    perform(connection, lambda world: runner_acts.create_taskrunner(world, name))


@taskrunner_app.command("list")
@command("swarm taskrunner list")
def list_taskrunners(*, json: Json = False, connection: Connection) -> None:
    """Show every taskrunner: its task, and whom it waits for."""
    world = verified(connection).world
    found = [runner_view(world, each) for each in taskrunners(world)]
    if json:
        print_json(msgspec.to_builtins(found), indent=2)
        return
    rows = ((each.status.name, str(each.status.listening), runner_text(each)) for each in found)
    print_table(("taskrunner", "SWOPs", "state"), rows)


@taskrunner_app.command("show")
@command("swarm taskrunner show")
def show_taskrunner(name: Runner, *, json: Json = False, connection: Connection) -> None:
    """Show a taskrunner, its peers, and the trainings of the pairs that they have started."""
    world = verified(connection).world
    found = runner_view(world, runner_acts.known_taskrunner(world, name))
    if json:
        print_json(msgspec.to_builtins(found), indent=2)
        return
    print(f"{found.status.name}: {runner_text(found)}")
    for peer in found.peers:
        print(f"  {peer.index}  {peer_text(peer)}")
        for pair in peer.spawned:
            print(f"       pair {pair.index}, SL {pair.name}: {pair.state}, {pair.description}")
    for training in found.trainings:
        print(f"  contract {training.contract}, run {training.run}: {training.text}")


@taskrunner_app.command("assign")
@command("swarm taskrunner assign")
def assign(
    *,
    task: Name,
    name: Runner,
    peers: Peers = 0,
    all_peers: All = False,
    target: Target = "",
    connection: Connection,
) -> None:
    """Assign a final task to a taskrunner that is idle; a --target also to one that carries it out."""
    count = _peers(peers, all_peers, target)
    if target:
        perform(connection, lambda world: runner_acts.assign_target(world, task, name, target))
    else:
        perform(connection, lambda world: runner_acts.assign_task(world, task, name, count))


@taskrunner_app.command("reset")
@command("swarm taskrunner reset")
def reset(name: Runner, connection: Connection) -> None:
    """Make a taskrunner idle; its SWOPs end and remove what they have started."""
    perform(connection, lambda world: runner_acts.reset_taskrunner(world, name))


@taskrunner_app.command("abort")
@command("swarm taskrunner abort")
def abort(name: Runner, connection: Connection) -> None:
    """End what a taskrunner's SWOPs carry out; they keep its logs until the reset."""
    perform(connection, lambda world: runner_acts.abort_taskrunner(world, name))
