"""Environment variables of a training script."""

import math
import os
from typing import Final

from swarmlearning.client.errors import SwarmError

CHANNEL: Final = "SWARM_CHANNEL"
LOOPBACK: Final = "SWARM_LOOPBACK"
RECONNECT: Final = "SWARM_RECONNECT_SECONDS"
RANKS: Final = "SWARM_RANK_SECONDS"


def loopback() -> bool:
    """Returns True if training goes on without a swarm."""
    return os.getenv(LOOPBACK, "").lower() == "true"


def seconds(variable: str, default: float) -> float:
    """Returns the number of seconds, 0 or more, in the variable. Raises `SwarmError` for anything else."""
    given = os.getenv(variable)
    if not given:
        return default
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise SwarmError(f"environment variable {variable} has to be a number of seconds, 0 or more; it is {given!r}")
    return value
