"""Bounds how fast another node can lead this one from address to address.

A node announces any address it likes, and whoever fetches its model connects there: without a bound, each round would
show it whether something answers at one more address of this node's network.
"""

from collections.abc import Callable
from typing import Final

MOST: Final = 8
SECONDS: Final = 600.0


class SoughtAddresses:
    """The addresses at which this node has lately sought each other node. `clock`: seconds that never go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sought: dict[str, dict[str, float]] = {}  # by UID: address to the last time

    def may_seek(self, uid: str, address: str) -> bool:
        """True if this node may connect to `address` for the node `uid`, and then it counts: at most `MOST` within
        `SECONDS`."""
        now = self._clock()
        self._forget(now - SECONDS)
        sought = self._sought.setdefault(uid, {})
        if address not in sought and len(sought) >= MOST:
            return False
        sought[address] = now
        return True

    def _forget(self, until: float) -> None:
        for uid, sought in list(self._sought.items()):
            for address in [each for each, at in sought.items() if at <= until]:
                del sought[address]
            if not sought:
                del self._sought[uid]
