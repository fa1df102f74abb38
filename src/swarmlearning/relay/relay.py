"""The relay of an SN: nodes that nobody can connect to keep a connection to it, over which it calls them.

    leader ── OPEN uid ──▶ relay ── CALL n ──▶ SL            (the connection that the SL keeps: SERVE uid)
                           relay ◀── ANSWER n ── SL          (a connection of its own for this call)
    leader ══════════ TLS from end to end ══════════ SL      (the relay copies bytes)

Who may do what is for the `Registry` to say. Connections are bounded in number for each organisation and certificate
(`transport/shares.py`, `transport/parties.py`), streams for each node that is called, and all of them in the time in
which nothing comes. What a stream carries counts for the organisation that has opened it: nobody else can use up its
quota.
"""

import asyncio
import logging
import secrets
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from swarmlearning.relay.opening import ANSWER_SECONDS, OK, Opening, RelayError
from swarmlearning.relay.stream import Stream, both
from swarmlearning.transport.listener import Acceptor
from swarmlearning.transport.parties import Credential, Roster, party_of
from swarmlearning.transport.shares import OverQuotaError, Share, Shares

logger = logging.getLogger("swarm.relay")

MAX_CONNECTIONS: Final = 512
MOST_FOR_NODE: Final = 64
"""Streams to one node, open or called for."""
MOST_OF_ONE: Final = 16
"""Of these, opened by one organisation: each is a connection of the node's own organisation, too."""
LINE_SECONDS: Final = 10.0
REFUSE_SECONDS: Final = 2.0
PING_SECONDS: Final = 15.0
"""Routers forget a connection on which nothing comes for some minutes, some after half a minute."""
SILENCE_SECONDS: Final = 40.0
NOTICE_SECONDS: Final = 0.5
IDLE_SECONDS: Final = 90.0
"""More than file servers and their clients keep idle connections."""


class Registry(Protocol):
    """What the ledger says of those who connect."""

    def fault(self, credential: Credential) -> str:
        """Why nothing is relayed for its holder; empty where it may be."""
        ...

    def owns(self, credential: Credential, uid: str) -> bool:
        """True if the holder is this node."""
        ...

    def share_of(self, credential: Credential) -> Share | None:
        """What its organisation may have of this relay; None where there is no bound."""
        ...

    def turn(self, credential: Credential, size: int) -> float:
        """The seconds until its organisation has earned so many bytes, which are counted."""
        ...


@dataclass(eq=False)
class _Served:
    """A node that keeps a connection to this relay, and the calls that it has yet to be told of."""

    uid: str
    opening: Opening
    calls: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    streams: Counter[str] = field(default_factory=Counter)  # by the organisation that has opened them
    pings: int = 0


