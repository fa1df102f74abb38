"""Running the user's training command beside this SL node: `swarm sl … -- python train.py`.

Nothing of the command outlives the SL, whatever wrappers it consists of: a keeper (`supervise/keeper.py`) ends it all
when the SL ends, even by SIGKILL; whoever starts the SL again starts both.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from swarmlearning.node.errors import NodeError
from swarmlearning.supervise import keeper
from swarmlearning.supervise.environment import search_path

logger = logging.getLogger("swarm.mlApp")

CHANNEL_VARIABLE = "SWARM_CHANNEL"
RECONNECT_VARIABLE = "SWARM_RECONNECT_SECONDS"
STOP_SECONDS = 10.0


async def run_ml(command: Sequence[str], channel: Path, variables: Mapping[str, str] | None = None) -> int:
    """Exit status of the command (128 + signal number when killed). Cancelled, it stops the command first.

    `variables` are added to its environment. Raises `NodeError` when the command cannot be started.
    """
    # No return to another SL: what a killed command leaves behind must not take the place of the one started anew.
    own = {CHANNEL_VARIABLE: str(channel), RECONNECT_VARIABLE: "0", "PATH": search_path(os.environ)}
    environment = os.environ | own | dict(variables or {})
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
            await _stop(process, here)
            raise
        if status == keeper.CANNOT_START and (code := here.recv(16)):
            raise NodeError(f"cannot start the training command {command[0]!r}: {os.strerror(int(code))}")
    if status:
        logger.error("The training command has failed: %s", _describe(status))
    return status if status >= 0 else 128 - status


async def _stop(process: asyncio.subprocess.Process, keeper_end: socket.socket) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        # In a task that is being cancelled asyncio.timeout raises no TimeoutError before Python 3.11.3.
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        logger.warning("The training command ignores SIGTERM: it is killed")
        keeper_end.close()
        await process.wait()


def _describe(status: int) -> str:
    return f"exit status {status}" if status > 0 else f"killed by {signal.Signals(-status).name}"
