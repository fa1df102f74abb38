"""A queue in which nobody waits longer because another one has put much into it."""

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items by the party that has put them in; each party has its turn, and its own items come in their order."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()  # whose turn is next comes first

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def waiting(self, party: str) -> int:
        """The number of items of one party."""
        return len(self._waiting.get(party, ()))

    @property
    def fewest(self) -> int:
        """The number of items of that party which has the fewest, 0 where there are none at all."""
        return min(map(len, self._waiting.values()), default=0)

    def put(self, party: str, item: T) -> None:
        """Adds an item after the others of this party."""
        self._waiting.setdefault(party, deque()).append(item)

    def put_back(self, taken: Iterable[tuple[str, T]]) -> None:
        """Adds items again that were taken, in the order in which they were taken, as the next ones of each party."""
        for party, item in reversed(list(taken)):
            self._waiting.setdefault(party, deque()).appendleft(item)
            self._waiting.move_to_end(party, last=False)

    def next(self) -> tuple[str, T]:
        """The party whose turn it is, and its next item, which stays. Raises `StopIteration` where there is none."""
        party, items = next(iter(self._waiting.items()))
        return party, items[0]

    def take(self) -> tuple[str, T]:
        """As `next`, and takes the item out: then it is the next party's turn."""
        party, items = next(iter(self._waiting.items()))
        item = items.popleft()
        if items:
            self._waiting.move_to_end(party)
        else:
            del self._waiting[party]
        return party, item
