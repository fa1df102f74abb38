"""`swarm chaos`: a script of one's own in a local swarm under a plan of faults."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from swarmlearning.cli.chaos import ENOUGH
from swarmlearning.cli.chaos.inject import Injected, Injector
from swarmlearning.cli.chaos.plan import Plan, load, schedule
from swarmlearning.cli.chaos.plans import READY
from swarmlearning.cli.chaos.report import ResilienceReport, problems, resilience
from swarmlearning.cli.chaos.swarm import ChaosSwarm
from swarmlearning.cli.command import command
from swarmlearning.cli.console import make_console, print_json
from swarmlearning.cli.launcher import see_out, with_beside
from swarmlearning.cli.localrun import LocalRun, RunsDir, check_command, run_until_signal
from swarmlearning.cli.report import Report, save
from swarmlearning.cli.run import MAX_SITES
from swarmlearning.ledger.history import steps
from swarmlearning.ordering.local import read_chain_file
from swarmlearning.supervise.processes import RunError

FAULTS_FILE = "faults.json"


@command("swarm chaos")
def chaos(
    command: Annotated[list[str] | None, typer.Argument(help="Your training script, as: python train.py")] = None,
    plan: Annotated[str, typer.Option(help="Name of a plan (see --list), or a file with one.")] = "mixed",
    sites: Annotated[int, typer.Option("-n", "--sites", help="How many sites.", min=2, max=MAX_SITES)] = 4,
    seed: Annotated[int, typer.Option(help="The same seed gives the same schedule of faults.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the plans, and run nothing.")] = False,
    model_mb: Annotated[float, typer.Option(help="Size of the model of the script that comes with it.", min=0.01)] = 8,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Train in a local swarm while its processes are killed and frozen and its network fails; report what that did.

    Without a script, one that comes with this command trains for as long as
    there are faults to come: swarm chaos --plan leader-kill

    A script of your own is run as by `swarm run`, but with MIN_PEERS one less
    than there are sites, so that rounds can close without a killed one; it
    has to train for long enough. One that is killed starts from its beginning,
    with the swarm's model.

    The report: plan, seed, faults (how many), recovery_s (median and max of the
    seconds from a fault to the next merge on the ledger), rounds, rounds_lost
    (whose result was void, or that closed without a site that was up),
    participation (rounds to which each site contributed), digests_equal,
    ledger_verified. Each fault is in faults.json in the run folder. Exit status
    0 when all faults have happened, training came to its end, all sites hold
    the same model and the ledger verifies.
    """
    console = make_console(stderr=as_json)
    if listed:
        console.print(_listing())
        return
    chosen = READY.get(plan) or _from_file(plan)
    if command:
        check_command(command)
    words = command or [sys.executable, "-P", "-m", "swarmlearning.cli.chaos.script", "--mb", str(model_mb)]
    swarm = LocalRun.prepare(console, runs_dir, f"chaos-{chosen.name}", sites)
    with swarm.accounted():
        run, report = _disturbed(swarm, words, chosen, seed)
        if as_json:
            print_json(report)
        else:
            console.print(_table(report))
    if found := problems(report, chosen, run):
        raise RunError("; ".join(found))


def _disturbed(swarm: LocalRun, command: Sequence[str], plan: Plan, seed: int) -> tuple[Report, ResilienceReport]:
    """Trains under the plan's faults to the end, and reports both on the training and on what the faults cost it."""
    injected: list[Injected] = []
    run_until_signal(_train(swarm, command, plan, seed, injected), swarm.processes)
    save(injected, swarm.folder.root / FAULTS_FILE)
    run = swarm.report()
    save(run, swarm.folder.report)
    return run, resilience(plan, seed, injected, list(steps(read_chain_file(swarm.folder.chain))), run)


async def _train(swarm: LocalRun, command: Sequence[str], plan: Plan, seed: int, injected: list[Injected]) -> None:
    """Adds the faults to `injected` when all have happened."""
    processes, folder = swarm.processes, swarm.folder

    def announce(line: str) -> None:
        swarm.console.print(line, soft_wrap=True)

    async with (
        processes,
        ChaosSwarm(processes, folder, command, len(swarm.sites), on_the_network=plan.on_the_network) as disturbed,
    ):

        async def inject() -> None:
            injected.extend(await Injector(disturbed, announce).run(schedule(plan, seed)))
            (folder.root / ENOUGH).touch()
            await see_out(processes, folder, disturbed.running, disturbed.follower)

        await with_beside(inject(), disturbed.follower.run(), processes.watch())


def _from_file(plan: str) -> Plan:
    if not Path(plan).is_file():
        raise RunError(f"there is no plan {plan!r}, and no such file; `swarm chaos --list` shows the plans")
    return load(Path(plan))


def _listing() -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for each in READY.values():
        table.add_row(each.name, each.about)
    return table


def _table(report: ResilienceReport) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in msgspec.to_builtins(report).items():
        shown = value if not isinstance(value, dict) else ", ".join(f"{key} {part}" for key, part in value.items())
        table.add_row(name, str(shown))
    return table
