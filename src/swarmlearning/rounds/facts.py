"""The facts on which the machine of one node decides, and the outbox into which it puts what is to be done.

Facts are the training contract as the verified chain shows it, the models in the store, the transactions, timers and
work under way. Whoever decides calls plain methods: what they cause is appended to `out`, in order.
"""

from collections.abc import Callable, Hashable, Iterable, KeysView
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec

from swarmlearning.ledger.bodies import Lost, Publish, TrainingBody
from swarmlearning.ledger.contracts.training.checking import is_open
from swarmlearning.ledger.contracts.training.outer import Step
from swarmlearning.ledger.contracts.training.sizes import model_size
from swarmlearning.ledger.contracts.training.slicing import open_slicing
from swarmlearning.ledger.contracts.training.state import Round, Training, enough
from swarmlearning.ledger.contracts.training.steps import companions, made_by_steps, made_of
from swarmlearning.ledger.contracts.training.submissions import kept_back
from swarmlearning.rounds.events import Action, Fetch, Key, Send
from swarmlearning.rounds.timers import NEVER, Timers
from swarmlearning.rounds.work import WorkUnderWay

BEFORE = -1
"""Height before the first block."""
NOTHING = -1
"""Round number of "no result yet"."""


class ModelRef(NamedTuple):
    """A merged model: the round it is the result of, and its digest; a round may have several, when one got lost."""

    round: int
    digest: str


NO_MODEL = ModelRef(NOTHING, "")
T = TypeVar("T")


@dataclass(frozen=True)
class Handed:
    """A model in the store that the ML process handed over."""

    digest: str
    size: int


