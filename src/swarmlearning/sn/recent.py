"""The newest blocks of an SN's chain, and what it is asked about them: their transactions, hashes and times."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from swarmlearning.ledger.block import transaction_ids
from swarmlearning.ledger.chain import Chain, Step
from swarmlearning.ledger.transaction import WINDOW

T = TypeVar("T")

RECENT_BLOCKS = 64
RECENT_STATES = 1024


class State(NamedTuple):
    """The hash of the block at a height, and of the state after it."""

    height: int
    hash: str
    state_hash: str


class Recent:
    """Bounded: blocks, states and times of the last heights, and the transactions that may still be sent again."""

    def __init__(self) -> None:
        self._heights: OrderedDict[str, int] = OrderedDict()
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._states: OrderedDict[int, State] = OrderedDict()
        self._times: deque[tuple[float, int]] = deque(maxlen=RECENT_STATES)

    def restore(self, chain: Chain, height: int, raw: bytes) -> None:
        """Adds a block of a chain that was verified before; they come in order."""
        _put(self._blocks, height, raw, RECENT_BLOCKS)
        if height not in chain.voids:
            self._remember(height, transaction_ids(raw))

    def add(self, raw: bytes, step: Step) -> None:
        """Adds the next block."""
        chain = step.chain
        if step.void is None:
            self._remember(chain.height, [signed.id for signed in step.block.transactions])
            state_hash = step.block.header.state_hash
        else:
            state_hash = chain.world.state_hash()
        self.set_state(State(chain.height, chain.hash, state_hash))
        _put(self._blocks, chain.height, raw, RECENT_BLOCKS)
        self._times.append((asyncio.get_running_loop().time(), chain.height))

    def set_state(self, state: State) -> None:
        """Keeps the hashes at a height."""
        _put(self._states, state.height, state, RECENT_STATES)

    def height_of(self, transaction: str) -> int | None:
        """The height of a transaction (its id) that is on the chain; None for old ones."""
        return self._heights.get(transaction)

    def blocks(self, start: int, end: int) -> list[bytes] | None:
        """The blocks from a height to before another one; None where the first is not among the newest."""
        return [self._blocks[height] for height in range(start, end)] if start in self._blocks else None

    def state(self, height: int) -> State | None:
        """The hashes at a height; None beyond the head and for old blocks."""
        return self._states.get(height)

    def height_before(self, seconds: float) -> int | None:
        """The height of so many seconds ago; of as long ago as is known where that is later; None at the start."""
        until = asyncio.get_running_loop().time() - seconds
        height = self._times[0][1] if self._times else None
        for time, reached in self._times:
            if time > until:
                break
            height = reached
        return height

    def _remember(self, height: int, ids: Sequence[str]) -> None:
        """Keeps where each transaction is for as long as its bytes may be sent again."""
        for one in ids:
            self._heights[one] = height
        while self._heights and next(iter(self._heights.values())) < height - WINDOW:
            self._heights.popitem(last=False)


def _put(kept: OrderedDict[int, T], height: int, value: T, most: int) -> None:
    kept[height] = value
    if len(kept) > most:
        kept.popitem(last=False)
