"""Running the user's training command beside this SL node: `swarm sl … -- python train.py`.

Nothing of the command outlives the SL, whatever wrappers it consists of: `supervise/kept.py` ends it all when the SL
ends, even by SIGKILL; whoever starts the SL again starts both.
"""

import logging
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from swarmlearning.node.errors import NodeError
from swarmlearning.supervise.environment import search_path
from swarmlearning.supervise.kept import run_kept

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
    try:
        status = await run_kept("The training command", command, environment, STOP_SECONDS)
    except OSError as error:
        raise NodeError(f"cannot start the training command {command[0]!r}: {error.strerror}") from error
    if status:
        logger.error("The training command has failed: %s", _describe(status))
    return status if status >= 0 else 128 - status


def _describe(status: int) -> str:
    return f"exit status {status}" if status > 0 else f"killed by {signal.Signals(-status).name}"
