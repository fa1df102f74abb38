"""The clock of an SN beside those of the others: blocks are dated by their median, and whoever is off is named.

So one wrong clock changes no block's time, its own SN's neither. Of two SNs nobody knows who is right: both date blocks
by the earlier clock, so that neither finds the other's ahead.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.node.clocks import TOLERATED_MS, Offset, clock_ms, correction, offset
from swarmlearning.sn.remote import Others

logger = logging.getLogger("swarm.SN")

COMPARE_SECONDS = 5.0


def describe(own: str, offsets: Mapping[str, int]) -> str:
    """A sentence that names the SNs whose clocks are off (by name, milliseconds ahead of the SN `own`); else empty."""
    if len(offsets) == 1:
        ((other, offset),) = offsets.items()
        if abs(offset) <= TOLERATED_MS:
            return ""
        return f"the clocks of SN {own} and SN {other} differ by {abs(offset) / 1000:.0f} s; blocks go by the earlier"
    median = sorted((0, *offsets.values()))[len(offsets) // 2]
    off = {name: offset - median for name, offset in {own: 0, **offsets}.items()}
    return "; ".join(
        f"the clock of SN {name} is {abs(ms) / 1000:.0f} s {'ahead of' if ms > 0 else 'behind'} the others'"
        for name, ms in sorted(off.items())
        if abs(ms) > TOLERATED_MS
    )


def creeping(time_ms: int, now_ms: int) -> str:
    """A sentence about a ledger whose newest block is far ahead of the clock (its founder's was); else empty."""
    if time_ms - now_ms <= network.AHEAD_MS:
        return ""
    return (
        f"the ledger's time is {(time_ms - now_ms) / 1000:.0f} s ahead of this SN's clock; until the clock has reached "
        "it, each block is dated a millisecond after the one before"
    )


class Clocks:
    """The clock of the SN called `name`, compared with the others' every few seconds; `chain` names them."""

    def __init__(self, name: str, others: Others, chain: Callable[[], Chain]) -> None:
        self._name = name
        self._others = others
        self._chain = chain
        self._correction_ms = 0
        self.offset: Offset | None = None
        """Of this SN's clock to the median of all, as last compared; None before others answer."""
        self._faults: dict[str, str] = {}

    def now_ms(self) -> int:
        """The time to date a block with: that of this SN's clock, or of the median where it is off."""
        return clock_ms() + self._correction_ms

    async def run(self) -> None:
        """Compares until cancelled."""
        while True:
            await self.compare()
            await asyncio.sleep(COMPARE_SECONDS)

    async def compare(self) -> None:
        """Compares once with all that answer in time; where nobody does, what was found before stands."""
        clients = self._others()
        answers = await asyncio.gather(*map(offset, clients))
        names = {sn.addresses.get("api", ""): sn.name for sn in network.admitted(self._chain().world)}
        offsets = {
            names.get(client.address, client.address): found
            for client, found in zip(clients, answers, strict=True)
            if found is not None
        }
        if offsets:
            self._correction_ms = correction(list(offsets.values()))
            self.offset = Offset(-sorted((0, *offsets.values()))[len(offsets) // 2], 0)
            self._name_fault("clocks", describe(self._name, offsets))
        self._name_fault("ledger", creeping(self._chain().time_ms, self.now_ms()))

    def _name_fault(self, subject: str, text: str) -> None:
        if text and not self._faults.get(subject):
            logger.warning("%s. Set the clocks right (NTP); blocks are dated by the median of the SNs' clocks", text)
        self._faults[subject] = text

    @property
    def alarm(self) -> str:
        """The faults found, as text; else empty."""
        return "; ".join(text for text in self._faults.values() if text)
