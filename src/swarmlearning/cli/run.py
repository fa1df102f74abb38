"""`swarm run`: a whole swarm on this machine for one's own script."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from swarmlearning.cli.console import make_console
from swarmlearning.cli.launcher import SitesFailed, train
from swarmlearning.cli.live import screen
from swarmlearning.cli.nodecommands import environment
from swarmlearning.cli.options import fail
from swarmlearning.cli.report import NO_FAILURES, Report, make_report, save, succeeded
from swarmlearning.cli.runfolder import RunFolder, log_to, make_run_folder, site_names
from swarmlearning.cli.summary import summary
from swarmlearning.supervise.environment import search_path
from swarmlearning.supervise.processes import Processes, RunError

MAX_SITES = 64
LONGEST_LABEL = 64

CONTEXT_SETTINGS = {"allow_interspersed_args": False}
"""For registering `run`: what follows the script is the script's, with `--` or without."""

RunsDir = Annotated[Path, typer.Option(help="Where run folders are made.", file_okay=False)]
ReportFile = Annotated[Path | None, typer.Option("--report", help="Write the report to this file too.")]
LiveView = Annotated[bool | None, typer.Option("--live/--no-live", help="Live view; by default where a terminal is.")]


def run(
    command: Annotated[list[str], typer.Argument(help="The training script, as: python train.py")],
    sites: Annotated[int, typer.Option("-n", "--sites", help="How many sites.", min=1, max=MAX_SITES)],
    report: ReportFile = None,
    runs_dir: RunsDir = Path("runs"),
    live: LiveView = None,
) -> None:
    """Train one model with N processes of your script, each with an SL node of its own.

    As torchrun does for data-parallel training: swarm run -n 3 -- python train.py

    Each process of the script finds in its environment:

    SWARM_CHANNEL    socket of its SL node; a SwarmCallback finds it by itself
    SWARM_INDEX      its number, from 0
    SWARM_COUNT      how many there are
    SWARM_SITE       name of its site: site-1, site-2, ...
    SWARM_RUN_DIR    the run folder; write into sites/$SWARM_SITE/ in it
    MIN_PEERS        the same as SWARM_COUNT
    NODE_ID          the same as SWARM_SITE
    SCRATCH_DIR      sites/$SWARM_SITE/ in the run folder unless you set it
    OMP_NUM_THREADS  1 unless you set it: the processes share the cores

    Two files in sites/$SWARM_SITE/ go into the report: metrics.json, a JSON
    object such as {"samples": 120, "accuracy": 0.97}, and the digest of
    model.safetensors, where the script writes the model it ends with.

    `python` is the one beside `swarm` unless another environment is active.

    A site that fails does not end the run while enough sites (minPeers) are
    left; the others go on to the end of training.

    The run folder (runs/latest leads to the newest) holds the log of every
    process, the ledger and report.json, after Ctrl-C too. Only its owner may
    read what the run writes: models are among it. Exit status: 0 when training
    came to its end at every site and the ledger verifies, 130 after Ctrl-C,
    else 1 with what failed and the end of its log.
    """
    console = make_console()
    began = time.monotonic()
    try:
        check_command(command)
        folder = make_run_folder(runs_dir, _label(command), sites)
        log_to(folder)
        names = site_names(sites)
        processes = Processes(folder.logs, environment(os.environ))

        async def work() -> None:
            with screen(console, names, live) as shown:
                async with processes:
                    await train(processes, folder, command, sites, shown)

        with accounted(console, folder, names, began, report) as report_now:
            run_until_signal(work(), processes)
            result = report_now()
        if not succeeded(result):
            raise RunError(result.status)
    except Exception as error:  # noqa: BLE001 - `fail` raises what it does not know
        fail("swarm run", error)


@contextmanager
def accounted(
    console: Console, folder: RunFolder, sites: Sequence[str], began: float, copy: Path | None = None
) -> Iterator[Callable[[], Report]]:
    """Names the run folder at the end, and where the run inside fails or is stopped leaves a report first.

    The block gets a function that makes, saves and shows the report of a run that has ended well.
    """

    def report(failures: Mapping[str, str] = NO_FAILURES) -> Report:
        result = make_report(folder, sites, time.monotonic() - began, failures)
        save(result, folder.report, copy)
        console.print(summary(result, console))
        return result

    try:
        yield report
    except BaseException as error:
        if folder.chain.exists():
            with suppress(RunError):  # the error at hand says more
                report(error.failures if isinstance(error, SitesFailed) else NO_FAILURES)
        raise
    finally:
        console.print(f"run folder {folder.root}", style="dim", soft_wrap=True)


def run_until_signal(work: Coroutine[Any, Any, None], processes: Processes) -> None:
    """Runs `work`. A signal cancels it, a second one kills all `processes`; raises `typer.Exit` then."""
    received: list[int] = []

    async def main() -> None:
        task = asyncio.ensure_future(work)

        def on_signal(number: int) -> None:
            (processes.kill if received else task.cancel)()
            received.append(number)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
                asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
        try:
            await task
        except asyncio.CancelledError:
            if not received:
                raise

    asyncio.run(main())
    if received:
        raise typer.Exit(128 + received[0])


def check_command(command: Sequence[str]) -> None:
    """Raises `RunError` when there is no such program."""
    if shutil.which(command[0], path=search_path(os.environ)) is None:
        raise RunError(f"there is no program {command[0]!r}: give the command of your script, as: -- python train.py")


def _label(command: list[str]) -> str:
    """The script's name, for the run folder's, which is the network's too."""
    name = [*(Path(part).stem for part in command if part.endswith(".py")), Path(command[0]).name][0]
    return "".join(char if char.isalnum() or char in "._-" else "-" for char in name[:LONGEST_LABEL])
