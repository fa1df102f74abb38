"""Verification of a stored chain, and the record of its rounds."""

from collections.abc import Iterable, Iterator

import msgspec

from swarmlearning.errors import UserError
from swarmlearning.ledger.chain import Chain, ForkError, Step, UnsupportedRulesError
from swarmlearning.ledger.contracts.network.bodies import Sign
from swarmlearning.ledger.contracts.training.bodies import Contribution, Exclusion, Publish
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.ledger.transaction import MalformedError, Transaction


class BrokenChainError(UserError):
    """A stored chain cannot be what the network wrote: `height` names the first block at fault."""

    def __init__(self, height: int, reason: str) -> None:
        super().__init__(f"block {height}: {reason}")
        self.height = height


class RoundRecord(msgspec.Struct, frozen=True):
    """A published round: UIDs of its leader and of every member by the part it took.

    `repeated` are contributors whose model was not trained for this round, `withheld` members whose privacy lock gave
    none. `lost`: not there, or without its ML process, when the round closed. `absent`: there, but not in. `time_ms`:
    of the block with the result.
    """

    contract: str
    run: int
    number: int
    term: int
    leader: str
    result: str
    contributed: tuple[str, ...]
    contributions: tuple[Contribution, ...]
    repeated: tuple[str, ...]
    late: tuple[str, ...]
    lost: tuple[str, ...]
    absent: tuple[str, ...]
    excluded: tuple[Exclusion, ...]
    time_ms: int
    withheld: tuple[str, ...] = ()


class Replay:
    """Verifies the blocks that follow a chain, each after the one before; `chain` is the one after the last of them."""

    def __init__(self, after: Chain) -> None:
        self.chain = after
        self._void: str | None = None

    def append(self, raw: bytes) -> Step:
        """Verifies the next block. Raises `BrokenChainError` if it cannot be the next.

        A block may be void; but one that is void and not even followed by the next was not written like that.
        """
        height = self.chain.height + 1
        try:
            step = self.chain.append(raw)
        except ForkError as error:
            if self._void is not None:
                text = f"altered, since block {height} follows another: {self._void}"
                raise BrokenChainError(height - 1, text) from error
            raise BrokenChainError(height, str(error)) from error
        except (MalformedError, UnsupportedRulesError) as error:
            raise BrokenChainError(height, str(error)) from error
        self.chain, self._void = step.chain, step.void
        return step


def steps(blocks: Iterable[bytes]) -> Iterator[Step]:
    """Verifies and replays block by block from block 0. Raises `BrokenChainError` at the first that cannot be."""
    return map(Replay(Chain()).append, blocks)


def round_count(step: Step) -> int:
    """The number of rounds that `rounds` finds in this block, without what they were."""
    if step.void is not None:
        return 0
    bodies = (signed.content.body for signed in step.block.transactions)
    return sum(isinstance(body, Publish) and bool(body.result) for body in bodies)


def rounds(walked: Iterable[Step]) -> Iterator[RoundRecord]:
    """Every published round, in order."""
    for step in walked:
        if step.void is not None:
            continue
        transactions = step.block.transactions
        for count, signed in enumerate(transactions, start=1):
            name, body = signed.content.contract, signed.content.body
            if isinstance(body, Publish) and body.result:
                changed = any(_may_change(later.content, name) for later in transactions[count:])
                state = state_of(step.world_at(count if changed else len(transactions)), name)
                yield _record(state, body, step.block.header.time_ms)


def _may_change(content: Transaction, name: str) -> bool:
    """Whether a transaction can change this contract, as a reset does, or the signature that enacts one."""
    return content.contract == name or isinstance(content.body, Sign)


def _record(state: Training, body: Publish, time_ms: int) -> RoundRecord:
    assert state.result is not None
    closed = state.result.closed
    contributed = tuple(part.uid for part in body.receipt.contributions)
    named = {*contributed, *closed.late, *(part.uid for part in body.receipt.exclusions)}
    others = [member for uid, member in sorted(state.members.items()) if uid not in named]
    return RoundRecord(
        contract=state.name,
        run=state.run,
        number=body.round,
        term=body.term,
        leader=closed.leader,
        result=body.result,
        contributed=contributed,
        contributions=body.receipt.contributions,
        repeated=state.result.repeated,
        late=tuple(sorted(closed.late)),
        lost=tuple(member.uid for member in others if not member.present),
        absent=tuple(member.uid for member in others if member.present),
        excluded=body.receipt.exclusions,
        time_ms=time_ms,
        withheld=tuple(uid for uid, entry in sorted(closed.submissions.items()) if entry.kind == "withheld"),
    )