class RoundFacts:
    """One node's facts. `now` is in seconds of a clock that never goes back, `moved` in bytes."""

    def __init__(self, uid: str, incarnation: int, training: Training, held: Iterable[str]) -> None:
        self.uid = uid
        self.incarnation = incarnation
        self.training = training
        self.latest = _latest(training)
        """The merged model to train on from: the standing result; when that is void, the one before."""
        self.named = _named(training, uid)
        """The models that the ledger names: submitted ones, the standing result, those before it, and this node's own
        of a round that can be checked."""
        self.height = BEFORE
        self.leader_height = BEFORE
        self.moved = 0
        self.now = 0.0
        self.held = set(held)
        self._drop_incomplete()
        self.own_size = 0
        """Bytes of the model that the ML process handed over last, and so of every one of the training; 0: none yet."""
        self.postponed: set[str] = set()
        """The model whose fetch was stopped, and soon begins with another holder."""
        self.begun = ("", "")
        """A result that is not here, and the recipe under whose name parts of it may be."""
        self.out: list[Action] = []
        self.timers = Timers(self.out)
        self.work = WorkUnderWay(self.out)
        # None while there is no answer, then the height of the block that has to be seen before it may be sent again
        self._sent: dict[TrainingBody | Lost, int | None] = {}
        self._found: dict[Hashable, Any] = {}

    def collect(self) -> list[Action]:
        """Empties the outbox, and returns what was in it."""
        if not self.out:
            return []
        collected = list(self.out)
        self.out.clear()
        return collected

    def key_of(self, current: Round) -> Key:
        """Returns run, round and term."""
        return self.training.run, current.number, current.term

    def advance(self, training: Training, height: int, leader_height: int) -> None:
        """A newer state: what was sent for an older one may be sent again, timers of other terms mean nothing."""
        if training is not self.training:
            self.training, self.latest, self.named = training, _latest(training), _named(training, self.uid)
            self._drop_incomplete()
            self._found.clear()
        self.height, self.leader_height = height, leader_height
        self._sent = {body: at for body, at in self._sent.items() if at is None or at > height}
        self.timers.keep(self.key_of(training.round) if training.round else NEVER)

    def once(self, what: Hashable, find: Callable[[], T]) -> T:
        """Returns what `find` finds of the contract's state, under this name: found once for each state, though every
        event asks."""
        try:
            found: T = self._found[what]
        except KeyError:
            found = self._found[what] = find()
        return found

    # --- transactions -----------------------------------------------------------------------------------------------

    @property
    def sent(self) -> KeysView[TrainingBody | Lost]:
        """The transactions under way: sent, and neither the block with them nor that with their refusal was seen."""
        return self._sent.keys()

    @property
    def unanswered(self) -> bool:
        """True while the answer to a transaction is outstanding."""
        return None in self._sent.values()

    def send(self, body: TrainingBody | Lost) -> None:
        """Sends it unless it is under way, or has been refused and is to be tried again only later."""
        if body not in self._sent and not self.timers.pausing(_kind(body)):
            self._sent[body] = None
            self.out.append(Send(body))

    def publish(self, current: Round, body: Publish) -> None:
        """Sends what this node publishes as leader: without the result where too few models are in it, as after one has
        left, or of too few organisations, so that the round is collected again."""
        there = {part.uid for part in body.receipt.contributions} | kept_back(current.submissions, current.base)
        if body.result and not enough(self.training, there):
            body = msgspec.structs.replace(body, result="", size=0, step=None, change="")
        self.send(body)

    def accepted(self, body: TrainingBody | Lost, height: int) -> None:
        """A sent transaction stands; it counts as under way until its block has been seen."""
        self.timers.succeeded(_kind(body))
        if height > self.height:
            self._sent[body] = height
        else:
            self._sent.pop(body, None)

    def refused(self, body: TrainingBody | Lost, height: int, *, outdated: bool = False) -> None:
        """A refused transaction may be sent again with a newer state than that on which it was judged.

        Where that was older than the one known here, or the transaction was `outdated` when it was judged, it may hold
        now, and no newer state may come: it is sent soon.
        """
        if outdated or height < self.height:
            self._sent.pop(body, None)
            self.timers.pause(_kind(body))
        else:
            self._sent[body] = max(height, self.height + 1)

    def forget(self, body: TrainingBody | Lost) -> None:
        """The transaction may be sent again at once: what becomes of the one before has no meaning for it."""
        self._sent.pop(body, None)

    def publishes(self, current: Round) -> bool:
        """Returns whether the result of this term, of the models that are in, is on its way to the ledger."""
        return any(isinstance(body, Publish) and _is_result_of(body, current) for body in self._sent)

    # --- models -----------------------------------------------------------------------------------------------------

    def model_size(self, current: Round) -> int:
        """Returns the bytes of a model of this round; 0 where nothing states them.

        All models of a training are of one size: whoever has a model of its own knows it, whatever others state.
        """
        own = current.submissions.get(self.uid) or current.late.get(self.uid)  # perhaps of a process before this one
        return self.own_size or (own.size if own else 0) or model_size(self.training, current)

    def fetch(self, digest: str, holders: tuple[str, ...]) -> None:
        """Wants the model, unless it is to be tried again only later."""
        if not self.timers.pausing(digest):
            result, recipe = self.begun
            self.work.want(Fetch(digest, holders, begun=recipe if digest == result else ""), self.now)

    def fetched(self, digest: str) -> None:
        """The model is in the store, with its momentum."""
        self.work.fetched(digest, self.now)
        self.held |= {digest, *companions(self.training, digest)}
        self.timers.succeeded(digest)

    def made(self, result: str, step: Step | None) -> None:
        """This result is in the store, and what it was made of by an outer step."""
        self.held |= {result, *made_of(step)}

    def drop(self, digest: str) -> set[str]:
        """The model is not in the store; returns all that does not count as held because of that."""
        self.held.discard(digest)
        return {digest} | self._drop_incomplete()

    def _drop_incomplete(self) -> set[str]:
        """A result without its momentum does not count as held: whoever has it can take the next step."""
        lacking = {model for model in self.training.steps if not companions(self.training, model) <= self.held}
        dropped = lacking & self.held
        self.held -= dropped
        return dropped

    def forget_models_but(self, needed: set[str]) -> None:
        """Forgets all that concerns models that nobody needs any more."""
        self.held &= needed | self.work.fetching
        self.timers.forget_pauses(needed)
        self.work.forget_times(needed)


def _kind(body: TrainingBody | Lost) -> str:
    return type(body).__name__


def _is_result_of(body: Publish, current: Round) -> bool:
    if (body.round, body.term) != (current.number, current.term):
        return False
    left_out = {part.uid for part in body.receipt.exclusions}
    return left_out.union(part.uid for part in body.receipt.contributions) == current.submissions.keys()


def _latest(training: Training) -> ModelRef:
    result, current = training.result, training.round
    if result:
        return ModelRef(result.closed.number, result.digest)
    return ModelRef(current.number - 1, current.base) if current else NO_MODEL


def _named(training: Training, uid: str) -> frozenset[str]:
    result, current = training.result, training.round
    named = [result.digest, result.closed.base] if result else []
    named += [*made_by_steps(training), training.change]
    if result and ((sliced := open_slicing(training, result.closed.number)) or is_open(training)):
        # A slice of it that is lost is merged again, of all contributions; whoever checks the result reads them, too.
        named += [entry.digest for each, entry in result.closed.submissions.items() if sliced or each == uid]
    if current:
        named.append(current.base)
        named += [entry.digest for entry in (*current.submissions.values(), *current.late.values())]
    return frozenset(named)
