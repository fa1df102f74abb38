"""Environment variables of a training script."""

import faulthandler
import math
import os
import sys
from contextlib import suppress
from typing import Final, NamedTuple

from swarmlearning.client.errors import SwarmError

CHANNEL: Final = "SWARM_CHANNEL"
LOOPBACK: Final = "SWARM_LOOPBACK"
START: Final = "SWARM_START_SECONDS"
RECONNECT: Final = "SWARM_RECONNECT_SECONDS"
RANKS: Final = "SWARM_RANK_SECONDS"
STACKS: Final = "SWARM_STACKS_SIGNAL"


def loopback() -> bool:
    """Returns True if training goes on without a swarm."""
    return os.getenv(LOOPBACK, "").lower() == "true"


def show_stacks_on_signal() -> None:
    """Has Python write the stacks of all threads to standard error when the signal comes that the environment names.

    A SWOP sends it to a script that makes no progress. Nothing happens where the variable names none.
    """
    number = os.getenv(STACKS, "")
    if number.isdecimal() and sys.platform != "win32":
        with suppress(ValueError, OSError, RuntimeError, AttributeError):  # no such signal, or no standard error
            faulthandler.register(int(number), all_threads=True)


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
