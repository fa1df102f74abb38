"""An SN carries requests for logs to the nodes that are connected to it, and their answers back. It can read neither.

A node *polls*: it waits for a request, takes it, and delivers the answer by the request's digest. Nothing is kept: who
asks waits as long as the answer takes, and what nobody waits for any more is forgotten.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from swarmlearning.node.reading import Carried
from swarmlearning.node.sealing import digest_of

POLL_SECONDS: Final = 20.0
"""A poll without a request ends after this time, and the node begins another."""
GAP_SECONDS: Final = 3.0
"""A node that has polled so lately is taken to be connected."""
ANSWER_SECONDS: Final = 30.0
MOST_AT_ONCE: Final = 128
MOST_OF_ONE: Final = 32
"""Of one organisation."""
MOST_FOR_NODE: Final = 8
"""Of one organisation to one node."""


class NotConnectedError(Exception):
    """The node does not poll at this SN."""


class BusyError(Exception):
    """More is under way than is carried at once."""


class _Pending(NamedTuple):
    node: str
    organisation: str
    jws: str
    answer: "asyncio.Future[str]"


@dataclass
class _Mailbox:
    """What one node has not taken yet: digests."""

    asked: deque[str] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    polls: int = 0
    seen: float = 0.0


class Carrier:
    """The requests under way at one SN."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._boxes: dict[str, _Mailbox] = {}
        self._pending: dict[str, _Pending] = {}
        self._askers: Counter[str] = Counter()

    async def ask(self, node: str, organisation: str, digest: str, jws: str) -> str:
        """The answer of a node to a request of somebody of this organisation; empty where it gives none.

        Raises `NotConnectedError`, `BusyError`, or `TimeoutError`.
        """
        box = self._boxes.get(node)
        if box is None or not self._is_connected(box):
            raise NotConnectedError
        if digest in self._pending:
            raise BusyError("this request is under way already")
        of_node = sum((each.node, each.organisation) == (node, organisation) for each in self._pending.values())
        if len(self._pending) >= MOST_AT_ONCE or self._askers[organisation] >= MOST_OF_ONE or of_node >= MOST_FOR_NODE:
            raise BusyError("this SN carries as many requests for logs as it can at once; try again later")
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._pending[digest] = _Pending(node, organisation, jws, answer)
        self._askers[organisation] += 1
        box.asked.append(digest)
        box.arrived.set()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        finally:
            del self._pending[digest]
            with suppress(ValueError):
                box.asked.remove(digest)
            self._askers[organisation] -= 1
            if not self._askers[organisation]:
                del self._askers[organisation]

    async def next(self, node: str, seconds: float = POLL_SECONDS) -> str:
        """The next request to a node; empty where none comes within this time."""
        self._forget_gone()
        box = self._boxes.setdefault(node, _Mailbox())
        box.polls += 1
        try:
            async with asyncio.timeout(seconds):
                while not box.asked:
                    box.arrived.clear()
                    await box.arrived.wait()
            return self._pending[box.asked.popleft()].jws
        except TimeoutError:
            return ""
        finally:
            box.polls -= 1
            box.seen = self._now()

    def deliver(self, digest: str, nodes: Collection[str], answer: str) -> bool:
        """Hands over the answer to a request to one of these nodes; False where nobody waits for it."""
        pending = self._pending.get(digest)
        if pending is None or pending.node not in nodes or pending.answer.done():
            return False
        pending.answer.set_result(answer)
        return True

    def _is_connected(self, box: _Mailbox) -> bool:
        return box.polls > 0 or self._now() < box.seen + GAP_SECONDS

    def _forget_gone(self) -> None:
        for node in [node for node, box in self._boxes.items() if not (box.asked or self._is_connected(box))]:
            del self._boxes[node]


class OwnPost:
    """The requests for this SN's own log, see `node.reading.Post`."""

    def __init__(self, carrier: Carrier, uid: str) -> None:
        self._carrier = carrier
        self._uid = uid

    async def next(self) -> Carried:
        """See `node.reading.Post`."""
        while not (jws := await self._carrier.next(self._uid)):
            pass

        async def deliver(answer: str) -> None:
            self._carrier.deliver(digest_of(jws), (self._uid,), answer)

        return Carried(jws, deliver)
