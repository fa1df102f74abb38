"""Options that several commands share, and how a command ends."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from swarmlearning.errors import UserError
from swarmlearning.identity.identity import Identity, identity_from_options
from swarmlearning.node.errors import NodeError
from swarmlearning.node.logs import report
from swarmlearning.views.names import escaped

CaCert = Annotated[Path | None, typer.Option("--cacert", help="File with the CA certificates to trust.")]
CaPath = Annotated[Path | None, typer.Option("--capath", help="Folder with the CA certificates of all organisations.")]
Cert = Annotated[Path | None, typer.Option("--cert", help="This node's certificate (PEM).")]
Key = Annotated[Path | None, typer.Option("--key", help="This node's private key (PEM).")]
ReadyFd = Annotated[
    int | None, typer.Option("--ready-fd", hidden=True, help="Write one JSON line to this descriptor when ready.")
]

NEWLINE_AND_TAB = "\n\t"

T = TypeVar("T")

DataDir = Annotated[
    Path | None, typer.Option(help="Where this node keeps its state; by default below $HOME/.local/state.")
]


def data_directory(given: Path | None, kind: str) -> Path:
    """The data directory that was given, or the default one of this kind of node.

    Raises `NodeError` where there is none: a directory that depends on how a node is started would make it another
    node, and an SN the founder of another network.
    """
    if given is not None:
        return given.absolute()
    home = os.environ.get("HOME", "")
    if not Path(home).is_absolute():
        raise NodeError(
            "HOME is not set, so there is no default place for this node's state: name it with --data-dir (under "
            "systemd: StateDirectory=swarm and --data-dir %S/swarm)"
        )
    return Path(home) / ".local" / "state" / "swarmlearning" / kind


logger = logging.getLogger("swarm.node")

HANGUP = (
    "SIGHUP received: this node goes on as it is. It reads certificates and settings when it starts only; restart it "
    "to use changed ones"
)


def load_identity(cacert: Path | None, capath: Path | None, cert: Path | None, key: Path | None) -> Identity:
    """The identity from options and the SWARM_ID_* variables."""
    return identity_from_options(os.environ, cacert, capath, cert, key)


def run_node(work: Coroutine[Any, Any, T]) -> T | None:
    """Runs a node until it ends; SIGTERM and SIGINT stop it in good order (None).

    A second signal changes nothing: it would cut the stop short, and leave behind what the node has started. Nor does
    SIGHUP, which is logged: a node reads its certificates and settings when it starts.
    """

    async def main() -> T | None:
        task = asyncio.ensure_future(work)
        stopping = False

        def stop(number: signal.Signals) -> None:
            nonlocal stopping
            if not stopping:
                logger.info("%s received: this node stops", number.name)
                task.cancel()
            stopping = True

        loop = asyncio.get_running_loop()
        loop.set_exception_handler(report)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop, number)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
            loop.add_signal_handler(signal.SIGHUP, logger.warning, "%s", HANGUP)
        try:
            return await task
        except asyncio.CancelledError:
            return None

    import uvloop

    return uvloop.run(main())


def run_to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """The same for a command with an end. Raises `NodeError` when a signal has stopped it before."""
    done = run_node(work)
    if done is None:
        raise NodeError("stopped by a signal before it was done; run it again")
    return done


def first_cause(error: BaseException) -> BaseException:
    """The error inside (nested) exception groups that came first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def fail(program: str, error: BaseException) -> None:
    """Prints an expected error as one clear message and exits with 1; raises any other."""
    cause = first_cause(error)
    if not isinstance(cause, UserError):
        raise cause
    print(f"{program}: {escaped(str(cause), keep=NEWLINE_AND_TAB)}", file=sys.stderr, flush=True)
    raise typer.Exit(1)
