"""The round machine of one SL node.

Theory of operation
-------------------
The machine holds two kinds of facts: the training contract as the verified chain shows it, and what happened at this
node (what the ML process waits for, which models are in the store, what is under way). Every event updates the facts;
then `_decide` looks at them and says what is to be done *now*. It is level-triggered: nothing depends on having seen
every intermediate state, so a restart, a reconnection that skips twenty blocks, or an event that comes twice leads to
the same decisions. Work that a decision no longer wants is cancelled. Time is an event too: what is to be done later
is requested by `SetTimer` and looked at again at `TimerFired`.

The ML process' side:

    handed parameters ─▶ built on the standing result?  ── yes ─▶ Submit, wait for the round's result
                                 │ no
                                 ├─ trained from an earlier result ─▶ Carry over to the standing one, Submit that
                                 │  (straggler)
                                 ▼  never had a result (latecomer, restarted ML process), or cannot be carried
                  a result newer than the one the ML process has ─▶ Fetch ─▶ Deliver ─▶ Evaluated
                                                                   ─▶ ReportPerformance, answer the ML process

A straggler's model is carried over anew for each result until a round has taken it, or has found it unusable.

After local training has ended (`closing`) the node submits by its check-in mode in every round, and each new result
is delivered, until training is over.

The leader's side is in `leading.py`, what the others report of it in `watching.py`, getting a result and reporting it
in `results.py`, what becomes of a handed model in `carrying.py`; facts, and what is under way, are in `work.py`.
"""

from collections.abc import Iterable, Iterator

from swarmlearning.ledger.bodies import (
    CloseSession,
    Lost,
    OpenSession,
    Publish,
    ReportPerformance,
    SubmissionKind,
    Submit,
)
from swarmlearning.ledger.codes import is_transient
from swarmlearning.ledger.contracts.training import state as contract
from swarmlearning.ledger.contracts.training.state import Member, Round, Training
from swarmlearning.ledger.contracts.training.terms import ANEW
from swarmlearning.rounds.carrying import Carrying, Handed
from swarmlearning.rounds.events import (
    Accepted,
    Action,
    AnswerClosed,
    AnswerOpened,
    AnswerSynced,
    Carried,
    ChainAdvanced,
    Deliver,
    DeliveryFailed,
    Dropped,
    Evaluated,
    Event,
    Fail,
    Fetch,
    Fetched,
    FetchFailed,
    Finish,
    Keep,
    LocalFailure,
    Merge,
    Merged,
    MLDisconnected,
    ModelReceived,
    Refused,
    SessionRequested,
    SiteFailed,
    Timer,
    TimerFired,
)
from swarmlearning.rounds.leading import MERGING, Leading
from swarmlearning.rounds.results import NO_MODEL, ModelRef, Results
from swarmlearning.rounds.settings import LONGEST_PAUSE, LONGEST_WORK_PAUSE, RoundSettings
from swarmlearning.rounds.watching import Watching
from swarmlearning.rounds.work import RoundFacts
from swarmlearning.views.training import Waiting, waiting

TOO_LATE = f"training of contract {{}} is over; {ANEW}"
MISSED_THE_END = (
    "training is over: the other sites have ended with the final model while this one was away. Copy it from there"
)


