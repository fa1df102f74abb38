"""A node answers operators who ask for its logs: who may read what is decided here, and each request is carried out
once. Requests come, and answers go, by way of an SN that may belong to anybody (`sealing.py`).
"""

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.backoff import Backoff
from swarmlearning.identity.certificates import load_bundle
from swarmlearning.identity.signing import Signers
from swarmlearning.ledger.access import Peer, registered_peer
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.contract import OPERATORS
from swarmlearning.ledger.contracts.network.policies import READ_LOGS, permits
from swarmlearning.ledger.world import World
from swarmlearning.node.checkup import Checkup
from swarmlearning.node.clocks import clock_ms
from swarmlearning.node.follower import Follower
from swarmlearning.node.logfile import LogError, read
from swarmlearning.node.sealing import Ask, Part, Piece, SealError, Wanted, digest_of, read_ask, seal, signer_of
from swarmlearning.node.signers import registered_signer
from swarmlearning.transport.complaints import Complaints
from swarmlearning.views.names import displayed
from swarmlearning.views.times import Times

logger = logging.getLogger("swarm.logs")

FRESH_MS: Final = 60_000
"""A request whose time differs by more from this node's clock is not carried out."""
MOST_REMEMBERED: Final = 4096
"""Requests of one organisation in the last two minutes; more are refused until then."""
WAIT_SECONDS: Final = 15.0
"""An answer waits so long for a log to grow."""
LEARN_SECONDS: Final = 5.0
"""The time for the block that registers an asker to come here."""
MOST_AT_ONCE: Final = 32
SHORT: Final = 2048
"""Characters of an answer: a shorter one has nothing, or next to nothing, of a log."""
PAUSE_SECONDS: Final = 0.5
"""Before more is asked for or answered where nothing was to be read, so that no SN keeps a node busy."""
NO_ROUNDS: Final = "this node has no part in rounds: SLs have"
_SHARED: Final[dict[Part, str]] = {
    "NODE": "its own log",
    "TIMES": "how it spends its rounds",
    "REPORT": "its versions, settings and stacks",
}
MOST_READING: Final = 2
"""Logs of which pieces are looked up at once: that may mean to read through a whole log."""


class Ledger(Protocol):
    """The verified chain of a node."""

    @property
    def chain(self) -> Chain:
        """As it stands."""

    async def reached(self, height: int) -> object:
        """Returns once it is at least at this height."""


class Shelf(Protocol):
    """The logs that a node has, and to whom its site opens them."""

    def shares(self, part: Part, reader: str, own: str) -> bool | None:
        """Whether the site opens logs of this part to operators of an organisation; None where it does not say."""

    def path(self, world: World, wanted: Wanted) -> Path:
        """The log that is wanted. Raises `LogError` where there is none."""

    async def times(self, wanted: Wanted) -> Times:
        """How this node spends its rounds. Raises `LogError` where it has no part in any."""


class OwnShelf:
    """A node that has its own log only, and no policy of its site. `times`: see `Shelf`."""

    def __init__(self, log: Path, times: Callable[[Wanted], Awaitable[Times]] | None = None) -> None:
        self._path = log
        self._times = times

    def shares(self, part: Part, reader: str, own: str) -> bool | None:
        """See `Shelf`."""
        return None

    def path(self, world: World, wanted: Wanted) -> Path:
        """See `Shelf`."""
        if wanted.part != "NODE":
            raise LogError("this node has its own log only; SWOPs have those of the pairs that they start")
        return self._path

    async def times(self, wanted: Wanted) -> Times:
        """See `Shelf`."""
        if self._times is None:
            raise LogError(NO_ROUNDS)
        return await self._times(wanted)


class Carried(NamedTuple):
    """A request as it came, and how its answer goes back; an empty answer says that there will be none."""

    jws: str
    deliver: Callable[[str], Awaitable[None]]


class Post(Protocol):
    """What carries requests to this node."""

    async def next(self) -> Carried:
        """Waits for the next one."""


