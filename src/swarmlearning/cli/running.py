"""Runs a node, or a command that acts as one, until it ends or a signal stops it."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import typer

from swarmlearning.cli.options import NodeProcess
from swarmlearning.identity.source import WatchedSource
from swarmlearning.node.crashes import Crashes
from swarmlearning.node.errors import NodeError
from swarmlearning.node.expiry import warn_of_own, while_working
from swarmlearning.node.logs import banner, report, start_logging
from swarmlearning.node.ready import Ready, ReportReady
from swarmlearning.node.secrets import known_secrets
from swarmlearning.node.stacks import StackFile
from swarmlearning.node.variables import Kind, log_proxy, log_without_effect

logger = logging.getLogger("swarm.node")

HANGUP = (
    "SIGHUP received: this node goes on as it is, and looks for changed certificates. Settings are read at its start "
    "only; restart it to use changed ones"
)

KINDS: dict[Literal["SN", "SL", "SWOP"], Kind] = {"SN": "sn", "SL": "sl", "SWOP": "swop"}

T = TypeVar("T")


def run_node(
    work: Coroutine[Any, Any, T],
    loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
    look: Callable[[], None] = lambda: None,
    begun: Callable[[asyncio.AbstractEventLoop], None] = lambda loop: loop.set_exception_handler(report),
) -> T | None:
    """Runs a node until it ends; SIGTERM and SIGINT stop it in good order (None). `loop` makes its event loop.

    A second signal changes nothing: it would cut the stop short, and leave behind what the node has started. SIGHUP
    calls `look`, with which it looks for changed certificates; its settings it reads when it starts only. `begun` gets
    the loop before the node begins.
    """

    async def main() -> T | None:
        task = asyncio.ensure_future(work)
        stopping = False

        def stop(number: signal.Signals) -> None:
            nonlocal stopping
            if not stopping:
                logger.info("%s received: this node is stopping", number.name)
                task.cancel()
            stopping = True

        def hang_up() -> None:
            logger.warning("%s", HANGUP)
            look()

        loop = asyncio.get_running_loop()
        begun(loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop, number)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
            loop.add_signal_handler(signal.SIGHUP, hang_up)
        try:
            return await task
        except asyncio.CancelledError:
            return None

    from swarmlearning.transport.loop import new_event_loop

    gc.freeze()  # what has been imported stays: no collection has to look at it again
    with asyncio.Runner(loop_factory=loop or new_event_loop) as runner:
        return runner.run(main())


class Settings(Protocol):
    """What the settings of all nodes have."""

    @property
    def name(self) -> str:
        """The node's name."""

    @property
    def data_dir(self) -> Path:
        """Its data directory."""


def run_node_process(
    kind: Literal["SN", "SL", "SWOP"],
    settings: Settings,
    process: NodeProcess,
    source: WatchedSource,
    work: Callable[[ReportReady], Coroutine[Any, Any, T]],
) -> T | None:
    """Runs a node of this kind as the work of this process, with its log; else as `run_node` does.

    `work` gets the function with which the node reports that it is ready. A SWOP, which starts processes, runs on the
    standard event loop: uvloop (0.23) lets their pipes' ends leak into other children, and sets no file mode mask.

    An error that nobody expected ends the process with status 1: it is in the log, whose last line names the report.
    """
    report_ready = Ready(process.ready_fd).report
    if process.log_format == "text":
        print(banner(kind), flush=True)
    secrets = known_secrets(os.environ)
    start_logging(process.log_level, process.log_format, settings.name, secrets)
    log_without_effect(KINDS[kind], os.environ)
    log_proxy(os.environ)
    crashes = Crashes(settings.data_dir, f"{kind} {settings.name}", secrets)
    dumps = StackFile(settings.data_dir)

    def begun(loop: asyncio.AbstractEventLoop) -> None:
        loop.set_exception_handler(crashes.in_loop)
        dumps.attach(loop)

    loop = asyncio.new_event_loop if kind == "SWOP" else None
    working = while_working(work(report_ready), source.watch(), warn_of_own(source))
    try:
        with crashes.watched():
            return run_node(working, loop, source.look, begun)
    except Exception as error:
        if crashes.report(error):
            raise typer.Exit(1) from error
        raise
    finally:
        dumps.close()


def run_to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Runs a command that comes to an end, as `run_node` does. Raises `NodeError` when a signal stops it before."""
    done = run_node(work)
    if done is None:
        raise NodeError("stopped by a signal before it was done; run it again")
    return done
