"""Who waits for news, and of what: topics that have changed, collected for each until it has told its page."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Final, Literal, TypeAlias, get_args

Topic: TypeAlias = Literal[
    "ledger", "training", "tasks", "nodes", "organisations", "experiments", "status", "alerts", "jobs"
]
"""`ledger`: any block; `status`: what SNs state, such as heartbeats; `jobs`: long work of the UI itself."""
TOPICS: Final[tuple[Topic, ...]] = get_args(Topic)
MOST: Final = 400
MOST_A_USER: Final = 12
GAP_SECONDS: Final = 0.15
"""In which news are collected: blocks may come faster than pages are drawn."""


class TooManyError(Exception):
    """So many pages are open that no further one can be kept up to date."""


class Subscriber:
    """One open page, and what it has not been told yet."""

    def __init__(self, topics: Collection[Topic]) -> None:
        self._topics = frozenset(topics)
        self._pending: set[Topic] = set()
        self._woken = asyncio.Event()

    def tell(self, topics: Collection[Topic]) -> None:
        """These have changed."""
        if found := self._topics.intersection(topics):
            self._pending |= found
            self._woken.set()

    def wake(self) -> None:
        """Ends the wait without news."""
        self._woken.set()

    async def next(self, seconds: float) -> list[Topic]:
        """What has changed since the last call, as soon as there is something; nothing after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
                await asyncio.sleep(GAP_SECONDS)
        self._woken.clear()
        found, self._pending = sorted(self._pending), set()
        return found


class News:
    """Publishes topics. A subscriber that is slow gets each topic once, however often it has changed."""

    def __init__(self) -> None:
        self._subscribers: set[Subscriber] = set()
        self._users: Counter[str] = Counter()
        self.closed = False
        self.count = 0
        """So many news there were: a page that is older than its stream of news has missed some."""

    def publish(self, *topics: Topic) -> None:
        """These have changed."""
        self.count += 1
        for each in self._subscribers:
            each.tell(topics)

    def close(self) -> None:
        """Ends all waits: the UI is stopping."""
        self.closed = True
        for each in self._subscribers:
            each.wake()

    @contextmanager
    def subscribed(self, user: str, topics: Collection[Topic]) -> Iterator[Subscriber]:
        """Inside the block the subscriber is told of these topics. Raises `TooManyError`."""
        if len(self._subscribers) >= MOST or self._users[user] >= MOST_A_USER:
            raise TooManyError
        subscriber = Subscriber(topics)
        self._subscribers.add(subscriber)
        self._users[user] += 1
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)
            self._users[user] -= 1
            if not self._users[user]:
                del self._users[user]
