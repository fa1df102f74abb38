"""Asks SNs for the status again and again: the one that answered last, another of the network's when it does not."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.node.clocks import clock_ms
from swarmlearning.node.errors import NodeError
from swarmlearning.operator.reading import require_network

ASK_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 6.0
"""An SN that takes longer is passed over; one that has lost its majority takes three."""
MOST_SNS: Final = 32
"""Addresses that are remembered: they are what SNs state."""

Status = Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """The newest status, and who gave it; None before the first. `at`: when it came, in seconds of a clock that never
    goes back. `outage`: since when (Unix time in milliseconds) no SN answers, and why."""

    found: Status | None = None
    address: str = ""
    at: float = 0.0
    outage: tuple[int, str] | None = None

    def now_ms(self) -> int:
        """The SN's time now; this machine's clock may be another one."""
        told: int | None = self.found.get("time_ms") if self.found else None
        return clock_ms() if told is None else told + round(1000 * (monotonic() - self.at))


class Asking:
    """Asks the SN at `address` first; `network_id`: of the only network whose SNs are believed, else of the first."""

    def __init__(self, address: str, tls: Callable[[], ssl.SSLContext], network_id: str = "") -> None:
        self._addresses = [address]
        self._tls = tls
        self._network_id = network_id
        self._clients: dict[str, SnClient] = {}
        self.seen = Seen()

    async def statuses(self) -> AsyncGenerator[Seen, None]:
        """What is seen, every few seconds. Raises `NodeError`, `Unavailable` or `Refusal` where the first SN that is
        asked gives no status."""
        try:
            while True:
                yield await self._look()
                await asyncio.sleep(ASK_SECONDS)
        finally:
            while self._clients:
                await self._clients.popitem()[1].close()

    async def _look(self) -> Seen:
        reasons = list[str]()
        lesser: tuple[str, Status] | None = None  # of an SN without a vote, or cut off from the others
        for address in list(self._addresses):
            try:
                found = await self._ask(address)
            except (Unavailable, Refusal, NodeError) as error:
                if self.seen.found is None:
                    raise
                reasons.append(str(error))
                continue
            if found["majority"]:
                return self._saw(address, found)
            lesser = lesser or (address, found)
            self._learn(found)
        if lesser:
            return self._saw(*lesser)
        since_ms = self.seen.outage[0] if self.seen.outage else clock_ms()
        self.seen = Seen(self.seen.found, self.seen.address, self.seen.at, (since_ms, "; ".join(reasons)))
        return self.seen

    async def _ask(self, address: str) -> Status:
        client = self._clients.get(address)
        if client is None:
            client = SnClient(address, self._tls(), ANSWER_SECONDS)
            try:
                self._network_id = await require_network(client, self._network_id)
            except BaseException:
                await client.close()
                raise
            self._clients[address] = client
        return await client.status()

    def _saw(self, address: str, found: Status) -> Seen:
        self._learn(found)
        self._addresses.remove(address)
        self._addresses.insert(0, address)
        self.seen = Seen(found, address, monotonic())
        return self.seen

    def _learn(self, found: Status) -> None:
        """Adds the other SNs; those that have been asked before stay known, since a status may be false."""
        for node in found["nodes"]:
            address = node["addresses"].get("api", "") if node["type"] == "SN" and not node["left"] else ""
            if address and address not in self._addresses and len(self._addresses) < MOST_SNS:
                self._addresses.append(address)
