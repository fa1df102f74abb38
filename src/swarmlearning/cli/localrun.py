"""A run of a whole swarm on this machine, from its folder to its report, also where it fails or is stopped."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from swarmlearning.cli.launcher import SitesFailed
from swarmlearning.cli.nodecommands import environment
from swarmlearning.cli.report import NO_FAILURES, Report, make_report, save
from swarmlearning.cli.runfolder import RunFolder, log_to, make_run_folder, site_names
from swarmlearning.cli.summary import summary
from swarmlearning.supervise.environment import search_path
from swarmlearning.supervise.processes import Processes, RunError

RunsDir = Annotated[Path, typer.Option(help="Where run folders are made.", file_okay=False)]
ReportFile = Annotated[Path | None, typer.Option("--report", help="Write the report to this file too.")]
LiveView = Annotated[bool | None, typer.Option("--live/--no-live", help="Live view; by default where a terminal is.")]


@dataclass(frozen=True)
class LocalRun:
    """A run under way: its folder, its processes, the names of its sites, and when it began (monotonic seconds)."""

    console: Console
    folder: RunFolder
    sites: Sequence[str]
    processes: Processes
    began: float

    @classmethod
    def prepare(cls, console: Console, runs_dir: Path, label: str, sites: int) -> "LocalRun":
        """A run in a new folder, with certificates for all nodes; nothing is started yet. Raises `RunError`."""
        began = time.monotonic()
        folder = make_run_folder(runs_dir, label, sites)
        log_to(folder)
        return cls(console, folder, site_names(sites), Processes(folder.logs, environment(os.environ)), began)

    def report(self, failures: Mapping[str, str] = NO_FAILURES) -> Report:
        """The report of the run as the ledger shows it now; `failures` are those of sites. Raises `RunError`."""
        return make_report(self.folder, self.sites, time.monotonic() - self.began, failures)

    @contextmanager
    def accounted(self, copy: Path | None = None) -> Iterator[Callable[[], Report]]:
        """Names the run folder at the end, and where the run inside fails or is stopped leaves a report first.

        The block gets a function that makes, saves (to `copy` too) and shows the report of a run that has ended well.
        """

        def show(failures: Mapping[str, str] = NO_FAILURES) -> Report:
            result = self.report(failures)
            save(result, self.folder.report, copy)
            self.console.print(summary(result, self.console))
            return result

        try:
            yield show
        except BaseException as error:
            if self.folder.chain.exists():
                with suppress(RunError):  # the error at hand is more useful
                    show(error.failures if isinstance(error, SitesFailed) else NO_FAILURES)
            raise
        finally:
            self.console.print(f"run folder {self.folder.root}", style="dim", soft_wrap=True)


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
