"""The round machine of one SL node.

Theory of operation
-------------------
The machine holds two kinds of facts: the training contract as the verified chain shows it, and what happened at this
node (what the ML process waits for, which models are in the store, what is under way). Every event updates the facts;
then `_decide` looks at them and says what is to be done *now*. It is level-triggered: nothing depends on having seen
every intermediate state, so a restart, a reconnection that skips twenty blocks, or an event that comes twice leads to
the same decisions. Time is an event too: what is to be done later is asked for by `Wake` and looked at again when the
node `Woke`.

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

The leader's side is in `leading.py`; the facts, and what is under way, are in `work.py`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from swarmlearning.ledger.bodies import (
    CloseSession,
    Lost,
    Missing,
    OpenSession,
    Publish,
    ReportPerformance,
    SubmissionKind,
    Submit,
)
from swarmlearning.ledger.contracts import training as contract
from swarmlearning.ledger.contracts.training import Member, Result, Training
from swarmlearning.rounds.events import (
    Accepted,
    Action,
    AnswerClosed,
    AnswerOpened,
    AnswerSynced,
    Carried,
    Carry,
    ChainAdvanced,
    Deliver,
    Dropped,
    Evaluated,
    Event,
    Fail,
    Fetched,
    FetchFailed,
    Finish,
    Hindered,
    Keep,
    Merged,
    MLLeft,
    ParametersHanded,
    Refused,
    SessionAsked,
    Timer,
    Verify,
    Woke,
)
from swarmlearning.rounds.leading import Leading
from swarmlearning.rounds.settings import QUIET_SECONDS, RoundSettings
from swarmlearning.rounds.work import NEVER, Work

NOTHING = -1
"""Round number of "no result yet"."""

Model = tuple[int, str]
"""A merged model: the round it is the result of, and its digest (a round may have several, when one got lost)."""

NO_MODEL: Model = (NOTHING, "")

TOO_LATE = "training of contract {} is over; an operator resets it (RESET CONTRACT) before the next one"
MISSED_THE_END = (
    "training is over: the other sites have ended with the final model while this one was away. Copy it from there"
)

PASSING = frozenset(
    {
        "closed-already",
        "collecting",
        "excluded",
        "frozen-already",
        "below-min-peers",
        "no-change",
        "finished",
        "no-round",
        "not-a-member",
        "not-closed",
        "not-leader",
        "old-incarnation",
        "other-round",
        "progress",
        "stale-base",
        "stale-term",
        "submitted-already",
        "training-over",
        "wrong-weight",
    }
)
"""Refusals that only say that the chain has moved on meanwhile: the next block shows what to do instead."""


@dataclass(frozen=True)
class Handed:
    """A model in the store that the ML process handed over."""

    digest: str
    size: int


class RoundMachine:
    """One SL node's part in one training contract. `handle` is its only door."""

    def __init__(
        self, uid: str, incarnation: int, training: Training, settings: RoundSettings, held: Iterable[str] = ()
    ) -> None:
        self._uid = uid
        self._work = Work(uid, incarnation, training, held)
        self._leading = Leading(self._work, settings)
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
        self._delivering: Model | None = None
        self._served = False
        self._epochs = (0, 0)
        self._failed = False
        self._submitted: set[int] = set()
        self._merged_in = NOTHING
        self._carried: tuple[str, Handed | None] | None = None
        self._carrying: tuple[str, str] | None = None
        self._tried: dict[str, frozenset[str]] = {}
        self._moved_then = 0
        self._doubted: tuple[str, tuple[str, ...]] | None = None
        self._kept: tuple[str, ...] = ()
        self._finished = False

    @property
    def waiting_text(self) -> str | None:
        """What the ML process waits for, None while it does not."""
        return contract.waiting_text(self._training) if self._waiting or self._asked_in_vain() else None

    def handle(self, event: Event) -> list[Action]:
        """Takes note of the event and says what is to be done now."""
        actions = list(self._note(event))
        actions.extend(self._decide())
        return actions

    # --- facts ------------------------------------------------------------------------------------------------------

    @property
    def _training(self) -> Training:
        return self._work.training

    def _note(self, event: Event) -> Iterator[Action]:
        work = self._work
        match event:
            case ChainAdvanced(training, height, leader_height) if height >= work.height:
                work.advance(training, height, leader_height)
            case SessionAsked() | ParametersHanded() | Evaluated() | MLLeft():
                yield from self._note_ml(event)
            case Fetched(digest):
                work.fetched(digest)
                self._leading.fetched(digest)
            case FetchFailed(digest, reason):
                work.fetching.discard(digest)
                self._leading.fetch_failed(digest, reason)
                yield from work.pause(digest)
            case Hindered(digest):
                work.fetching.discard(digest)
                yield from self._leading.hindered()
                yield from work.pause(digest)
            case Dropped(digest) if digest in work.held:
                work.held.discard(digest)
                self._tried.pop(digest, None)
                self._leading.dropped()
                if self._delivering and self._delivering[1] == digest:
                    self._delivering = None
            case Merged():
                yield from self._leading.merged(event)
            case Carried(digest, onto, result, size):
                self._note_carried(digest, onto, result, size)
            case Woke(timer, moved):
                work.woke(timer, moved)
            case Accepted(body, height):
                self._joined = self._joined or body == self._session
                work.answered(body, height)
            case Refused(body, code, detail, height):
                work.answered(body, max(height, work.height + 1))
                if code not in PASSING and isinstance(body, OpenSession | Submit | CloseSession):
                    yield from self._fail(f"{detail} ({code})")

    def _note_ml(self, event: SessionAsked | ParametersHanded | Evaluated | MLLeft) -> Iterator[Action]:
        match event:
            case SessionAsked(session, holds):
                self._session, self._joined, self._opened, self._failed = session, False, False, False
                self._begun = True
                self._waiting = self._closed = None
                latest = self._latest()
                self._has = latest if holds and holds == latest[1] else NO_MODEL
                self._delivering, self._run = None, self._training.run
                self._work.sent.pop(session, None)  # a refusal of the session before says nothing about this one
            case ParametersHanded(digest, size, closing):
                self._work.held.add(digest)
                self._waiting, self._served = Handed(digest, size), False
                self._submitted, self._merged_in = set(), NOTHING
                self._carried = self._carrying = None
                if closing:
                    self._closed = self._waiting
            case Evaluated(loss, metric, epochs, total_epochs):
                yield from self._evaluated(loss, metric, epochs, total_epochs)
            case MLLeft():
                self._session, self._waiting, self._delivering = None, None, None

    def _note_carried(self, digest: str, onto: str, result: str, size: int) -> None:
        if self._carrying == (digest, onto) and self._waiting:
            self._carrying = None
            self._carried = (onto, Handed(result, size) if result else None)
            if result:
                self._work.held.add(result)

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
            self._see_what_became_of_it()
            yield from self._contribute(me)
            yield from self._take_result(me)
            yield from self._leading.decide()
        yield from self._keep()
        yield from self._finish()

    def _attend(self, me: Member | None) -> Iterator[Action]:
        """Opens the session, and says when the ML process is gone."""
        mine = me is not None and me.incarnation == self._work.incarnation
        if self._session and not self._failed:
            if not self._joined and self._training.settled:
                yield from self._fail(TOO_LATE.format(self._training.name))
            elif not self._joined or not mine or (me and self._undone(me)):
                if me or not self._training.over:  # else wait: its result may be void yet
                    yield from self._work.send(self._session)
            elif me and me.present and not self._opened:
                self._opened = True
                yield AnswerOpened()
        elif mine and me and me.present and not self._session and not self._training.over:
            yield from self._work.send(Lost(self._uid, self._work.incarnation))

    def _undone(self, me: Member) -> bool:
        """Whether a late word of the ML process before has taken back what this one's session is."""
        closed = me.finished and not self._closed and not self._training.over
        return closed or me.attendance in ("restarted", "ml-lost")

    def _contribute(self, me: Member) -> Iterator[Action]:
        """Submits what the ML process handed over, or what it left behind."""
        if self._closed and not me.finished and not self._training.over:
            yield from self._work.send(CloseSession(me.checkin))
            return
        current = self._training.round
        if current is None or self._uid in current.submissions or self._uid in current.late:
            return
        kind: SubmissionKind = me.checkin if self._closed else "trained"
        if self._closed:
            model = self._checkin(me, self._closed)
        elif self._waiting and not self._served and (self._has == self._latest() or not current.base):
            model = self._waiting
        elif self._waiting and not self._served and self._carried and self._carried[0] == current.base:
            kind, model = "carried", self._carried[1]
        else:
            return
        if model and current.barred.get(self._uid) != model.digest:
            self._submitted.add(current.number)
            weight = contract.weight_in(current, me, kind)
            yield from self._work.send(Submit(current.number, current.base, kind, model.digest, model.size, weight))

    def _see_what_became_of_it(self) -> None:
        """Which round has merged what the ML process handed over; one whose result was not seen may have."""
        latest, result = self._latest()[0], self._training.result
        if latest < self._merged_in:
            self._merged_in = NOTHING  # its result is void
        if result and latest in self._submitted:
            self._submitted.discard(latest)
            if any(part.uid == self._uid for part in result.receipt.contributions):
                self._merged_in = latest
        self._merged_in = max([self._merged_in, *(number for number in self._submitted if number < latest)])

    def _checkin(self, me: Member, closed: Handed) -> Handed | None:
        """What a finished member contributes; `active` is the latest merged model, None while that is on its way."""
        result, digest = self._training.result, self._latest()[1]
        if me.checkin != "active" or not digest or (result and self._uid in result.missing):
            return closed
        if digest in self._work.held:
            return Handed(digest, result.size if result else 0)
        return None if result else closed

    def _latest(self) -> Model:
        """The merged model to train on from: the standing result; when that is void, the one before."""
        result, current = self._training.result, self._training.round
        if result:
            return result.closed.number, result.digest
        return (current.number - 1, current.base) if current else NO_MODEL

    def _take_result(self, me: Member) -> Iterator[Action]:
        """Fetches each new result at once, delivers it when the ML process waits, and answers the ML process."""
        result, latest = self._training.result, self._latest()
        yield from self._check(result)
        if latest[1] and latest[1] not in self._work.held:
            yield from self._fetch_latest(latest[1], result)
        elif self._delivering is not None:
            if self._delivering != latest:
                yield from self._say_held(me, latest)
        elif self._waiting and latest[1] and self._has != latest:
            if self._worth_carrying(latest):
                yield from self._carry(self._waiting, latest)
                yield from self._say_held(me, latest)
            else:
                self._delivering = latest
                yield Deliver(latest[1])
        elif self._waiting:
            if self._has == latest:
                yield from self._say_held(me, latest)  # a statement that it misses it may have come later
            yield from self._answer(me, result)
        else:
            yield from self._say_held(me, latest)

    def _say_held(self, me: Member, latest: Model) -> Iterator[Action]:
        """Reports that the result is in the store, where the ML process will not soon do so with its loss."""
        result = self._training.result
        if result is None or me.attendance not in ("present", "ml-lost") or self._reporting(latest[0]):
            return
        if self._uid in result.holders and me.performance and me.performance.round == latest[0]:
            return
        fresh = self._has in (latest, NO_MODEL) and self._delivering is None  # else the ML process has an older one
        yield from self._work.send(ReportPerformance(latest[0], None, None, *self._epochs, loaded=fresh))

    def _check(self, result: Result | None) -> Iterator[Action]:
        """Where others can get the result from nobody although it is here, the copy here may be damaged."""
        others = tuple(uid for uid in result.missing if uid != self._uid) if result else ()
        if result and others and result.digest in self._work.held:
            doubt = (result.digest, others)
            if doubt != self._doubted:
                self._doubted = doubt
                yield Verify(result.digest)

    def _worth_carrying(self, latest: Model) -> bool:
        """Whether the ML process has trained from an earlier result, what no round has taken yet and one still may."""
        result, base = self._training.result, self._has[1]
        if self._closed or self._served or self._training.over or result is None:
            return False
        if not base or base not in self._work.held or self._has[0] >= latest[0] or self._merged_in > NOTHING:
            return False
        unusable = any(part.uid == self._uid for part in result.receipt.exclusions)
        return not unusable and self._carried != (latest[1], None)

    def _carry(self, waiting: Handed, latest: Model) -> Iterator[Action]:
        if (self._carried is None or self._carried[0] != latest[1]) and self._carrying != (waiting.digest, latest[1]):
            self._carrying = (waiting.digest, latest[1])
            yield Carry(waiting.digest, self._has[1], latest[1], latest[0] - self._has[0])

    def _answer(self, me: Member, result: Result | None) -> Iterator[Action]:
        """Lets the ML process go on once it has been served a result; end, once the final one is settled.

        With an adaptive interval that waits for all contributors' losses, as long as a leader would wait for them.
        """
        over = self._training.over
        if (over and not self._training.settled) or (self._closed and not over) or (not over and not self._served):
            return
        if me.adaptive and result and not result.paced and not over:
            current = self._training.round
            pace = Timer("pace", self._work.key_of(current)) if current else None
            if pace is None or not (yield from self._work.elapsed(pace, self._settings.full_quorum_seconds)):
                return
        self._waiting = None
        yield AnswerClosed() if self._closed else AnswerSynced(me.interval, over)

    def _fetch_latest(self, digest: str, result: Result | None) -> Iterator[Action]:
        """States `Missing` once all who have the result were asked in vain, and goes on asking: they may come back.

        Who has the model before a void result is not recorded: everybody is asked.
        """
        if digest in self._work.fetching:
            yield from self._watch_fetch(digest, result)
            return
        if self._missed_the_end():
            yield from self._fail(MISSED_THE_END)
            return
        holders = frozenset(result.holders if result else self._training.members) - {self._uid}
        if result and self._uid not in result.missing and holders <= self._tried.get(digest, frozenset()):
            yield from self._work.send(Missing(result.closed.number))
        if holders and not self._work.pausing(digest):
            self._tried[digest] = holders
            likeliest = sorted(holders, key=lambda uid: (result is None or uid != result.leader, uid))
            yield from self._work.fetch(digest, result.size if result else 0, tuple(likeliest))

    def _watch_fetch(self, digest: str, result: Result | None) -> Iterator[Action]:
        """A fetch that hangs here is as good as none: the others must not wait for this node's statement."""
        timer = Timer("fetch", NEVER, digest)
        if (yield from self._work.elapsed(timer, QUIET_SECONDS)):
            self._work.again(timer)
            yield from self._work.elapsed(timer, QUIET_SECONDS)
            if self._work.moved == self._moved_then and result and self._uid not in result.missing:
                yield from self._work.send(Missing(result.closed.number))
            self._moved_then = self._work.moved

    def _keep(self) -> Iterator[Action]:
        """Names the models still needed whenever that changes."""
        needed = {handed.digest for handed in (self._waiting, self._closed) if handed}
        if self._carried and self._carried[1]:
            needed.add(self._carried[1].digest)
        if self._session:
            needed.add(self._has[1])
        needed |= {body.result for body in self._work.sent if isinstance(body, Publish)}
        result, current = self._training.result, self._training.round
        if result:
            needed |= {result.digest, result.closed.base}
        if current:
            needed |= {current.base, *(entry.digest for entry in current.submissions.values())}
        kept = tuple(sorted(needed - {""}))
        if kept != self._kept:
            self._kept = kept
            self._tried = {digest: asked for digest, asked in self._tried.items() if digest in needed}
            self._work.held &= needed | self._work.fetching
            self._work.forget_pauses(needed)
            yield Keep(kept)

    def _finish(self) -> Iterator[Action]:
        result = self._training.result
        if not self._training.settled or result is None or self._session or not self._begun:
            return
        if None in self._work.sent.values():
            return  # the last report has to arrive
        lacking = [uid for uid, one in self._training.members.items() if one.present and uid not in result.holders]
        if not lacking or self._missed_the_end():
            self._finished = True
            yield Finish()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _missed_the_end(self) -> bool:
        """Whether the others have ended with the final model, and nobody is there who could give it."""
        result = self._training.result
        if result is None or result.digest in self._work.held or not self._training.settled:
            return False
        return not any(self._training.members[uid].attendance in ("present", "ml-lost") for uid in result.holders)

    def _reporting(self, number: int) -> bool:
        """Whether a report on this round's result is on its way."""
        return any(isinstance(body, ReportPerformance) and body.round == number for body in self._work.sent)

    def _asked_in_vain(self) -> bool:
        return self._session is not None and not self._opened and not self._failed
