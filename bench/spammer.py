"""One organisation's process that sends an SN all it can: a part of `bench/spam.py`, at the lowest priority.

Many clients at once send transactions that hold, large ones, and junk, read the whole chain again and again, request
the status, and connect anew. The first line on the link says that they have begun: one transaction has been committed.
What they have done by the time the other end closes it is the second line.
"""

import argparse
import asyncio
import contextlib
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec

from clients import Client, clients
from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.identity.workspace import Workspace
from swarmlearning.transport.loop import run

SENDERS, LARGE, JUNK, READERS, ASKERS, CALLERS = 64, 4, 16, 16, 4, 4
LARGE_ADDRESSES = 8


async def spam(link: socket.socket, address: str, identity: Identity) -> None:
    """Sends until the link is closed."""
    reader, writer = await asyncio.open_unix_connection(sock=link)
    done: Counter[str] = Counter()
    async with clients(identity, [address], SENDERS + LARGE, "spam") as senders:
        works = [repeat(done, "transactions", sender.commit) for sender in senders[LARGE:]]
        works += [repeat(done, "large transactions", large(sender)) for sender in senders[:LARGE]]
        works += [with_client(address, identity, done, "junk", junk) for _ in range(JUNK)]
        works += [with_client(address, identity, done, "blocks read", blocks(done)) for _ in range(READERS)]
        works += [with_client(address, identity, done, "status", SnClient.status) for _ in range(ASKERS)]
        works += [repeat(done, "connections", lambda: connect(address, identity)) for _ in range(CALLERS)]
        await senders[0].commit()
        done["transactions"] += 1
        os.nice(19)  # no earlier: on a busy machine the connections alone would take minutes
        begin = perf_counter()
        tasks = [asyncio.ensure_future(work) for work in works]
        writer.write(b"begun\n")
        await reader.read()
        seconds = perf_counter() - begin
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    writer.write(msgspec.json.encode({what: count / seconds for what, count in done.items()}) + b"\n")
    await writer.drain()
    writer.close()


async def repeat(done: Counter[str], what: str, act: Callable[[], Awaitable[Any]]) -> None:
    """Does it again and again, as fast as it goes, and counts what was done and what was refused."""
    while True:
        try:
            await act()
            done[what] += 1
        except (Refusal, Unavailable, OSError):
            done[f"{what} refused"] += 1
            await asyncio.sleep(0)


async def with_client(
    address: str, identity: Identity, done: Counter[str], what: str, act: Callable[[SnClient], Coroutine[Any, Any, Any]]
) -> None:
    async with SnClient(address, client_context(identity)) as client:
        await repeat(done, what, lambda: act(client))


def large(sender: Client) -> Callable[[], Awaitable[int]]:
    """Transactions that are as large as an `Announce` can be."""
    body = {f"{number}{150 * 'x'}": f"{140 * 'h'}:{number + 1}" for number in range(LARGE_ADDRESSES)}
    return lambda: sender.announce(body)


async def junk(client: SnClient) -> None:
    await client.submit("no transaction")


def blocks(done: Counter[str]) -> Callable[[SnClient], Coroutine[Any, Any, None]]:
    """All blocks from the first on; the stream is left after a hundred, and begins again."""

    async def read(client: SnClient) -> None:
        async with contextlib.aclosing(client.blocks(0)) as stream:
            async for _ in stream:
                done["blocks read"] += 1

    return read


async def connect(address: str, identity: Identity) -> None:
    """One more TLS handshake, and a request."""
    async with SnClient(address, client_context(identity)) as client:
        await client.block(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--link", type=int, required=True, help="descriptor of a socket")
    parser.add_argument("--address", required=True, help="API of an SN")
    parser.add_argument("--workspace", type=Path, required=True, help="folder with the certificates")
    parser.add_argument("--name", required=True, help="of the certificate")
    options = parser.parse_args()
    identity = Workspace(options.workspace).identity(options.name)
    run(spam(socket.socket(fileno=options.link), options.address, identity))


if __name__ == "__main__":
    main()
