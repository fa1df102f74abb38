"""What one node knows of its training, and what it has under way: the facts on which its machine decides.

Work (fetches, merges, carrying over) is level-triggered: every decision states by `want` all the work that it still
needs. What is not under way is started; what is under way and was not wanted again is cancelled.
"""

from collections.abc import Generator, Iterable, Iterator

import msgspec

from swarmlearning.ledger.bodies import Lost, Publish, TrainingBody
from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.rounds.events import Cancel, Carry, Fetch, Key, Merge, Send, SetTimer, Timer, Work
from swarmlearning.rounds.settings import FIRST_PAUSE, LONGEST_PAUSE

NEVER: Key = (-1, -1, -1)
"""Key of timers that belong to no term."""
BEFORE = -1
"""Height before the first block."""


class RoundFacts:
    """Facts, and what is under way: transactions sent, timers set, and work."""

    def __init__(self, uid: str, incarnation: int, training: Training, held: Iterable[str]) -> None:
        self.uid = uid
        self.incarnation = incarnation
        self.training = training
        self.height = BEFORE
        self.leader_height = BEFORE
        self.moved = 0
        self.now = 0.0
        self.held = set(held)
        self.sent: dict[TrainingBody | Lost, int | None] = {}
        self._timers: dict[Timer, bool] = {}
        self._pauses: dict[str, float] = {}
        self._under_way: dict[Work, Work] = {}
        self._begun: dict[str, float] = {}
        self._seconds: dict[str, float] = {}
        self._wanted: set[Work] = set()

    def key_of(self, current: Round) -> Key:
        """Run, round and term."""
        return self.training.run, current.number, current.term

    # --- the chain --------------------------------------------------------------------------------------------------

    def advance(self, training: Training, height: int, leader_height: int) -> None:
        """A newer state: what was sent for an older one may be sent again, timers of other terms mean nothing."""
        self.training, self.height, self.leader_height = training, height, leader_height
        self.sent = {body: at for body, at in self.sent.items() if at is None or at > height}
        present = self.key_of(training.round) if training.round else NEVER
        self._timers = {timer: woke for timer, woke in self._timers.items() if timer.key in (present, NEVER)}

    def send(self, body: TrainingBody | Lost) -> Iterator[Send]:
        """Once, until its answer's block has been seen; after a refusal, unless it shall be tried again only later."""
        if body not in self.sent and not self.pausing(_kind(body)):
            self.sent[body] = None
            yield Send(body)

    def accepted(self, body: TrainingBody | Lost, height: int) -> None:
        """A sent transaction stands; it counts as under way until its block has been seen."""
        self.unpause(_kind(body))
        if height > self.height:
            self.sent[body] = height
        else:
            self.sent.pop(body, None)

    def refused(self, body: TrainingBody | Lost, height: int) -> Iterator[SetTimer]:
        """What was judged on the state that is known here, or a newer one, may be said again with a newer one still.

        What was judged on an older state may hold now, and there may be no newer one: soon.
        """
        if height < self.height:
            self.sent.pop(body, None)
            yield from self.pause(_kind(body))
        else:
            self.sent[body] = max(height, self.height + 1)

    def publishes(self, current: Round) -> bool:
        """Whether the result of this term is on its way to the ledger."""
        return any(
            isinstance(body, Publish) and (body.round, body.term) == (current.number, current.term)
            for body in self.sent
        )

    # --- work -------------------------------------------------------------------------------------------------------

    def want(self, work: Work) -> Iterator[Work]:
        """Starts the work unless it is under way."""
        purpose = _purpose(work)
        self._wanted.add(purpose)
        if purpose not in self._under_way:
            self._under_way[purpose] = work
            if isinstance(work, Fetch):
                self._begun[work.digest] = self.now
            yield work

    def cancel_unwanted(self) -> list[Cancel]:
        """Cancels what is under way and has not been wanted since this was called last."""
        unwanted = [purpose for purpose in self._under_way if purpose not in self._wanted]
        self._wanted.clear()
        return [Cancel(self._under_way.pop(purpose)) for purpose in unwanted]

    def ended(self, work: Work) -> bool:
        """Notes that this work is not under way any more; False when it was not, so that its outcome is stale."""
        return self._under_way.pop(_purpose(work), None) is not None

    def merging(self, number: int, term: int) -> Merge | None:
        """The merge under way for this round and term."""
        merges = (work for work in self._under_way.values() if isinstance(work, Merge))
        return next((work for work in merges if (work.round, work.term) == (number, term)), None)

    def carrying(self, digest: str, onto: str) -> Carry | None:
        """The work under way that carries this model over to that result."""
        carries = (work for work in self._under_way.values() if isinstance(work, Carry))
        return next((work for work in carries if (work.digest, work.onto) == (digest, onto)), None)

    @property
    def fetching(self) -> set[str]:
        """The models that are being fetched."""
        return {work.digest for work in self._under_way.values() if isinstance(work, Fetch)}

    def fetch(self, digest: str, holders: tuple[str, ...]) -> Iterator[Work]:
        """Wants the model, unless it shall be tried again only later."""
        if not self.pausing(digest):
            yield from self.want(Fetch(digest, holders))

    def fetched(self, digest: str) -> None:
        """The model is here."""
        if self.ended(Fetch(digest, ())):
            self._seconds[digest] = self.now - self._begun[digest]
        self.held.add(digest)
        self._pauses.pop(digest, None)

    def fetching_for(self, digest: str) -> float:
        """Seconds since the fetch of this model began that is under way."""
        return self.now - self._begun[digest]

    def fetched_in(self, digest: str) -> float:
        """Seconds that it took to fetch this model; 0 where it was here."""
        return self._seconds.get(digest, 0.0)

    # --- time -------------------------------------------------------------------------------------------------------

    def elapsed(self, timer: Timer, seconds: float) -> Generator[SetTimer, None, bool]:
        """Whether so much time has passed since this was asked first."""
        if timer not in self._timers:
            self._timers[timer] = False
            yield SetTimer(timer, seconds)
        return self._timers[timer]

    def again(self, timer: Timer) -> None:
        """The timer may be asked anew."""
        self._timers.pop(timer, None)

    def woke(self, timer: Timer, moved: int) -> None:
        """A timer is over; one that nobody has an interest in any more means nothing."""
        self.moved = moved
        if timer.purpose == "retry":
            self.again(timer)
        elif timer in self._timers:
            self._timers[timer] = True

    def pause(self, subject: str, longest: float = LONGEST_PAUSE) -> Iterator[SetTimer]:
        """What has failed is tried again after a while, longer each time.

        `subject`: a fetch's digest, nothing for a merge, the kind of a transaction.
        """
        seconds = self._pauses.get(subject, FIRST_PAUSE)
        self._pauses[subject] = min(2 * seconds, longest)
        yield from self.elapsed(Timer("retry", NEVER, subject), seconds)

    def pausing(self, subject: str) -> bool:
        """Whether it is not yet time to try again."""
        return Timer("retry", NEVER, subject) in self._timers

    def resume(self, subject: str) -> None:
        """It is worth trying at once, and the next failure is a first one."""
        self.again(Timer("retry", NEVER, subject))
        self.unpause(subject)

    def unpause(self, subject: str) -> None:
        """It has succeeded: the next failure is a first one."""
        self._pauses.pop(subject, None)

    def forget_pauses(self, needed: set[str]) -> None:
        """Models that nobody needs any more are not tried again."""
        self._pauses = {subject: seconds for subject, seconds in self._pauses.items() if subject in needed | {""}}
        self._begun = {digest: at for digest, at in self._begun.items() if digest in needed}
        self._seconds = {digest: seconds for digest, seconds in self._seconds.items() if digest in needed}


def _purpose(work: Work) -> Work:
    """The work itself, but for the members that a model is fetched from: a change of these starts nothing anew."""
    return msgspec.structs.replace(work, holders=()) if isinstance(work, Fetch) else work


def _kind(body: TrainingBody | Lost) -> str:
    return type(body).__name__