@dataclass(eq=False)
class _Call:
    """A stream that somebody wants to a node; `answered` has that node's connection, `over` comes with its end."""

    uid: str
    answered: asyncio.Future[Opening]
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Relay:
    """Listens for members of the network alone: the TLS context demands certificates."""

    def __init__(self, tls: ssl.SSLContext, registry: Registry) -> None:
        self._tls = tls
        self._registry = registry
        self._acceptor = Acceptor(self._welcome)
        self._roster: Roster[Opening] = Roster(MAX_CONNECTIONS)
        self._shares = Shares(registry.share_of, MAX_CONNECTIONS)
        self._open: set[Opening] = set()
        self._served: dict[str, _Served] = {}
        self._calls: dict[str, _Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port. Raises `ListenError`."""
        return await self._acceptor.start(host, port)

    async def wait(self) -> None:
        """Returns after `stop`; raises the error that ended the listening, if there was one."""
        await self._acceptor.wait()

    async def stop(self) -> None:
        """Stops listening and ends all connections."""
        await self._acceptor.stop()
        for opening in list(self._open):
            opening.abort()
        if self._tasks:  # first those that notice, as no descriptor may be given back while another task waits for it
            await asyncio.wait(self._tasks, timeout=NOTICE_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop(self, fault: Callable[[Credential], str]) -> None:
        """Ends the connections of those in whose credential `fault` finds one, and with them their streams."""
        for opening in list(self._open):
            if reason := fault(opening.credential):
                logger.warning("connection dropped: %s", reason)
                opening.abort()

    async def _welcome(self, sock: socket.socket) -> None:
        async with asyncio.timeout(LINE_SECONDS):
            opening = await Opening.accept(sock, self._tls)
        task = asyncio.get_running_loop().create_task(self._attend(opening))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: opening.close())

    async def _attend(self, opening: Opening) -> None:
        try:
            with self._held(opening):
                await self._serve(opening)
        except RelayError as refusal:
            await _refuse(opening, refusal)
        except OSError as error:
            logger.debug("a connection has ended: %r", error)

    @contextmanager
    def _held(self, opening: Opening) -> Iterator[None]:
        """Counts a connection inside the block. Raises `RelayError` for one too many."""
        credential = opening.credential
        share = self._shares.enter(credential)
        self._open.add(opening)
        try:
            if share is not None and self._shares.held(share) > share.connections:
                raise RelayError(f"organisation {share.organisation} has its {share.connections} connections")
            dropped = self._roster.enter(opening, party_of(credential, opening.address))
            if dropped is opening:
                raise RelayError(f"there are {MAX_CONNECTIONS} connections")
            if dropped is not None:
                dropped.abort()
            yield
        finally:
            self._roster.leave(opening)
            self._open.discard(opening)
            self._shares.leave(share)

    async def _serve(self, opening: Opening) -> None:
        if fault := self._registry.fault(opening.credential):
            raise RelayError(fault)
        try:
            if wait := self._shares.turn(opening.credential, 1):
                await asyncio.sleep(wait)
        except OverQuotaError as error:
            raise RelayError(str(error)) from error
        async with asyncio.timeout(LINE_SECONDS):
            request = await opening.line()
        match request.split(" "):
            case ["SERVE", uid]:
                await self._keep(opening, uid)
            case ["OPEN", uid]:
                await self._connect(opening, uid)
            case ["ANSWER", number]:
                await self._answer(opening, number)
            case _:
                raise RelayError("no such request; this is the relay of an SN")

    # --- a node that can be called ----------------------------------------------------------------------------------

    async def _keep(self, opening: Opening, uid: str) -> None:
        """Calls a node over this connection until it ends; a former one gives way."""
        if not self._registry.owns(opening.credential, uid):
            raise RelayError("the certificate is not that of this node")
        if (former := self._served.get(uid)) is not None:
            former.opening.abort()
        served = self._served[uid] = _Served(uid, opening)
        logger.info("Node %s can be reached through this relay", uid)
        try:
            await _say(opening, OK)
            await both(self._call(served), self._hear(served))
        finally:
            if self._served.get(uid) is served:
                del self._served[uid]
                logger.info("Node %s cannot be reached through this relay any more", uid)

    async def _call(self, served: _Served) -> None:
        while True:
            try:
                async with asyncio.timeout(PING_SECONDS):
                    number = await served.calls.get()
            except TimeoutError:
                served.pings += 1
                await _say(served.opening, "PING")
            else:
                await _say(served.opening, f"CALL {number}")

    async def _hear(self, served: _Served) -> None:
        """Answers to pings: what a node sends unasked ends its connection, so that it keeps nobody busy."""
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                line = await served.opening.line()
            if line != "PONG" or not served.pings:
                raise ConnectionError(f"node {served.uid} sends what nobody has asked for")
            served.pings -= 1

    # --- streams ----------------------------------------------------------------------------------------------------

    async def _connect(self, opening: Opening, uid: str) -> None:
        """Carries a stream to a node for whoever has connected."""
        served = self._served.get(uid)
        if served is None:
            raise RelayError("this node keeps no connection to this relay")
        share = self._registry.share_of(opening.credential)
        caller = share.organisation if share else ""
        if served.streams.total() >= MOST_FOR_NODE:
            raise RelayError(f"there are {MOST_FOR_NODE} streams to this node; try again later")
        if share is not None and served.streams[caller] >= MOST_OF_ONE:
            raise RelayError(f"organisation {caller} has {MOST_OF_ONE} streams to this node; try again later")
        call, number = _Call(uid, asyncio.get_running_loop().create_future()), secrets.token_hex(8)
        served.streams[caller] += 1
        self._calls[number] = call
        served.calls.put_nowait(number)
        try:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    answer = await call.answered
            except TimeoutError:
                raise RelayError(f"this node has not come within {ANSWER_SECONDS:.0f} s") from None
            finally:
                del self._calls[number]
            await _say(opening, OK)
            await self._carry(opening, answer, uid)
        finally:
            served.streams[caller] -= 1
            call.over.set()

    async def _answer(self, opening: Opening, number: str) -> None:
        """Lends the connection of a node that has been called to the stream."""
        call = self._calls.get(number)
        if call is None or call.answered.done() or not self._registry.owns(opening.credential, call.uid):
            raise RelayError("nobody waits for this answer")
        await _say(opening, OK)
        if call.answered.done():
            raise ConnectionError("another answer was faster")
        call.answered.set_result(opening)
        await call.over.wait()

    async def _carry(self, opening: Opening, answer: Opening, uid: str) -> None:
        stream = Stream(partial(self._registry.turn, opening.credential), IDLE_SECONDS)
        began = time.monotonic()
        try:
            await stream.join(opening.bare(), answer.bare())
        finally:
            answer.abort()
            text = "%d bytes carried in %.1f s between node %s and certificate %s"
            logger.info(text, stream.carried, time.monotonic() - began, uid, opening.credential.thumbprint[:16])


async def _refuse(opening: Opening, refusal: RelayError) -> None:
    """Gives the reason, once the request has been read: else closing the connection would reset it."""
    with suppress(OSError):  # it is gone already
        async with asyncio.timeout(REFUSE_SECONDS):
            if not opening.heard:
                await opening.line()
            await opening.say(f"NO {refusal}")


async def _say(opening: Opening, text: str) -> None:
    async with asyncio.timeout(LINE_SECONDS):
        await opening.say(text)
