"""Verifies the whole ledger anew, from block 0, when somebody asks for it; one at a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeAlias

import msgspec

from swarmlearning.errors import UserError
from swarmlearning.ledger.chain import Step
from swarmlearning.node.clocks import clock_ms
from swarmlearning.ui.network.news import News
from swarmlearning.views.names import displayed

Read: TypeAlias = Callable[[Callable[[Step], None]], Awaitable[None]]
"""Gives each block to a function, once it is verified. Raises `UserError` at the first that is not."""
TELL_SECONDS: Final = 1.0
LONGEST: Final = 1000


class Verified(msgspec.Struct, frozen=True):
    """How it stands. `height` of the last block that holds; `voids`: blocks that take no effect; `fault`: why it has
    not come to its end; `ended_ms` (Unix time): when it did."""

    state: Literal["never", "running", "holds", "failed"] = "never"
    height: int = -1
    hash: str = ""
    voids: int = 0
    fault: str = ""
    ended_ms: int = 0


class Verification:
    """`start` requests one; `run`, until cancelled, does the work. `now` is how it stands."""

    def __init__(self, read: Read, news: News) -> None:
        self._read = read
        self._news = news
        self._wanted = asyncio.Event()
        self._told = 0.0
        self.now = Verified()

    def start(self) -> None:
        """Begins one, unless one is under way."""
        if self.now.state != "running":
            self.now = Verified("running")
            self._wanted.set()
            self._news.publish("jobs")

    async def run(self) -> None:
        """Verifies whenever it is requested."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._read(self._add)
            except UserError as error:
                self._become("failed", displayed(str(error), LONGEST))
            else:
                self._become("holds")

    def _become(self, state: Literal["holds", "failed"], fault: str = "") -> None:
        self.now = msgspec.structs.replace(self.now, state=state, fault=fault, ended_ms=clock_ms())
        self._news.publish("jobs")

    def _add(self, step: Step) -> None:
        voids = self.now.voids + (step.void is not None)
        self.now = Verified("running", step.chain.height, step.chain.hash, voids)
        if time.monotonic() >= self._told + TELL_SECONDS:
            self._told = time.monotonic()
            self._news.publish("jobs")
