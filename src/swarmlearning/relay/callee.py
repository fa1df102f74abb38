"""The other end of a relay: a node that nobody can connect to keeps a connection there, on which it is called.

When it is called, it connects once more, and hands that connection over as if it had been accepted: who is at its
other end shows in the TLS from node to node.
"""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from swarmlearning.address import split
from swarmlearning.proxies import connect
from swarmlearning.relay.opening import MAX_LINE, RelayError, check_answer, hail
from swarmlearning.relay.relay import SILENCE_SECONDS
from swarmlearning.transport.connecting import Streams, open_tls
from swarmlearning.transport.parties import Credential, credential_of

logger = logging.getLogger("swarm.relay")

CONNECT_SECONDS: Final = 5.0
MOST_AT_ONCE: Final = 16
"""Calls that are answered at the same time; more of them wait."""


class Callee:
    """The node `uid`. `adopt` takes the connections of those who have called; it may raise OSError.

    `fault`: why what has answered at a relay's address is none that this node uses; empty when it is one.
    """

    def __init__(
        self, tls: ssl.SSLContext, uid: str, adopt: Callable[[socket.socket], None], fault: Callable[[Credential], str]
    ) -> None:
        self._tls = tls
        self._uid = uid
        self._adopt = adopt
        self._fault = fault
        self._free = asyncio.Semaphore(MOST_AT_ONCE)
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, "relayed")

    def close(self) -> None:
        """Ends the threads; those that connect do so when they have."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def kept(self, address: str) -> AsyncIterator["asyncio.Task[None]"]:
        """Inside the block this node can be called through the relay at `address`; yields what ends with the relay.

        Raises OSError.
        """
        async with self._connected(address) as streams:
            attending = asyncio.create_task(self._attend(streams, address))
            try:
                yield attending
            finally:
                attending.cancel()
                await asyncio.gather(attending, return_exceptions=True)

    @asynccontextmanager
    async def _connected(self, address: str) -> AsyncIterator[Streams]:
        host, port = split(address)
        try:
            reader, writer = await open_tls(host, port, self._tls, 2 * CONNECT_SECONDS, MAX_LINE)
        except socket.gaierror as error:
            raise RelayError("is not a known host name") from error
        try:
            if fault := self._fault(credential_of(writer.get_extra_info("ssl_object"))):
                raise RelayError(f"is no relay of this network: {fault}")
            writer.write(f"SERVE {self._uid}\n".encode("ascii"))
            async with asyncio.timeout(CONNECT_SECONDS):
                check_answer(await _line(reader))
            yield reader, writer
        finally:
            writer.transport.abort()

    async def _attend(self, streams: Streams, address: str) -> None:
        """Does what the relay says. Raises OSError at the end."""
        reader, writer = streams
        answers = set[asyncio.Task[None]]()
        try:
            while True:
                async with asyncio.timeout(SILENCE_SECONDS):
                    line = await _line(reader)
                match line.decode("ascii", errors="replace").split():
                    case ["PING"]:
                        writer.write(b"PONG\n")
                    case ["CALL", number]:
                        await self._free.acquire()
                        answers.add(task := asyncio.create_task(self._answer(address, number)))
                        task.add_done_callback(answers.discard)
                        task.add_done_callback(lambda _: self._free.release())
                    case _:
                        raise RelayError("sends what no relay says")
        finally:
            for task in answers:
                task.cancel()
            await asyncio.gather(*answers, return_exceptions=True)

    async def _answer(self, address: str, number: str) -> None:
        """Connects to whoever calls."""
        connecting = partial(self._connect, *split(address), number)
        try:
            self._adopt(await asyncio.get_running_loop().run_in_executor(self._threads, connecting))
        except (OSError, ValueError) as error:
            logger.warning("a call through the relay %s was not answered: %s", address, error)

    def _connect(self, host: str, port: int, number: str) -> socket.socket:
        plain = connect(host, port, CONNECT_SECONDS, os.environ)
        return hail(plain, self._tls, host, f"ANSWER {number}", CONNECT_SECONDS)


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Raises OSError for what is no line, too."""
    try:
        return await reader.readuntil(b"\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise ConnectionError("the relay has ended the connection") from None
