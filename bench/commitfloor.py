"""The floor under a commit: the same bytes made durable by the engine alone, and one signature and one verification.

For one SN that is a commit to an SQLite file (`synchronous=FULL`) on the same disk; for several, one transaction of the
etcd cluster that orders for them, through the JSON gateway of the member beside the first SN.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from time import perf_counter

from sns import Sns
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.signing import verify
from swarmlearning.ordering.etcd.gateway import Gateway, put, value_is
from swarmlearning.ordering.local import open_chain_file

Commit = Callable[[bytes], Awaitable[float]]
"""Makes these bytes durable; seconds that it took."""


def signature_seconds(identity: Identity, data: bytes) -> float:
    """Time to sign `data` once and to verify that once."""
    signer = identity.signer()
    begin = perf_counter()
    verify(signer.sign(data), identity.certificate)
    return perf_counter() - begin


@contextlib.asynccontextmanager
async def sqlite_floor(path: Path) -> AsyncIterator[Commit]:
    """Commits to a new chain file that holds nothing else."""
    height = 0

    async def commit(data: bytes) -> float:
        nonlocal height
        height += 1
        begin = perf_counter()
        connection.execute("INSERT INTO blocks VALUES (?, '', ?)", (height, data))
        return perf_counter() - begin

    with contextlib.closing(open_chain_file(path)) as connection:
        yield commit


@contextlib.asynccontextmanager
async def etcd_floor(sns: Sns) -> AsyncIterator[Commit]:
    """Stores beside the ledger, under a key of its own: one compare-and-swap, as for a block."""

    async def commit(data: bytes) -> float:
        begin = perf_counter()
        await gateway.transact([value_is(b"/none", None)], [put(b"/floor", data)])
        return perf_counter() - begin

    with sns.etcd_socket(sns.names[0]) as path:
        gateway = Gateway(path)
        try:
            yield commit
        finally:
            await gateway.close()
