"""Environment variables of a training script."""

import math
import os
from typing import Final, NamedTuple

from swarmlearning.client.errors import SwarmError

CHANNEL: Final = "SWARM_CHANNEL"
LOOPBACK: Final = "SWARM_LOOPBACK"
START: Final = "SWARM_START_SECONDS"
RECONNECT: Final = "SWARM_RECONNECT_SECONDS"
RANKS: Final = "SWARM_RANK_SECONDS"


def loopback() -> bool:
    """Returns True if training goes on without a swarm."""
    return os.getenv(LOOPBACK, "").lower() == "true"


class Patience(NamedTuple):
    """Seconds for which an SL node is waited for that is not there yet, and one that went away."""

    start: float
    reconnect: float


def patience(reconnect: float) -> Patience:
    """Returns what the environment demands; `reconnect` is the default for an SL node that went away.

    Raises `SwarmError`.
    """
    return Patience(seconds(START), seconds(RECONNECT, reconnect))


def seconds(variable: str, default: float = 0.0) -> float:
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
