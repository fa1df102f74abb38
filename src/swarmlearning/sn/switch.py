"""The engine in use, which may change at any time: a voter orders through its own etcd member, others remotely."""

import asyncio
from collections.abc import AsyncIterator

from swarmlearning.ordering.protocols import Head, Lease, Log, Presence


class Switch:
    """`Log` and `Presence` in one, by whichever engine is in use; may be changed at any time."""

    def __init__(self, log: Log, presence: Presence) -> None:
        self._log = log
        self._presence = presence
        self._changed = asyncio.Event()

    def use(self, log: Log, presence: Presence) -> None:
        """Goes on with another engine; whoever waits for growth or leases begins anew there."""
        self._log, self._presence = log, presence
        self._changed.set()
        self._changed = asyncio.Event()

    async def head(self) -> Head:
        """See `Log`."""
        return await self._log.head()

    async def append(self, expected: Head, entry: bytes) -> Head:
        """See `Log`."""
        return await self._log.append(expected, entry)

    async def read(self, start: int, limit: int) -> list[bytes]:
        """See `Log`."""
        return await self._log.read(start, limit)

    async def pass_over(self, height: int) -> None:
        """See `Log`."""
        await self._log.pass_over(height)

    async def hold(self, height: int) -> None:
        """See `Log`."""
        await self._log.hold(height)

    async def release(self, height: int) -> None:
        """See `Log`."""
        await self._log.release(height)

    async def wait_for_append(self, height: int) -> None:
        """See `Log`; a change of the engine counts as a sign of growth."""
        changed = asyncio.ensure_future(self._changed.wait())
        growth = asyncio.ensure_future(self._log.wait_for_append(height))
        try:
            await asyncio.wait((changed, growth), return_when=asyncio.FIRST_COMPLETED)
            if growth.done():
                growth.result()
        finally:
            changed.cancel()
            growth.cancel()

    async def announce(self, lease: Lease) -> None:
        """See `Presence`."""
        await self._presence.announce(lease)

    async def leave(self, uid: str, incarnation: int) -> None:
        """See `Presence`."""
        await self._presence.leave(uid, incarnation)

    async def observe(self) -> AsyncIterator[dict[str, Lease]]:
        """See `Presence`; goes on with the new engine after a change."""
        while True:
            changed = asyncio.ensure_future(self._changed.wait())
            leases = self._presence.observe()
            following = asyncio.ensure_future(anext(leases))
            try:
                while True:
                    await asyncio.wait((changed, following), return_when=asyncio.FIRST_COMPLETED)
                    if changed.done():
                        break
                    yield following.result()
                    following = asyncio.ensure_future(anext(leases))
            finally:
                changed.cancel()
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
