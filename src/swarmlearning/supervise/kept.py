"""A command that a node runs: nothing of what it starts outlives the node, or the command itself (`keeper.py`)."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from swarmlearning.supervise import keeper

logger = logging.getLogger("swarm.node")


async def run_kept(what: str, command: Sequence[str], environment: Mapping[str, str], stop_seconds: float) -> int:
    """Return code of the command as `subprocess` gives it; its output is this process's.

    Cancelled, it stops the command first: SIGTERM, and SIGKILL after so many seconds. `what` it is, for the log. Raises
    `OSError` when it cannot be started.
    """
    here, there = socket.socketpair()
    with here:
        with there:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", keeper.__file__, str(there.fileno()), *command),
                env=environment,
                start_new_session=True,
                pass_fds=[there.fileno()],
            )
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            await _stop(what, process, here, stop_seconds)
            raise
        if status == keeper.CANNOT_START and (code := here.recv(16)):
            raise OSError(int(code), os.strerror(int(code)))
    return status


async def _stop(what: str, process: asyncio.subprocess.Process, keeper_end: socket.socket, seconds: float) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        # In a task that is being cancelled asyncio.timeout raises no TimeoutError before Python 3.11.3.
        await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        logger.warning("%s ignores SIGTERM: it is killed", what)
        keeper_end.close()
        await process.wait()
