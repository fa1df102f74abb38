"""The chain: a verified head and the world after it; blocks go in, the next chain comes out.

Every node runs this same code over the same bytes. A sealed block that breaks a rule does not stop anybody: its height
is used up (a *void slot*), nothing of it takes effect, every node skips it alike, and the SN that has sealed it is set
apart (`contracts/network/recovery.py`). What no SN of the network has sealed is no block, and uses up nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Self

from swarmlearning.errors import UserError
from swarmlearning.identity.signing import SignatureError, Signer, verify_once
from swarmlearning.ledger.admission import check_trusted, leaf
from swarmlearning.ledger.apply import apply
from swarmlearning.ledger.block import Block, Header, outline, read_header, seal, transaction_root
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.bodies import Genesis
from swarmlearning.ledger.contracts.network.recovery import quarantine_sealer
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.fields import Body
from swarmlearning.ledger.rules import RULES, Rulebook, Rules
from swarmlearning.ledger.transaction import WINDOW, Anchor, MalformedError, SignedTransaction, Transaction
from swarmlearning.ledger.world import World

RULES_VERSION = max(RULES)
"""The newest rules this code knows; all older ones stay in it for replay."""


class UnsupportedRulesError(UserError):
    """The network has switched to rules this program does not know."""


class ForkError(Exception):
    """A block does not continue this chain: it belongs to another one."""


class UnsealedError(ForkError):
    """These bytes are no block: no SN that this chain admits has sealed them."""


@dataclass(frozen=True)
class Chain:
    """Immutable. `network_id` is the hash of block 0, `height` -1 before it.

    `hashes` are those of the last `WINDOW` blocks and the one before them, `voids` the void slots among them.
    """

    network_id: str = ""
    height: int = -1
    hash: str = ""
    time_ms: int = 0
    world: World = field(default_factory=World)
    hashes: Mapping[int, str] = field(default_factory=dict)
    voids: frozenset[int] = frozenset()
    rulebook: Rulebook = field(default_factory=lambda: RULES, repr=False)

    @property
    def rules(self) -> Rules:
        """The rules of the next block. Raises `UnsupportedRulesError`; before block 0, `Rejection`."""
        return self._version(network.network(self.world).rules_version)

    @property
    def _window(self) -> int:
        return self.rules.limits.window if self.height >= 0 else WINDOW

    @property
    def anchor(self) -> Anchor:
        """The block that a transaction signed now refers to."""
        return Anchor(height=self.height, hash=self.hash)

    def compose(
        self, sender: str, incarnation: int, sequence: int, contract: str, body: Body, on_behalf_of: str = ""
    ) -> Transaction:
        """A transaction to sign: anchored at this head, valid for as long as a transaction may wait.

        The person `on_behalf_of` whom it is stays out of it where the rules in force know none.
        """
        return Transaction(
            network=self.network_id,
            sender=sender,
            incarnation=incarnation,
            sequence=sequence,
            anchor=self.anchor,
            expires_at_height=self.height + self._window,
            contract=contract,
            body=body,
            on_behalf_of=on_behalf_of if on_behalf_of and self.rules.persons else "",
        )

    def ahead_ms(self, time_ms: int, now_ms: int) -> int:
        """Milliseconds by which the next block, with this time, is ahead of a clock; 0 for the earliest possible."""
        return max(0, time_ms - now_ms) if self.height >= 0 and time_ms > self.time_ms + 1 else 0

    def next_time(self, now_ms: int) -> int:
        """Block time of the next block for a sealer whose clock shows `now_ms`."""
        return max(self.time_ms + 1, now_ms)

    def try_transaction(self, world: World, signed: SignedTransaction, time_ms: int) -> World:
        """`world` after one more transaction of the next block. Raises `Rejection`."""
        body = signed.content.body
        rules = self._version(body.rules_version) if self.height < 0 and isinstance(body, Genesis) else self.rules
        with _refusing_whatever_fails():
            return self._apply(world, signed, time_ms, rules)

    def refusal(self, signed: SignedTransaction) -> Rejection | None:
        """Why a transaction would be refused after the newest block; None if it would be accepted."""
        try:
            self.try_transaction(self.world, signed, self.time_ms)
        except Rejection as rejection:
            return rejection
        return None

    def _apply(self, world: World, signed: SignedTransaction, time_ms: int, rules: Rules) -> World:
        return apply(
            world,
            signed,
            rules,
            network_id=self.network_id,
            height=self.height + 1,
            time_ms=time_ms,
            hashes=self.hashes,
        )

    def seal(
        self,
        transactions: Sequence[SignedTransaction],
        world: World,
        time_ms: int,
        sealer: str,
        signer: Signer,
    ) -> Block:
        """The next block with these transactions, which lead to `world`. Raises `UnsupportedRulesError`."""
        version = network.network(self.world if self.height >= 0 else world).rules_version
        self._version(version)
        header = Header(
            network=self.network_id,
            height=self.height + 1,
            previous=self.hash,
            time_ms=time_ms,
            sealer=sealer,
            transaction_root=transaction_root([tx.id for tx in transactions]),
            state_hash=world.state_hash(),
            rules_version=version,
        )
        return seal(header, transactions, signer)

    def extend(self, sealed: Block, world: World) -> "Step":
        """Appends a block that `seal` has just made: only its sealer's permission is still to be checked.

        Raises `Rejection`.
        """
        if self.height >= 0:
            _require_sn(self.world, sealed.header.sealer)
        _check_seal(sealed, world)
        return Step(self, self._advance(sealed.hash, sealed.header.time_ms, world), sealed, void=None)

    def append(self, raw: bytes) -> "Step":
        """The chain one height further.

        Raises `UnsealedError` for what is no block, `ForkError` when the block does not follow this head,
        `UnsupportedRulesError` when this program is too old to judge it. A block that breaks any other rule is a void
        slot.
        """
        try:
            rules = self.rules if self.height >= 0 else self._version(read_header(raw).rules_version)
            block = rules.read(raw)
        except MalformedError as error:
            return self._unreadable(raw, str(error))
        self._check_place(block)
        try:
            with _refusing_whatever_fails():
                world = self._replay(block, rules)
        except Rejection as broken:
            if not is_sealed(block, self.world):
                raise self._unsealed(str(broken)) from broken
            return self._void(block, str(broken))
        return Step(self, self._advance(block.hash, block.header.time_ms, world), block, void=None)

    def _unreadable(self, raw: bytes, reason: str) -> "Step":
        """A block with transactions that no node can read is void, if an SN has sealed it."""
        try:
            block = outline(raw)
        except MalformedError as error:
            raise self._unsealed(reason) from error
        self._check_place(block)
        if not _fits_seal(block, self.world):
            raise self._unsealed(reason)
        return self._void(block, reason)

    def _check_place(self, block: Block) -> None:
        height, previous = block.header.height, block.header.previous
        if (height, previous) == (self.height + 1, self.hash):
            return
        text = f"block {height} follows {previous[:12]}, the head here is {self.height} {self.hash[:12]}"
        if height == self.height + 1 and _fits_seal(block, self.world):
            raise ForkError(f"{text}; SN {block.header.sealer} has sealed it")
        raise self._unsealed(text)

    def _version(self, version: int) -> Rules:
        rules = self.rulebook.get(version)
        if rules is None:
            raise UnsupportedRulesError(
                f"the network uses rules version {version} from height {self.height + 1} on; "
                f"this program knows up to {max(self.rulebook)}. Install a newer one"
            )
        return rules

    def _replay(self, block: Block, rules: Rules) -> World:
        header = block.header
        if header.network != self.network_id:
            raise Rejection(Code.OTHER_NETWORK, f"the block is of network {header.network[:12]}")
        if header.time_ms <= self.time_ms:
            raise Rejection(Code.TIME, "block time must grow")
        if not _is_whole(block):
            raise Rejection(Code.TRANSACTION_ROOT, "the transactions are not those that were sealed")
        if self.height >= 0:
            _require_sn(self.world, header.sealer)
            if header.rules_version != network.network(self.world).rules_version:
                raise Rejection(Code.RULES_VERSION, f"sealed under rules version {header.rules_version}")
        elif [type(tx.content.body) for tx in block.transactions] != [Genesis]:
            raise Rejection(Code.NO_GENESIS, "block 0 holds exactly the genesis")
        world = self.world
        for signed in block.transactions:
            world = self._apply(world, signed, header.time_ms, rules)
        _check_seal(block, world)
        if self.height < 0 and header.rules_version != network.network(world).rules_version:
            raise Rejection(Code.RULES_VERSION, "block and genesis name different rules")
        if header.state_hash != world.state_hash():
            raise Rejection(Code.STATE_HASH, "the sealer came to another state from the same transactions")
        return world

    def _advance(self, block_hash: str, time_ms: int, world: World, *, void: bool = False) -> Self:
        height = self.height + 1
        recent = {**self.hashes, height: block_hash}
        recent.pop(height - self._window - 1, None)
        voids = self.voids | {height} if void else self.voids
        return replace(
            self,
            network_id=self.network_id or block_hash,
            height=height,
            hash=block_hash,
            time_ms=time_ms,
            world=world,
            hashes=recent,
            voids=frozenset(slot for slot in voids if slot in recent) if voids else voids,
        )

    def _unsealed(self, reason: str) -> Exception:
        if self.height < 0:
            return MalformedError(f"block 0 is not the genesis of a network: {reason}")
        return UnsealedError(f"what stands at height {self.height + 1} is no block: {reason}")

    def _void(self, block: Block, reason: str) -> "Step":
        if self.height < 0:
            raise self._unsealed(reason)
        world = quarantine_sealer(self.world, block.header.sealer, self.height + 1)
        return Step(self, self._advance(block.hash, self.time_ms, world, void=True), block, void=reason)


@dataclass(frozen=True)
class Step:
    """The effect of one block: the chains before and after it, the block, and the reason if it is void."""

    before: Chain
    chain: Chain
    block: Block
    void: str | None

    def world_at(self, count: int) -> World:
        """The world after this many transactions of a block that is not void."""
        if count == len(self.block.transactions):
            return self.chain.world
        return next(islice(self.worlds(), count, None))

    def worlds(self) -> Iterator[World]:
        """The world before a block that is not void, and after each of its transactions."""
        world = self.before.world
        yield world
        for signed in self.block.transactions:
            world = self.before.try_transaction(world, signed, self.block.header.time_ms)
            yield world


def replay(blocks: Iterable[bytes], chain: Chain | None = None) -> Chain:
    """The chain after all these blocks, from block 0 or from `chain`."""
    chain = chain or Chain()
    for raw in blocks:
        chain = chain.append(raw).chain
    return chain


@contextmanager
def _refusing_whatever_fails() -> Iterator[None]:
    """Makes a `Rejection` of every exception, since the same bytes fail at all nodes alike and must not end them.

    Only a lack of memory is no property of the bytes.
    """
    try:
        yield
    except (Rejection, MemoryError):
        raise
    except Exception as error:
        raise Rejection(Code.MALFORMED, f"cannot be judged: {type(error).__name__}: {error}") from error


def _require_sn(world: World, uid: str) -> None:
    if not network.admits(world, uid):
        raise Rejection(Code.SEALER, f"{uid} is no SN of this network")


def _is_whole(block: Block) -> bool:
    return block.header.transaction_root == transaction_root([tx.id for tx in block.transactions])


def is_sealed(block: Block, world: World) -> bool:
    """True if seal and transaction root fit, so that its sealer answers for the block, whatever is in it."""
    return _fits_seal(block, world) and _is_whole(block)


def _fits_seal(block: Block, world: World) -> bool:
    try:
        with _refusing_whatever_fails():
            _check_seal(block, world)
    except Rejection:
        return False
    return True


def _check_seal(block: Block, world: World) -> None:
    """By the sealer's certificate after the block: so an SN can register its renewed one, and never shut itself out."""
    uid = block.header.sealer
    _require_sn(world, uid)
    stored = check_trusted(world, uid, block.header.time_ms)
    if stored.thumbprint != block.signer:
        raise Rejection(Code.SEALER, f"sealed with another certificate than that of {uid}")
    try:
        verify_once(block.signed_header, leaf(stored.pem))
    except SignatureError as error:
        raise Rejection(Code.SEAL, str(error)) from error