class RoundMachine:
    """One SL node's part in one training contract. `handle` is its only door."""

    def __init__(
        self, uid: str, incarnation: int, training: Training, settings: RoundSettings, held: Iterable[str] = ()
    ) -> None:
        self._uid = uid
        self._work = RoundFacts(uid, incarnation, training, held)
        self._leading = Leading(self._work, settings)
        self._watching = Watching(self._work, settings)
        self._results = Results(self._work)
        self._carrying = Carrying(self._work)
        self._settings = settings
        # the ML process
        self._session: OpenSession | None = None
        self._begun = False
        self._joined = False
        self._opened = False
        self._run = training.run
        self._waiting: Handed | None = None
        self._closed: Handed | None = None
        self._has = NO_MODEL
        self._delivering: ModelRef | None = None
        self._served = False
        self._epochs = (0, 0)
        self._failed = False
        self._kept: tuple[str, ...] = ()
        self._finished = False

    @property
    def waiting(self) -> Waiting | None:
        """What the ML process waits for, None while it does not."""
        return waiting(self._training) if self._waiting or self._waiting_to_join() else None

    def handle(self, event: Event, now: float) -> list[Action]:
        """Notes the event and returns what is to be done; `now` is in seconds of any clock that never goes back."""
        self._work.now = now
        noted = list(self._note(event))
        decided = list(self._decide())
        return [*noted, *self._work.cancel_unwanted(), *decided]

    # --- facts ------------------------------------------------------------------------------------------------------

    @property
    def _training(self) -> Training:
        return self._work.training

    def _note(self, event: Event) -> Iterator[Action]:
        work = self._work
        match event:
            case ChainAdvanced(training, height, leader_height) if height >= work.height:
                work.advance(training, height, leader_height)
            case SessionRequested() | ModelReceived() | Evaluated() | MLDisconnected():
                yield from self._note_ml(event)
            case Fetched(digest):
                work.fetched(digest)
                self._leading.fetched(digest)
            case FetchFailed(digest, _, code) if work.ended(Fetch(digest, ())):
                self._leading.fetch_failed(digest, code)
                wanted = digest == self._results.latest().digest
                yield from work.pause(digest, LONGEST_PAUSE if wanted else LONGEST_WORK_PAUSE)
            case LocalFailure(task, reason, permanent) if work.ended(task):
                yield from self._leading.failed(task)
                yield from work.pause(MERGING if isinstance(task, Merge) else task.digest, LONGEST_WORK_PAUSE)
                if permanent:
                    yield from self._fail(reason)
            case SiteFailed(reason):
                yield from self._fail(reason)
            case Dropped(digest) if digest in work.held:
                self._drop(digest)
            case DeliveryFailed(digest):
                self._delivering = None
                self._drop(digest)
            case Merged():
                yield from self._leading.merged(event)
            case Carried():
                self._carrying.carried(event)
            case TimerFired(timer, moved):
                work.woke(timer, moved)
            case Accepted(body, height):
                self._joined = self._joined or body == self._session
                work.accepted(body, height)
            case Refused(body, code, detail, height):
                yield from work.refused(body, height)
                if not is_transient(code) and isinstance(body, OpenSession | Submit | CloseSession):
                    yield from self._fail(f"{detail} ({code})")

    def _note_ml(self, event: SessionRequested | ModelReceived | Evaluated | MLDisconnected) -> Iterator[Action]:
        match event:
            case SessionRequested(session, holds):
                self._session, self._joined, self._opened, self._failed = session, False, False, False
                self._begun = True
                self._waiting = self._closed = None
                latest = self._results.latest()
                self._has = latest if holds and holds == latest.digest else NO_MODEL
                self._delivering, self._run = None, self._training.run
                self._work.sent.pop(session, None)  # a refusal of the session before says nothing about this one
            case ModelReceived(digest, size, closing):
                self._work.held.add(digest)
                self._waiting, self._served = Handed(digest, size), False
                self._carrying.begin()
                if closing:
                    self._closed = self._waiting
            case Evaluated(loss, metric, epochs, total_epochs):
                yield from self._evaluated(loss, metric, epochs, total_epochs)
            case MLDisconnected():
                self._session, self._waiting, self._delivering = None, None, None

    def _drop(self, digest: str) -> None:
        """Not what is being delivered: that has left the store for the ML process, which will answer."""
        self._work.held.discard(digest)
        self._results.dropped(digest)

    def _fail(self, text: str) -> Iterator[Action]:
        if self._session and not self._failed:
            self._failed, self._waiting = True, None
            yield Fail(text)

    def _evaluated(self, loss: float | None, metric: float | None, epochs: int, total: int) -> Iterator[Action]:
        if self._delivering is None:
            return
        self._has, self._delivering, self._served = self._delivering, None, True
        self._epochs = (epochs, total)
        result = self._training.result
        if result and (result.closed.number, result.digest) == self._has:
            yield from self._work.send(ReportPerformance(result.closed.number, loss, metric, epochs, total))

    # --- decisions --------------------------------------------------------------------------------------------------

    def _decide(self) -> Iterator[Action]:
        if self._finished:
            return
        if self._run != self._training.run and self._session:
            yield from self._fail("the training contract was reset by an operator; start the training again")
            return
        me = self._training.members.get(self._uid)
        yield from self._attend(me)
        if me and me.incarnation == self._work.incarnation:
            self._carrying.update_merge_status(self._results.latest())
            yield from self._contribute(me)
            yield from self._take_result(me)
            yield from self._leading.decide()
            yield from self._watching.decide()
        yield from self._keep()
        yield from self._finish()

    def _attend(self, me: Member | None) -> Iterator[Action]:
        """Opens the session, and says when the ML process is gone."""
        mine = me is not None and me.incarnation == self._work.incarnation
        if self._session and not self._failed:
            if not self._joined and self._training.settled:
                yield from self._fail(TOO_LATE.format(self._training.name))
            elif not self._training.settled and (not self._joined or not mine or (me and self._session_superseded(me))):
                if me or not self._training.over:  # else wait: its result may be void yet
                    yield from self._work.send(self._session)
            elif me and (me.present or self._training.settled) and not self._opened:
                self._opened = True
                yield AnswerOpened()
        elif mine and me and me.present and not self._session and not self._training.over:
            yield from self._work.send(Lost(self._uid, self._work.incarnation))

    def _session_superseded(self, me: Member) -> bool:
        """Whether a late word of the ML process before has taken back what this one's session is."""
        closed = me.finished and not self._closed and not self._training.over
        return closed or me.attendance in ("restarted", "ml-lost")

    def _contribute(self, me: Member) -> Iterator[Action]:
        """Submits what the ML process handed over, or what it left behind."""
        if self._closed and not me.finished and not self._training.over:
            yield from self._work.send(CloseSession(me.checkin))
            return
        current = self._training.round
        if current is None or self._uid in current.late:
            return
        if self._uid in current.submissions and self._uid not in current.unreachable:
            return
        kind, model = self._model_for(me, current)
        known = current.submissions.get(self._uid)
        if known and (model is None or model.digest == known.digest or current.phase == "frozen"):
            return
        if model and not current.bars(self._uid, model.digest):
            self._carrying.submitted(current.number, model.digest)
            weight = contract.weight_in(current, me, kind)
            yield from self._work.send(Submit(current.number, current.base, kind, model.digest, model.size, weight))

    def _model_for(self, me: Member, current: Round) -> tuple[SubmissionKind, Handed | None]:
        if self._closed:
            return me.checkin, self._checkin(me, self._closed)
        if self._waiting is None or self._served:
            return "trained", None
        if self._has == self._results.latest() or not current.base:
            return "trained", self._waiting
        return "carried", self._carrying.model_onto(current.base)

    def _checkin(self, me: Member, closed: Handed) -> Handed | None:
        """What a finished member contributes; `active` is the latest merged model, None while that is on its way."""
        result, digest = self._training.result, self._results.latest().digest
        if me.checkin != "active" or not digest or (result and self._uid in result.missing):
            return closed
        if digest in self._work.held:
            return Handed(digest, result.size if result else 0)
        return None if result else closed

    def _take_result(self, me: Member) -> Iterator[Action]:
        """Fetches each new result at once, delivers it when the ML process waits, and answers the ML process."""
        latest = self._results.latest()
        yield from self._results.check()
        if latest.digest and latest.digest not in self._work.held:
            if latest.digest not in self._work.fetching and self._results.ended_elsewhere():
                yield from self._fail(MISSED_THE_END)
            else:
                yield from self._results.fetch()
        elif self._delivering is not None:
            if self._delivering != latest:
                yield from self._say_held(me, latest)
        elif self._waiting and latest.digest and self._has != latest:
            if self._worth_carrying(latest):
                yield from self._carrying.carry(self._waiting, self._has, latest)
                yield from self._say_held(me, latest)
            else:
                self._delivering = latest
                yield Deliver(latest.digest)
        elif self._waiting:
            if self._has == latest:
                yield from self._say_held(me, latest)  # a statement that it misses it may have come later
            yield from self._answer(me)
        else:
            yield from self._say_held(me, latest)

    def _say_held(self, me: Member, latest: ModelRef) -> Iterator[Action]:
        fresh = self._has in (latest, NO_MODEL) and self._delivering is None
        yield from self._results.say_held(me, self._epochs, fresh=fresh)

    def _worth_carrying(self, latest: ModelRef) -> bool:
        due = not (self._closed or self._served or self._training.over)
        return due and self._carrying.is_worth_it(self._has, latest)

    def _answer(self, me: Member) -> Iterator[Action]:
        """Lets the ML process go on once it has been served a result; end, once the final one is settled.

        With an adaptive interval that waits for all contributors' losses, as long as a leader would wait for them.
        """
        over, result = self._training.over, self._training.result
        if (over and not self._training.settled) or (self._closed and not over) or (not over and not self._served):
            return
        if me.adaptive and result and not result.paced and not over:
            current = self._training.round
            pace = Timer("pace", self._work.key_of(current)) if current else None
            if pace is None or not (yield from self._work.elapsed(pace, self._settings.full_quorum_seconds)):
                return
        self._waiting = None
        yield AnswerClosed() if self._closed else AnswerSynced(me.interval, over)

    def _keep(self) -> Iterator[Action]:
        """Names the models still needed whenever that changes."""
        needed = {handed.digest for handed in (self._waiting, self._closed) if handed}
        if self._carrying.model:
            needed.add(self._carrying.model.digest)
        if self._session:
            needed.add(self._has.digest)
        needed |= {body.result for body in self._work.sent if isinstance(body, Publish)}
        result, current = self._training.result, self._training.round
        if result:
            needed |= {result.digest, result.closed.base}
        if current:
            needed |= {current.base, *(entry.digest for entry in current.submissions.values())}
        kept = tuple(sorted(needed - {""}))
        if kept != self._kept:
            self._kept = kept
            self._results.keep(needed)
            self._work.held &= needed | self._work.fetching
            self._work.forget_pauses(needed)
            yield Keep(kept)

    def _finish(self) -> Iterator[Action]:
        result = self._training.result
        if not self._training.settled or result is None or self._session or not self._begun:
            return
        if None in self._work.sent.values():
            return  # the last report has to arrive
        lacking = contract.lacking_result(self._training).difference(result.given_up)
        if not lacking or self._results.ended_elsewhere():
            self._finished = True
            yield Finish()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _waiting_to_join(self) -> bool:
        return self._session is not None and not self._opened and not self._failed
