"""A bridge between the original's client, in a thread, and a little SL: real FIFOs, files and sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np

from support.fake_sl import FakeSL
from support.original_client import Arrays, Client
from swarmlearning.bridge.bridge import Bridge, BridgeSettings

T = TypeVar("T")


class Stand:
    """The places of a test's bridge: `folder` is shared with the client, `state` outlives the bridge."""

    def __init__(self, directory: Path) -> None:
        self.folder = directory / "hpe-swarm"
        self.state = directory / "state"
        self.request = self.folder / "request.channel"
        self.response = self.folder / "response.channel"
        self.clients: list[Client] = []

    @asynccontextmanager
    async def bridge(self, sl: FakeSL | Path, group: int | None = None) -> AsyncIterator[Bridge]:
        """A bridge at work beside that SL; it never fails by itself."""
        channel = sl.path if isinstance(sl, FakeSL) else sl
        bridge = Bridge(BridgeSettings(self.request, self.response, self.folder, group), channel, self.state)
        async with bridge.serving():
            yield bridge

    def client(self, in_message: bool = False) -> Client:
        """A client, which leaves at the end of the test at the latest."""
        self.clients.append(Client(self.request, self.response, self.folder, in_message))
        return self.clients[-1]


async def beside(work: Callable[[], T]) -> T:
    """Acts as a client, which blocks."""
    async with asyncio.timeout(60):
        return await asyncio.to_thread(work)


def model(value: float = 0.0) -> Arrays:
    return {
        "z.weight": np.full((3, 2), value, np.float32),
        "a.bias": np.full(4, value, np.float64),
        "steps": np.array(int(value), np.int64),
    }


class Loading:
    """The client's model: what it is shown is in `seen`, and answered with these figures."""

    def __init__(self, *figures: float) -> None:
        self.figures = (*figures, *(0.5, 0.25)[len(figures) :])
        self.seen: list[Arrays] = []

    def __call__(self, merged: Arrays) -> tuple[float, float, int, int]:
        self.seen.append(merged)
        return self.figures[0], self.figures[1], 2, 5

    @property
    def values(self) -> list[float]:
        return [float(arrays["a.bias"][0]) for arrays in self.seen]


def opened(stand: Stand, in_message: bool = False) -> Client:
    """A client that has opened its session."""
    client = stand.client(in_message)
    client.open()
    return client
