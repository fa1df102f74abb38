"""Running the user's training command beside this SL node: `swarm sl … -- python train.py`.

The command does not outlive the SL: when that is killed, it dies too, and whoever starts the SL again starts both.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from swarmlearning.node.errors import NodeError
from swarmlearning.orphans import dying_with_this_process
from swarmlearning.supervise.environment import search_path

logger = logging.getLogger("swarm.mlApp")

CHANNEL_VARIABLE = "SWARM_CHANNEL"
RECONNECT_VARIABLE = "SWARM_RECONNECT_SECONDS"
STOP_SECONDS = 10.0


async def run_ml(command: Sequence[str], channel: Path, variables: Mapping[str, str] | None = None) -> int:
    """Exit status of the command (128 + signal number when killed). Cancelled, it stops the command first.

    `variables` are added to its environment.

    Raises `NodeError` when the command cannot be started.
    """
    # No return to another SL: what a killed command leaves behind must not take the place of the one started anew.
    own = {CHANNEL_VARIABLE: str(channel), RECONNECT_VARIABLE: "0", "PATH": search_path(os.environ)}
    environment = os.environ | own | dict(variables or {})
    try:
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, start_new_session=True, preexec_fn=dying_with_this_process()
        )
    except OSError as error:
        raise NodeError(f"cannot start the training command {command[0]!r}: {error.strerror}") from error
    try:
        status = await process.wait()
    except asyncio.CancelledError:
        await _stop(process)
        raise
    if status:
        logger.error("The training command has failed: %s", _describe(status))
    return status if status >= 0 else 128 - status


async def _stop(process: asyncio.subprocess.Process) -> None:
    _signal_group(process, signal.SIGTERM)
    try:
        # In a task that is being cancelled asyncio.timeout raises no TimeoutError before Python 3.11.3.
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        logger.warning("The training command ignores SIGTERM: it is killed")
    _signal_group(process, signal.SIGKILL)  # what it has started and left behind, too
    await process.wait()


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _describe(status: int) -> str:
    return f"exit status {status}" if status > 0 else f"killed by {signal.Signals(-status).name}"
