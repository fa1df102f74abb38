"""The miner: accepts transactions, seals them into blocks, and keeps this SN's verified chain at the log's head.

One task (`run`) owns the chain. It replays what the log holds beyond its head, then seals what has been submitted
meanwhile as the next block: one compare-and-swap. If another SN was faster, the same transactions are judged again on
the new head, so that each is on the chain at most once and never after it became wrong.

A refused transaction is not recorded: blocks hold only transactions that took effect.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from swarmlearning.backoff import Backoff
from swarmlearning.identity.signing import Signer
from swarmlearning.ledger.admission import check_trusted
from swarmlearning.ledger.block import MAX_BLOCK, Block, read_header, transaction_ids
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.chain import Chain, Step, UnsealedError
from swarmlearning.ledger.checkpoint import is_head
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import WINDOW, SignedTransaction
from swarmlearning.ledger.world import World
from swarmlearning.ordering.protocols import ConflictError, Head, Log, OrderingError, UnavailableError
from swarmlearning.sn.queue import FairQueue
from swarmlearning.views.names import name_of, node_names

logger = logging.getLogger("swarm.blCnt")

T = TypeVar("T")

MAX_PENDING = 4096
MAX_PENDING_OF_ONE = 1024
"""Transactions of one organisation that wait."""
MAX_BATCH = 512
MAX_BATCH_OF_MANY = 16
"""Transactions of one block where organisations share the SN: whoever comes meanwhile waits for no more than these."""
HEADER_ROOM = 4096
READ_BATCH = 256
RECENT_BLOCKS = 64
RECENT_STATES = 1024
CROWD = 8
"""So many waiting transactions of one organisation are many; where another one has fewer, no turn is waited for."""
TURN_SECONDS = 0.02
"""About as long as it takes a block to be sealed and to reach the others."""
OWN = ""
"""The party of the SN itself."""
STOPS = "this SN stops, and may not have ordered the transaction; send it again, or to another SN"


class BusyError(OrderingError):
    """More transactions wait than this SN accepts; try again."""


class State(NamedTuple):
    """The hash of the block at a height, and of the state after it."""

    height: int
    hash: str
    state_hash: str


class BehindError(OrderingError):
    """The sender has seen blocks that this SN has not yet, so it cannot judge: try again, or another SN."""


@dataclass(frozen=True)
class _Pending:
    signed: SignedTransaction
    answer: asyncio.Future[int]


class Miner:
    """One SN's chain. `uid` and `signer` are what it seals with; `clock` gives Unix milliseconds."""

    def __init__(self, log: Log, uid: str, signer: Signer, clock: Callable[[], int]) -> None:
        self.chain = Chain()
        self._log = log
        self._uid = uid
        self._signer = signer
        self._clock = clock
        self._pending: FairQueue[_Pending] = FairQueue()
        self._answers: dict[str, asyncio.Future[int]] = {}
        self._heights: OrderedDict[str, int] = OrderedDict()
        self._recent: OrderedDict[int, bytes] = OrderedDict()
        self._states: OrderedDict[int, State] = OrderedDict()
        self._times: deque[tuple[float, int]] = deque(maxlen=RECENT_STATES)
        self._sealer, self._took_at = "", 0.0
        self._doubt = asyncio.Event()
        self._wanted = asyncio.Event()
        self._arrived = asyncio.Event()
        self._advanced = asyncio.Condition()
        self._works = self._stopped = False

    async def resume(self, chain: Chain) -> None:
        """Starts from a state that this SN has verified before, if the log has its last blocks; else at block 0."""
        ids, recent, height = list[tuple[int, list[str]]](), OrderedDict[int, bytes](), min(chain.hashes)
        while height <= chain.height:
            blocks = await self._log.read(height, min(READ_BATCH, chain.height + 1 - height))
            if not blocks or any(sha256(raw) != chain.hashes[at] for at, raw in enumerate(blocks, height)):
                break
            for raw in blocks:
                _put(recent, height, raw, RECENT_BLOCKS)
                if height not in chain.voids:
                    ids.append((height, transaction_ids(raw)))
                height += 1
        if not is_head(chain, recent.get(chain.height, b"")):
            logger.warning("The checkpoint does not belong to block %d: the chain is replayed", chain.height)
            return
        for height, of_block in ids:
            self._remember(height, of_block)
        head = read_header(recent[chain.height])
        self._states[chain.height] = State(chain.height, chain.hash, head.state_hash)
        self._recent, self._sealer, self.chain = recent, head.sealer, chain

    async def load(self) -> None:
        """Replays what the log holds beyond the head: the state this SN left, whatever ended it.

        What is no block is passed over; before this SN is at work as the newest entry only: elsewhere it is damage.
        """
        while entries := await self._log.read(self.chain.height + 1, READ_BATCH):
            for raw in entries:
                try:
                    step = self.chain.append(raw)
                except UnsealedError as error:
                    if not self._works and await self._log.read(self.chain.height + 2, 1):
                        raise
                    logger.error("%s; it is passed over", error)
                    await self._log.pass_over(self.chain.height + 1)
                    break
                await self._advance(raw, step)

    async def found(self, genesis: SignedTransaction) -> None:
        """Writes block 0. Raises `Rejection`."""
        time_ms = self._clock()
        world = self.chain.try_transaction(World(), genesis, time_ms)
        raw = self.chain.seal([genesis], world, time_ms, self._uid, self._signer).raw
        await self._log.append(Head(self.chain.height, self.chain.hash), raw)
        await self._advance(raw, self.chain.append(raw))

    async def submit(self, raw: str) -> int:
        """Height of the committed block with this transaction of the SN's own; the same bytes give the same answer.

        Raises `MalformedError`, and what `commit` raises.
        """
        return await self.commit(self.chain.rules.parse(raw))

    async def commit(self, signed: SignedTransaction, party: str = OWN) -> int:
        """The same for a transaction that has been parsed, from whoever this is: organisations take turns.

        Raises `Rejection`, `BusyError`, `BehindError`, or `OrderingError`.
        """
        if (height := self._heights.get(signed.id)) is not None:
            return height
        answer = self._answers.get(signed.id)
        if answer is None:
            if self._stopped:
                raise UnavailableError(STOPS)
            if len(self._answers) >= MAX_PENDING:
                raise BusyError(f"{MAX_PENDING} transactions are waiting already; send it again in a moment")
            if self._pending.waiting(party) >= MAX_PENDING_OF_ONE:
                raise BusyError(
                    f"{MAX_PENDING_OF_ONE} transactions of organisation {party} wait already; send it again in a moment"
                )
            answer = asyncio.get_running_loop().create_future()
            answer.add_done_callback(lambda done: self._answered(signed.id, done))
            self._answers[signed.id] = answer
            self._pending.put(party, _Pending(signed, answer))
            self._wanted.set()
            self._arrived.set()
        return await asyncio.shield(answer)

    def _answered(self, transaction: str, answer: asyncio.Future[int]) -> None:
        del self._answers[transaction]
        if not answer.cancelled():
            answer.exception()  # retrieved here: whoever submitted it may be gone

    async def run(self) -> None:
        """Follows the log and seals until cancelled; then whoever waits is sent to another SN."""
        self._works, behind, attempts = True, False, Backoff(0.05, 1.0)
        try:
            while True:
                try:
                    if behind or await self._log_has_grown():
                        await self.load()
                        behind = False
                    else:
                        behind = not await self._seal()
                    attempts.reset()
                except UnavailableError as error:
                    logger.warning("%s; transactions wait", error)
                    behind = True
                    await attempts.pause()
        finally:
            self._stopped = True
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(UnavailableError(STOPS))

    async def _log_has_grown(self) -> bool:
        """Waits until the log may have grown, or it is time to seal what waits; True in the first case.

        The log is read only then: that this SN's chain is the newest is tried by sealing on it.
        """
        growth = asyncio.ensure_future(self._log.wait_for_append(self.chain.height))
        turn = asyncio.ensure_future(self._turn())
        try:
            await asyncio.wait((growth, turn), return_when=asyncio.FIRST_COMPLETED)
            if growth.done():
                growth.result()
            return growth.done()
        finally:
            growth.cancel()
            turn.cancel()

    async def _turn(self) -> None:
        """Waits for transactions. Where many come the SNs take turns, by UID after who has sealed last: a lost race
        costs all of them time, and without turns the fastest SN would win every one."""
        await self._wanted.wait()
        loop = asyncio.get_running_loop()
        turn = self._took_at + self._rank() * TURN_SECONDS
        while self._pending.fewest >= CROWD and loop.time() < turn:
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(turn):
                    await self._arrived.wait()

    def _rank(self) -> int:
        """The number of SNs whose turn comes before this one's; a witness, which has no API, has none."""
        sns = [sn.uid for sn in network.admitted(self.chain.world) if "api" in sn.addresses]
        after = [*(uid for uid in sns if uid > self._sealer), *(uid for uid in sns if uid <= self._sealer)]
        return after.index(self._uid) if self._uid in after else len(after)

    def next_time(self) -> int:
        """Block time of a block that was sealed now."""
        return self.chain.next_time(self._clock())

    async def block(self, height: int) -> bytes | None:
        """The raw block of this height, None beyond the head."""
        found = await self.blocks(height, 1)
        return found[0] if found else None

    async def blocks(self, start: int, limit: int) -> list[bytes]:
        """At most `limit` verified blocks from `start` on."""
        end = min(start + limit, self.chain.height + 1)
        if start >= end:
            return []
        if start in self._recent:
            return [self._recent[height] for height in range(start, end)]
        return await self._log.read(start, end - start)

    async def reached(self, height: int) -> None:
        """Waits until the chain is at least this high."""
        async with self._advanced:
            await self._advanced.wait_for(lambda: self.chain.height >= height)

    def state(self, height: int) -> State | None:
        """The hashes at a height; None beyond the head and for old blocks."""
        return self._states.get(height)

    def height_before(self, seconds: float) -> int:
        """The height of so many seconds ago; of as long ago as this SN remembers where that is later."""
        until = asyncio.get_running_loop().time() - seconds
        height = self._times[0][1] if self._times else self.chain.height
        for time, reached in self._times:
            if time > until:
                break
            height = reached
        return height

    async def wait_for_void_block(self, seconds: float) -> None:
        """Returns after the next void block, or after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._doubt.wait()
        self._doubt.clear()

    async def _seal(self) -> bool:
        """Seals one block of what waits; False when the log has to be read before the next.

        What could not be sealed, because another SN was faster or the log is unavailable (raises `UnavailableError`),
        waits on. It may be on the chain all the same: then `load` finds it.
        """
        taken, world, time_ms = self._judge()
        batch = [pending for _, pending in taken]
        if not self._pending:
            self._wanted.clear()
        if not batch:
            return True
        block = self.chain.seal([pending.signed for pending in batch], world, time_ms, self._uid, self._signer)
        try:
            step = self._extended(block, world)
            await self._log.append(Head(self.chain.height, self.chain.hash), block.raw)
        except (ConflictError, UnavailableError) as error:
            self._pending.put_back(taken)
            self._wanted.set()
            if isinstance(error, UnavailableError):
                raise
            return False
        except OrderingError as error:
            logger.error("%s", error)
            for pending in batch:
                pending.answer.set_exception(error)
            return False
        await self._advance(block.raw, step)
        for pending in batch:
            pending.answer.set_result(self.chain.height)
        return True

    def _extended(self, block: Block, world: World) -> Step:
        try:
            return self.chain.extend(block, world)
        except Rejection as error:
            raise OrderingError(f"this SN cannot seal block {block.header.height}: {error}") from error

    def _judge(self) -> tuple[list[tuple[str, _Pending]], World, int]:
        """The next batch of pending transactions that still hold, with their parties, and the world after them."""
        time_ms = self.next_time()
        world, batch, size = self.chain.world, list[tuple[str, _Pending]](), HEADER_ROOM
        for _ in range(min(len(self._pending), self._most())):
            size += len(self._pending.next()[1].signed.raw) + 3
            if size > MAX_BLOCK:
                break
            party, pending = self._pending.take()
            if (height := self._heights.get(pending.signed.id)) is not None:
                pending.answer.set_result(height)  # lost a race, but another SN's block held it too
                continue
            seen = pending.signed.content.anchor.height
            if seen > self.chain.height:
                pending.answer.set_exception(
                    BehindError(f"the sender has seen block {seen}, this SN only {self.chain.height}; try again")
                )
                continue
            try:
                after = self.chain.try_transaction(world, pending.signed, time_ms)
                if pending.signed.content.contract == network.CONTRACT:
                    self._require_seal(after, time_ms)
            except (Rejection, UnavailableError) as error:
                pending.answer.set_exception(error)
            else:
                world = after
                batch.append((party, pending))
        return batch, world, time_ms

    def _most(self) -> int:
        return MAX_BATCH_OF_MANY if len(network.organisations(self.chain.world)) > 1 else MAX_BATCH

    def _require_seal(self, world: World, time_ms: int) -> None:
        """Refuses a transaction after which this SN could not seal the block: the whole batch would fail.

        Raises `UnavailableError` when another SN can seal it, `Rejection` when there is none.
        """
        try:
            if not network.admits(world, self._uid):
                raise Rejection(Code.SEALER, "this SN would not be admitted any more")
            if check_trusted(world, self._uid, time_ms).thumbprint != self._signer.thumbprint:
                raise Rejection(Code.SEALER, "this SN would be registered with another certificate than it seals with")
        except Rejection as fault:
            if [sn.uid for sn in network.admitted(self.chain.world) if sn.uid != self._uid]:
                where = f"this SN cannot seal block {self.chain.height + 1} with this transaction"
                raise UnavailableError(f"{where}: {fault.detail}; send it to another SN") from fault
            raise

    async def _advance(self, raw: bytes, step: Step) -> None:
        """Advances to the chain after one more block, and notifies everybody who waits for it."""
        chain = step.chain
        if step.void is not None:
            sealer = name_of(node_names(chain.world), step.block.header.sealer)
            logger.error("block %d, sealed by %s, is void: %s", chain.height, sealer, step.void)
            self._doubt.set()
            state_hash = chain.world.state_hash()
        else:
            self._remember(chain.height, [signed.id for signed in step.block.transactions])
            self._sealer, self._took_at = step.block.header.sealer, asyncio.get_running_loop().time()
            state_hash = step.block.header.state_hash
        _put(self._states, chain.height, State(chain.height, chain.hash, state_hash), RECENT_STATES)
        _put(self._recent, chain.height, raw, RECENT_BLOCKS)
        self._times.append((asyncio.get_running_loop().time(), chain.height))
        async with self._advanced:
            self.chain = step.chain
            self._advanced.notify_all()

    def _remember(self, height: int, ids: Sequence[str]) -> None:
        """Keeps where each transaction is for as long as its bytes may be sent again."""
        for one in ids:
            self._heights[one] = height
        while self._heights and next(iter(self._heights.values())) < height - WINDOW:
            self._heights.popitem(last=False)


def _put(kept: OrderedDict[int, T], height: int, value: T, most: int) -> None:
    kept[height] = value
    if len(kept) > most:
        kept.popitem(last=False)
