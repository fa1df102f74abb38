"""`swarm chaos`: a script of one's own in a local swarm under a plan of faults."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from swarmlearning.cli.chaos import ENOUGH
from swarmlearning.cli.chaos.inject import Injected, Injector
from swarmlearning.cli.chaos.plan import Plan, load, schedule
from swarmlearning.cli.chaos.plans import READY
from swarmlearning.cli.chaos.report import ResilienceReport, problems, resilience
from swarmlearning.cli.chaos.swarm import ChaosSwarm
from swarmlearning.cli.console import make_console, print_json
from swarmlearning.cli.launcher import see_out, with_beside
from swarmlearning.cli.nodecommands import environment
from swarmlearning.cli.options import fail
from swarmlearning.cli.report import make_report, save
from swarmlearning.cli.run import MAX_SITES, RunsDir, accounted, check_command, run_until_signal
from swarmlearning.cli.runfolder import RunFolder, log_to, make_run_folder, site_names
from swarmlearning.ledger.history import steps
from swarmlearning.ordering.local import read_chain_file
from swarmlearning.supervise.processes import Processes, RunError

FAULTS_FILE = "faults.json"


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
    began = time.monotonic()
    try:
        if listed:
            console.print(_listing())
            return
        chosen = READY.get(plan) or _from_file(plan)
        if command:
            check_command(command)
        folder = make_run_folder(runs_dir, f"chaos-{chosen.name}", sites)
        log_to(folder)
        injected: list[Injected] = []
        processes = Processes(folder.logs, environment(os.environ))
        words = command or [sys.executable, "-P", "-m", "swarmlearning.cli.chaos.script", "--mb", str(model_mb)]
        with accounted(console, folder, site_names(sites), began):
            run_until_signal(_work(processes, folder, words, sites, chosen, seed, console, injected), processes)
            save(injected, folder.root / FAULTS_FILE)
            run = make_report(folder, site_names(sites), time.monotonic() - began)
            save(run, folder.report)
            report = resilience(chosen, seed, injected, list(steps(read_chain_file(folder.chain))), run)
            if as_json:
                print_json(report)
            else:
                console.print(_table(report))
        if found := problems(report, chosen, run):
            raise RunError("; ".join(found))
    except Exception as error:  # noqa: BLE001 - `fail` raises what it does not know
        fail("swarm chaos", error)


async def _work(
    processes: Processes,
    folder: RunFolder,
    command: Sequence[str],
    sites: int,
    plan: Plan,
    seed: int,
    console: Console,
    injected: list[Injected],
) -> None:
    def announce(line: str) -> None:
        console.print(line, soft_wrap=True)

    async with (
        processes,
        ChaosSwarm(processes, folder, command, sites, on_the_network=plan.on_the_network) as swarm,
    ):

        async def inject() -> None:
            injected.extend(await Injector(swarm, announce).run(schedule(plan, seed)))
            (folder.root / ENOUGH).touch()
            await see_out(processes, folder, swarm.running, swarm.follower)

        await with_beside(inject(), swarm.follower.run(), processes.watch())


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
