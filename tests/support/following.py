"""A follower of the chain at work, for tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from support.fixtures import SECONDS
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.chain import Chain
from swarmlearning.node.errors import NodeError
from swarmlearning.node.follower import Follower


@asynccontextmanager
async def following(
    addresses: list[str],
    identity: Identity,
    pins: list[tuple[str, str]] | None = None,
    verified: Chain | None = None,
) -> AsyncIterator[Follower]:
    """A follower at work, from the state `verified` on if given; `pins` gets what it was to pin."""
    pinned = [] if pins is None else pins
    follower = Follower(addresses, client_context(identity), lambda network, name: pinned.append((network, name)))
    if verified is not None:
        await follower.resume(verified)
    work = asyncio.create_task(follower.run())
    try:
        async with asyncio.timeout(SECONDS):
            yield follower
        assert not work.done(), work
    except TimeoutError:
        pytest.fail(f"at block {follower.chain.height}, SNs {follower.addresses}: {work}")
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError, NodeError):
            await work
        await follower.close()
