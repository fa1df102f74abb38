"""Bounds how fast another node can lead this one from address to address.

A node announces any address it likes, and whoever fetches its model connects there: without a bound, each round would
show it whether something answers at one more address of this node's network.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from swarmlearning.address import join
from swarmlearning.models.connections import Source
from swarmlearning.node.follower import Follower
from swarmlearning.node.sources import source_of

logger = logging.getLogger("swarm.SL")

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


class Holders:
    """Where other members serve models, as the ledger says."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._sought = SoughtAddresses(time.monotonic)

    def sources(self, holders: Sequence[str]) -> dict[Source, str]:
        """The addresses of the members who may hold a model, and their UIDs."""
        world, found = self._follower.chain.world, dict[Source, str]()
        for uid in holders:
            source = source_of(world, uid)
            if source is not None and self._may_seek(uid, join(*source[:2])):
                found[source] = uid
        return found

    def _may_seek(self, uid: str, address: str) -> bool:
        if self._sought.may_seek(uid, address):
            return True
        logger.warning("%s is not looked for at %s: it announces new addresses too often", uid, address)
        return False
