"""The clock of an SN beside those of the others: blocks are dated by their median, and whoever is off is named.

So one wrong clock changes no block's time, its own SN's neither. Of two SNs nobody knows who is right: both date blocks
by the earlier clock, so that neither finds the other's ahead.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.sn.remote import Others

logger = logging.getLogger("swarm.SN")

COMPARE_SECONDS = 5.0
ANSWER_SECONDS = 2.0
TOLERATED_MS = 2_000
"""Clocks that differ by less are as good as each other."""


def clock_ms() -> int:
    """This machine's clock, as Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def correction(offsets: Sequence[int]) -> int:
    """The milliseconds to add to this SN's clock, by how far those of others are ahead of it: 0 while it is near the
    median of all. The lower median: of two clocks the earlier one."""
    found = sorted((0, *offsets))[len(offsets) // 2]
    return found if abs(found) > TOLERATED_MS else 0


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


class Clocks:
    """The clock of the SN called `name`, compared with the others' every few seconds; `chain` names them."""

    def __init__(self, name: str, others: Others, chain: Callable[[], Chain]) -> None:
        self._name = name
        self._others = others
        self._chain = chain
        self._correction_ms = 0
        self.alarm = ""

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
        answers = await asyncio.gather(*map(_offset, clients))
        names = {sn.addresses.get("api", ""): sn.name for sn in network.admitted(self._chain().world)}
        offsets = {
            names.get(client.address, client.address): offset
            for client, offset in zip(clients, answers, strict=True)
            if offset is not None
        }
        if not offsets:
            return
        self._correction_ms = correction(list(offsets.values()))
        text = describe(self._name, offsets)
        if text and not self.alarm:
            logger.warning("%s. Set it right (NTP); until then blocks go by the median of all clocks", text)
        self.alarm = text


async def _offset(client: SnClient) -> int | None:
    """Milliseconds by which another SN's clock is ahead of this one's, to half the time that its answer takes."""
    begun, asked_at = clock_ms(), time.monotonic()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            shown = await client.clock()
    except (Unavailable, Refusal, TimeoutError):
        return None
    return shown - begun - round(500 * (time.monotonic() - asked_at))
