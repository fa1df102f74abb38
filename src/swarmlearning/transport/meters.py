"""Who uses how much of a server in a while: each party waits until it has earned what it uses."""

import time
from collections.abc import Callable
from typing import Final

from swarmlearning.rates import SECOND_US, Rate

_MOST: Final = 4096


def _now_us() -> int:
    return time.monotonic_ns() // 1000


class Meter:
    """Measures one resource. `clock`: microseconds that never go back."""

    def __init__(self, clock: Callable[[], int] = _now_us) -> None:
        self._clock = clock
        self._earned_at: dict[str, int] = {}

    def turn(self, party: str, rate: Rate, amount: int = 1, patience: float = float("inf")) -> float | None:
        """Returns the seconds until a party may use this amount, which is noted as used.

        None, and nothing is noted, where that is longer than `patience`.
        """
        now, earned_at = self._clock(), self._earned_at.get(party, 0)
        wait = rate.wait_us(earned_at, now) / SECOND_US
        if wait > patience:
            return None
        if party not in self._earned_at and len(self._earned_at) >= _MOST:
            self._earned_at = {each: at for each, at in self._earned_at.items() if at > now}
        self._earned_at[party] = rate.after(earned_at, now, amount)
        return wait
