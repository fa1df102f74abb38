"""The miner: accepts transactions, seals them into blocks, and keeps this SN's verified chain at the log's head.

One task (`run`) owns the chain. It replays what the log holds beyond its head, then seals what has been submitted
meanwhile as the next block: one compare-and-swap. If another SN was faster, the same transactions are judged again on
the new head, so that each is on the chain at most once and never after it became wrong.

A refused transaction is not recorded: blocks hold only transactions that took effect. A block that is ahead of the
clock is held until the SNs have decided about it (`holding.py`); nothing is sealed meanwhile.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from swarmlearning.api.answers import Stance
from swarmlearning.backoff import Backoff
from swarmlearning.identity.signing import Signers
from swarmlearning.ledger.block import MAX_BLOCK, read_header
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.chain import Chain, ForkError, Step, UnsealedError
from swarmlearning.ledger.checkpoint import is_head
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import SignedTransaction
from swarmlearning.ledger.world import World
from swarmlearning.node.clocks import NodeClock
from swarmlearning.ordering.protocols import ConflictError, Head, Log, OrderingError, UnavailableError
from swarmlearning.sn.holding import Held, Holding
from swarmlearning.sn.queue import FairQueue
from swarmlearning.sn.recent import Recent, State
from swarmlearning.sn.sealing import Sealer
from swarmlearning.views.names import name_of, node_names

logger = logging.getLogger("swarm.blCnt")

MAX_PENDING = 4096
MAX_PENDING_OF_ONE = 1024
"""Transactions of one organisation that wait."""
MAX_BATCH = 512
MAX_BATCH_OF_MANY = 16
"""Transactions of one block where organisations share the SN: whoever comes meanwhile waits for no more than these."""
HEADER_ROOM = 4096
READ_BATCH = 256
CROWD = 8
"""So many waiting transactions of one organisation are many; where another one has fewer, no turn is waited for."""
TURN_SECONDS = 0.02
"""About as long as it takes a block to be sealed and to reach the others."""
HOLD_SECONDS = 0.2
"""Between two looks at what the others do with a block that is held."""
OWN = ""
"""The party of the SN itself."""
STOPS = "this SN stops, and may not have ordered the transaction; send it again, or to another SN"


class BusyError(OrderingError):
    """More transactions wait than this SN accepts; try again."""


class BehindError(OrderingError):
    """The sender has seen blocks that this SN has not yet, so it cannot judge: try again, or another SN."""


@dataclass(frozen=True)
class _Pending:
    signed: SignedTransaction
    answer: asyncio.Future[int]


class Miner:
    """One SN's chain. `uid` and `signers` are what it seals with; `clock` gives Unix milliseconds.

    `sealed`: the file that keeps its newest sealed block. Without `holding` every block is acted on at once.
    """

    def __init__(
        self,
        log: Log,
        uid: str,
        signers: Signers,
        clock: Callable[[], int],
        holding: Holding | None = None,
        sealed: Path | None = None,
    ) -> None:
        self.chain = Chain()
        self._log = log
        self._uid = uid
        self._signers = signers
        self._clock = clock
        self._sealer = Sealer(uid, signers, sealed)
        self._holding = holding
        self._pending: FairQueue[_Pending] = FairQueue()
        self._answers: dict[str, asyncio.Future[int]] = {}
        self._recent = Recent()
        self._last_sealer, self._sealed_at = "", 0.0
        self._doubt = asyncio.Event()
        self._wanted = asyncio.Event()
        self._arrived = asyncio.Event()
        self._advanced = asyncio.Condition()
        self._works = self._stopped = False

    async def resume(self, chain: Chain) -> None:
        """Starts from a state that this SN has verified before, if the log has its last blocks; else at block 0."""
        recent, height, raw = Recent(), min(chain.hashes), b""
        while height <= chain.height:
            blocks = await self._log.read(height, min(READ_BATCH, chain.height + 1 - height))
            if not blocks or any(sha256(raw) != chain.hashes[at] for at, raw in enumerate(blocks, height)):
                break
            for raw in blocks:
                recent.restore(chain, height, raw)
                height += 1
        if not is_head(chain, raw):
            logger.warning("The checkpoint does not belong to block %d: the chain is replayed", chain.height)
            return
        head = read_header(raw)
        recent.set_state(State(chain.height, chain.hash, head.state_hash))
        self._recent, self._last_sealer, self.chain = recent, head.sealer, chain

    async def load(self, clock: NodeClock | None = None) -> None:
        """Replays what the log holds beyond the head: the state this SN left, whatever ended it.

        What is no block of this chain is passed over; before this SN is at work only what no SN has sealed, and as the
        newest entry: elsewhere it is damage. `clock`: one by which a block is ahead that most SNs do not have is not
        replayed; that raises `AheadError`.
        """
        while entries := await self._log.read(self.chain.height + 1, READ_BATCH):
            for raw in entries:
                try:
                    step = self.chain.append(raw)
                except ForkError as error:
                    if not self._works and (
                        not isinstance(error, UnsealedError) or await self._log.read(self.chain.height + 2, 1)
                    ):
                        raise
                    logger.error("%s; it is passed over", error)
                    await self._log.pass_over(self.chain.height + 1)
                    break
                if clock is not None and clock.finds_ahead(self.chain, step):
                    await clock.require_confirmed(self.chain, step)
                if self._works and self._holding is not None and self._holding.holds(self.chain, step):
                    await self._log.hold(self.chain.height + 1)
                    return
                await self._advance(raw, step)

    async def found(self, genesis: SignedTransaction) -> None:
        """Writes block 0. Raises `Rejection`."""
        time_ms = self._clock()
        world = self.chain.try_transaction(World(), genesis, time_ms)
        raw = self.chain.seal([genesis], world, time_ms, self._uid, self._signers.by("")).raw
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
        if (height := self._recent.height_of(signed.id)) is not None:
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
            answer = self._enqueue(signed, party)
        return await asyncio.shield(answer)

    def _enqueue(self, signed: SignedTransaction, party: str) -> asyncio.Future[int]:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda done: self._answered(signed.id, done))
        self._answers[signed.id] = answer
        self._pending.put(party, _Pending(signed, answer))
        self._wanted.set()
        self._arrived.set()
        return answer

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
                    if self._holding is not None and (held := self._holding.held) is not None:
                        behind = await self._resolve(self._holding, held)
                    elif behind or await self._log_has_grown():
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

    async def _resolve(self, holding: Holding, held: Held) -> bool:
        """One look at what becomes of the block that is held; True when the log has to be read next."""
        height = held.disputed.height
        if await self._log.read(height, 1):  # another SN has put another block in its place
            holding.release()
            return True
        verdict = await holding.decision(self.chain, held)
        if verdict == "accept":
            await self._log.release(height)
            holding.release(accepted=True)
            return True
        if verdict == "wait":
            await asyncio.sleep(HOLD_SECONDS)
            return False
        logger.error("block %d of SN %s is refused: most SNs have objected to it", height, held.disputed.sealer)
        await self._log.pass_over(height)
        holding.release()
        self._enqueue(verdict, OWN)
        return not await self._seal()

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
        turn = self._sealed_at + self._sealer.turns_before(self.chain.world, self._last_sealer) * TURN_SECONDS
        while self._pending.fewest >= CROWD and loop.time() < turn:
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(turn):
                    await self._arrived.wait()

    def now_ms(self) -> int:
        """The time that this SN's clock shows, corrected by those of the others."""
        return self._clock()

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
        known = self._recent.blocks(start, end)
        return known if known is not None else await self._log.read(start, end - start)

    async def stance(self, height: int) -> Stance | None:
        """This SN's opinion of its block of this height; None where it has none."""
        if self._holding is not None and (held := self._holding.stance(height)) is not None:
            return held
        raw = await self.block(height)
        return Stance(sha256(raw), "") if raw is not None else None

    async def reached(self, height: int) -> None:
        """Waits until the chain is at least this high."""
        async with self._advanced:
            await self._advanced.wait_for(lambda: self.chain.height >= height)

    def state(self, height: int) -> State | None:
        """The hashes at a height; None beyond the head and for old blocks."""
        return self._recent.state(height)

    def height_before(self, seconds: float) -> int:
        """The height of so many seconds ago; of as long ago as this SN remembers where that is later."""
        height = self._recent.height_before(seconds)
        return height if height is not None else self.chain.height

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
        unordered = self._sealer.unordered(self.chain)
        taken, world, time_ms = self._judge() if unordered is None else ([], self.chain.world, 0)
        batch = [pending for _, pending in taken]
        if not self._pending:
            self._wanted.clear()
        if not batch and unordered is None:
            return True
        try:
            transactions = [pending.signed for pending in batch]
            step = unordered or self._sealer.seal(self.chain, transactions, world, time_ms)
            await self._log.append(Head(self.chain.height, self.chain.hash), step.block.raw)
        except (ConflictError, UnavailableError) as error:
            self._pending.put_back(taken)
            self._wanted.set()
            if isinstance(error, UnavailableError):
                raise
            return False
        except OrderingError as error:
            logger.error("%s", error)
            for pending in batch or [self._pending.take()[1] for _ in range(len(self._pending))]:
                pending.answer.set_exception(error)
            if not self._pending:
                self._wanted.clear()
            return False
        await self._advance(step.block.raw, step)
        for pending in batch:
            pending.answer.set_result(self.chain.height)
        return True

    def _judge(self) -> tuple[list[tuple[str, _Pending]], World, int]:
        """The next batch of pending transactions that still hold, with their parties, and the world after them."""
        time_ms = self.next_time()
        world, batch, size = self.chain.world, list[tuple[str, _Pending]](), HEADER_ROOM
        for _ in range(min(len(self._pending), self._most())):
            size += len(self._pending.next()[1].signed.raw) + 3
            if size > MAX_BLOCK:
                break
            party, pending = self._pending.take()
            if (height := self._recent.height_of(pending.signed.id)) is not None:
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
                    self._sealer.require_seal(self.chain, after, time_ms)
            except (Rejection, UnavailableError) as error:
                pending.answer.set_exception(error)
            else:
                world = after
                batch.append((party, pending))
        return batch, world, time_ms

    def _most(self) -> int:
        return MAX_BATCH_OF_MANY if len(network.organisations(self.chain.world)) > 1 else MAX_BATCH

    async def _advance(self, raw: bytes, step: Step) -> None:
        """Advances to the chain after one more block, and notifies everybody who waits for it."""
        chain = step.chain
        self._recent.add(raw, step)
        if step.void is not None:
            sealer = name_of(node_names(chain.world), step.block.header.sealer)
            logger.error("block %d, sealed by %s, is void: %s", chain.height, sealer, step.void)
            self._doubt.set()
        else:
            self._last_sealer, self._sealed_at = step.block.header.sealer, asyncio.get_running_loop().time()
        async with self._advanced:
            self.chain = step.chain
            self._advanced.notify_all()