class SnPost:
    """Requests come over the connection that this node keeps to its SN."""

    def __init__(self, follower: Follower, uid: str) -> None:
        self._follower = follower
        self._uid = uid

    async def next(self) -> Carried:
        """See `Post`. Waits for an SN, too."""
        attempts = Backoff(longest=5.0)
        async for _ in attempts:
            client = self._follower.client
            try:
                while client is self._follower.client:
                    if jws := await self._asked_by(client):
                        return Carried(jws, partial(client.answer_logs, self._uid, digest_of(jws)))
                    attempts.reset()
                    await asyncio.sleep(PAUSE_SECONDS)
            except (Unavailable, Refusal) as error:
                logger.debug("%s", error)
        raise AssertionError("unreachable")

    async def _asked_by(self, client: SnClient) -> str:
        """The next request at this SN; empty if none comes, or another SN is used before."""
        asking = asyncio.ensure_future(client.next_ask(self._uid))
        turned = asyncio.ensure_future(self._follower.turned())
        try:
            await asyncio.wait((asking, turned), return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else ""
        finally:
            for task in (asking, turned):
                task.cancel()
            await asyncio.gather(asking, turned, return_exceptions=True)


class _Seen(NamedTuple):
    until_ms: int
    organisation: str


class Reading:
    """Answers for the node of this UID, which signs with its registered certificate."""

    def __init__(
        self,
        uid: str,
        signers: Signers,
        ledger: Ledger,
        shelf: Shelf,
        report: Callable[[], Awaitable[bytes]],
        now_ms: Callable[[], int] = clock_ms,
    ) -> None:
        """`report`: what this node says of itself, as JSON of at most `MAX_PIECE` bytes."""
        self._uid = uid
        self._signers = signers
        self._ledger = ledger
        self._shelf = shelf
        self._report = report
        self._now_ms = now_ms
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._askers: Counter[str] = Counter()
        self._turns = asyncio.Semaphore(MOST_READING)
        self._complaints = Complaints(logger, time.monotonic)
        self.checkup: Checkup | None = None  # what answers those who ask how this node is

    async def serve(self, post: Post) -> None:
        """Answers all requests until cancelled."""
        free = asyncio.Semaphore(MOST_AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            while True:
                await free.acquire()
                carried = await post.next()
                tasks.create_task(self._serve(carried)).add_done_callback(lambda _: free.release())

    async def _serve(self, carried: Carried) -> None:
        try:
            answer = await self.answer(carried.jws)
        except SealError as error:
            logger.debug("a request for logs is not answered: %s", error)
            answer = ""
        with suppress(Unavailable, Refusal):  # the asker may be gone, and asks again if not
            await carried.deliver(answer)
        await asyncio.sleep(PAUSE_SECONDS if len(answer) < SHORT else 0)

    async def answer(self, jws: str) -> str:
        """The sealed answer to a request. Raises `SealError` for one that nobody here may have sent to this node."""
        asker = await self._asker(signer_of(jws))
        if asker is None or asker.standing != "trusted" or asker.role not in OPERATORS:
            raise SealError("it is not by an operator whom the ledger knows")
        stored = network.certificate(self._ledger.chain.world, signer_of(jws))
        assert stored is not None  # or it would not be registered
        ask = read_ask(jws, load_bundle(stored.pem)[0])
        if (ask.network, ask.node) != (self._ledger.chain.network_id, self._uid):
            raise SealError("it is for another node or network")
        piece = await self._piece(ask, asker, digest_of(jws))
        return seal(registered_signer(self._signers, self._ledger.chain.world, self._uid), jws, ask.key, piece)

    async def _asker(self, thumbprint: str) -> Peer | None:
        """Who holds this certificate, which may have been registered just now."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEARN_SECONDS):
                while True:
                    chain = self._ledger.chain
                    if found := registered_peer(chain.world, thumbprint, chain.time_ms):
                        return found
                    await self._ledger.reached(chain.height + 1)
        return None

    async def _piece(self, ask: Ask, asker: Peer, digest: str) -> Piece:
        wanted, world = ask.wanted, self._ledger.chain.world
        try:
            if wanted.part == "CHECKUP":
                self._require_new(ask, digest, asker.organisation)
                return Piece(await self._checked(world, asker))
            await self._require_may(world, asker, wanted.part)
            self._require_new(ask, digest, asker.organisation)
            if wanted.part == "REPORT":
                logger.info("%r of %s reads a report of this node", asker.subject, asker.organisation)
                async with self._turns:
                    return Piece(await self._report())
            if wanted.part == "TIMES":
                async with self._turns:
                    return Piece(msgspec.json.encode(await self._shelf.times(wanted)))
            path = self._shelf.path(world, wanted)
            if not wanted.cursor:
                logger.info("%r of %s reads the log %s", asker.subject, asker.organisation, path.name)
            async with self._turns:
                piece = await read(path, wanted, 0.0)
            if wanted.wait and not piece.data:
                piece = await read(path, Wanted(cursor=piece.cursor, wait=True), WAIT_SECONDS)
            return piece
        except LogError as error:
            return Piece(refused=str(error)[:2000])

    def _require_new(self, ask: Ask, digest: str, organisation: str) -> None:
        """Raises `LogError` for a request that is too old, or has come before."""
        now = self._now_ms()
        while self._seen and next(iter(self._seen.values())).until_ms < now:
            self._askers[self._seen.popitem(last=False)[1].organisation] -= 1
        if abs(ask.time_ms - now) > FRESH_MS:
            seconds = round(abs(ask.time_ms - now) / 1000)
            raise LogError(f"the clocks of this node and of who asks are {seconds} s apart: set them right (NTP)")
        if digest in self._seen:
            raise LogError("this request has come before")
        if self._askers[organisation] >= MOST_REMEMBERED:
            raise LogError("more requests than this node answers in two minutes: try again later")
        self._seen[digest] = _Seen(now + 2 * FRESH_MS, organisation)  # in the order in which they end
        self._askers[organisation] += 1

    async def _require_may(self, world: World, asker: Peer, part: Part) -> None:
        """Raises `LogError` where the asker's organisation may not read logs of this part."""
        if await self._may(world, asker, part):
            return
        known = network.node(world, self._uid)
        own, reader = known.organisation if known else "", asker.organisation
        what = _SHARED.get(part, f"the output of its {part}s")
        self._complaints.warn(reader, "%r of %s may not read %s", asker.subject, reader, what)
        raise LogError(
            f"its site, of organisation {displayed(own)}, does not share {what} with {displayed(reader)} (shareLogs in "
            "the site's policy says who may read it)"
        )

    async def _may(self, world: World, asker: Peer, part: Part) -> bool:
        """Whether the asker's organisation may read logs of this part."""
        known = network.node(world, self._uid)
        own, reader = known.organisation if known else "", asker.organisation
        shared = await asyncio.to_thread(self._shelf.shares, part, reader, own)
        return permits(world, READ_LOGS, reader, own) if shared is None else shared

    async def _checked(self, world: World, asker: Peer) -> bytes:
        """How this node is. Raises `LogError` where nobody here answers that."""
        if self.checkup is None:
            raise LogError("this node does not say how it is")
        return await self.checkup.answer(whole=await self._may(world, asker, "NODE"))
