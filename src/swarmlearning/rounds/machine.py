"""The round machine of one SL node.

Theory of operation
-------------------
The machine holds two kinds of facts: the training contract as the verified chain shows it, and what happened at this
node (what the ML process waits for, which models are in the store, what is under way). Every event updates the facts;
then `_decide` looks at them and says what is to be done *now*. It is level-triggered: nothing depends on having seen
every intermediate state, so a restart, a reconnection that skips twenty blocks, or an event that comes twice leads to
the same decisions. What is under way is remembered only to keep it from being started twice.

The ML process' side:

    handed parameters ─▶ built on the standing result?  ── yes ─▶ Submit, wait for the round's result
                                 │ no (latecomer, straggler, returner)
                                 ▼
                  a result newer than the one the ML process has ─▶ Fetch ─▶ Deliver ─▶ Evaluated
                                                                   ─▶ ReportPerformance, answer the ML process

After local training has ended (`closing`) the node submits by its check-in mode in every round, and each new result
is delivered, until training is over.

The leader's side: fetch every model as soon as it is submitted; when enough are in, give the others a grace, then
Freeze; when frozen and all contributors' models are here or known to be unusable, Merge; then Publish.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from swarmlearning.ledger.bodies import (
    CloseSession,
    Freeze,
    Lost,
    Missing,
    OpenSession,
    Publish,
    ReportPerformance,
    SubmissionKind,
    Submit,
    TrainingBody,
)
from swarmlearning.ledger.contracts import training as contract
from swarmlearning.ledger.contracts.training import Member, Result, Round, Training
from swarmlearning.rounds.events import (
    Accepted,
    Action,
    AnswerClosed,
    AnswerOpened,
    AnswerSynced,
    ChainAdvanced,
    Deliver,
    Dropped,
    Evaluated,
    Event,
    Fail,
    Fetch,
    Fetched,
    FetchFailed,
    Finish,
    GraceOver,
    Keep,
    Merge,
    Merged,
    MLLeft,
    ParametersHanded,
    Refused,
    Send,
    SessionAsked,
    StartGrace,
)

NOTHING = -1
"""Round number of "no result yet"."""

Model = tuple[int, str]
"""A merged model: the round it is the result of, and its digest (a round may have several, when one got lost)."""

NO_MODEL: Model = (NOTHING, "")

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
        "stale-base",
        "stale-term",
        "submitted-already",
        "training-over",
        "wrong-weight",
    }
)
"""Refusals that only say that the chain has moved on meanwhile: the next block shows what to do instead."""

Key = tuple[int, int, int]
"""Run, round and term."""


@dataclass(frozen=True)
class Handed:
    """A model in the store that the ML process handed over."""

    digest: str
    size: int


class RoundMachine:
    """One SL node's part in one training contract. `handle` is its only door."""

    def __init__(self, uid: str, incarnation: int, training: Training, held: Iterable[str] = ()) -> None:
        self._uid = uid
        self._incarnation = incarnation
        self._training = training
        self._height = NOTHING
        self._held = set(held)
        # the ML process
        self._session: OpenSession | None = None
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
        # under way
        self._sent: dict[TrainingBody | Lost, int | None] = {}
        self._fetching: set[str] = set()
        self._tried: dict[str, frozenset[str]] = {}
        self._unusable: dict[str, str] = {}
        self._grace: tuple[Key, bool] | None = None
        self._merging: tuple[Key, tuple[str, ...]] | None = None
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

    def _note(self, event: Event) -> Iterator[Action]:
        match event:
            case ChainAdvanced(training, height) if height >= self._height:
                self._training, self._height = training, height
                self._sent = {body: at for body, at in self._sent.items() if at is None or at > height}
            case SessionAsked(session):
                self._session, self._joined, self._opened, self._failed = session, False, False, False
                self._waiting = self._closed = None
                self._has, self._delivering, self._run = NO_MODEL, None, self._training.run
                self._sent.pop(session, None)  # a refusal of the session before says nothing about this one
            case ParametersHanded(digest, size, closing):
                self._held.add(digest)
                self._waiting, self._served = Handed(digest, size), False
                if closing:
                    self._closed = self._waiting
            case Evaluated(loss, metric, epochs, total_epochs):
                yield from self._evaluated(loss, metric, epochs, total_epochs)
            case MLLeft():
                self._session, self._waiting, self._delivering = None, None, None
            case Fetched(digest):
                self._fetching.discard(digest)
                self._unusable.pop(digest, None)
                self._held.add(digest)
            case FetchFailed(digest, reason):
                self._fetching.discard(digest)
                self._unusable[digest] = reason
            case Dropped(digest):
                self._held.discard(digest)
                self._tried.pop(digest, None)
                self._merging = None
                if self._delivering and self._delivering[1] == digest:
                    self._delivering = None
            case Merged():
                yield from self._publish(event)
            case GraceOver(number, term):
                if self._grace and self._grace[0] == (self._training.run, number, term):
                    self._grace = (self._grace[0], True)
            case Accepted(body, height):
                self._joined = self._joined or body == self._session
                self._settle(body, height)
            case Refused(body, code, detail, height):
                self._settle(body, max(height, self._height + 1))
                if code not in PASSING and isinstance(body, OpenSession | Submit | CloseSession):
                    yield from self._fail(f"{detail} ({code})")
                elif code == "training-over" and isinstance(body, OpenSession):
                    yield from self._fail(detail)

    def _settle(self, body: TrainingBody | Lost, height: int) -> None:
        """A sent transaction has its answer; it counts as under way until its block has been seen."""
        if height > self._height:
            self._sent[body] = height
        else:
            self._sent.pop(body, None)

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
            yield from self._send(ReportPerformance(result.closed.number, loss, metric, epochs, total))

    def _publish(self, merged: Merged) -> Iterator[Action]:
        if self._merging and self._merging[0] == (self._training.run, merged.round, merged.term):
            self._merging = None
        current = self._training.round
        if current is None or (current.number, current.term) != (merged.round, merged.term):
            return
        if merged.result and merged.result != current.base:
            self._held.add(merged.result)
        yield from self._send(Publish(merged.round, merged.term, merged.result, merged.size, merged.receipt))

    # --- decisions --------------------------------------------------------------------------------------------------

    def _decide(self) -> Iterator[Action]:
        if self._run != self._training.run and self._session:
            yield from self._fail("the training contract was reset by an operator; start the training again")
            return
        me = self._training.members.get(self._uid)
        yield from self._attend(me)
        if me and me.incarnation == self._incarnation:
            yield from self._contribute(me)
            yield from self._take_result(me)
            yield from self._lead()
        yield from self._keep()
        yield from self._finish(me)

    def _attend(self, me: Member | None) -> Iterator[Action]:
        """Opens the session, and says when the ML process is gone."""
        mine = me is not None and me.incarnation == self._incarnation
        if self._session and not self._failed:
            if not self._joined or not mine or (me and self._undone(me)):
                yield from self._send(self._session)
            elif me and me.present and not self._opened:
                self._opened = True
                yield AnswerOpened()
        elif mine and me and me.present and not self._session and not self._training.over:
            yield from self._send(Lost(self._uid, self._incarnation))

    def _undone(self, me: Member) -> bool:
        """Whether a late word of the ML process before has taken back what this one's session is."""
        closed = me.finished and not self._closed and not self._training.over
        return closed or me.attendance in ("restarted", "ml-lost")

    def _contribute(self, me: Member) -> Iterator[Action]:
        """Submits what the ML process handed over, or what it left behind."""
        if self._closed and not me.finished and not self._training.over:
            yield from self._send(CloseSession(me.checkin))
            return
        current = self._training.round
        if current is None or self._uid in current.submissions or self._uid in current.late:
            return
        kind: SubmissionKind = me.checkin if self._closed else "trained"
        if self._closed:
            model = self._checkin(me, self._closed)
        elif self._waiting and not self._served and (self._has == self._latest() or not current.base):
            model = self._waiting
        else:
            return
        if model and current.barred.get(self._uid) != model.digest:
            weight = contract.weight_in(current, me, kind)
            yield from self._send(Submit(current.number, current.base, kind, model.digest, model.size, weight))

    def _checkin(self, me: Member, closed: Handed) -> Handed | None:
        """What a finished member contributes; `active` is the latest merged model, None while that is on its way."""
        result = self._training.result
        if me.checkin != "active" or result is None or self._uid in result.missing:
            return closed
        return Handed(result.digest, result.size) if result.digest in self._held else None

    def _latest(self) -> Model:
        """The merged model to train on from: the standing result; when that is void, the one before."""
        result, current = self._training.result, self._training.round
        if result:
            return result.closed.number, result.digest
        return (current.number - 1, current.base) if current else NO_MODEL

    def _take_result(self, me: Member) -> Iterator[Action]:
        """Fetches each new result at once, delivers it when the ML process waits, and answers the ML process."""
        result, latest = self._training.result, self._latest()
        if self._delivering is not None:
            return
        if latest[1] and latest[1] not in self._held:
            yield from self._fetch_latest(latest[1], result)
        elif self._waiting and latest[1] and self._has != latest:
            self._delivering = latest
            yield Deliver(latest[1])
        elif self._waiting:
            yield from self._answer(me, result)
        elif result and self._uid not in result.holders and (self._training.over or not me.awaited) and me.present:
            yield from self._send(ReportPerformance(latest[0], None, None, *self._epochs))

    def _answer(self, me: Member, result: Result | None) -> Iterator[Action]:
        """Lets the ML process go on once it has been served a result, or has the final one already."""
        if self._closed:
            if self._training.over:
                self._waiting = None
                yield AnswerClosed()
        elif self._training.over or (self._served and (result is None or result.paced or not me.adaptive)):
            self._waiting = None
            yield AnswerSynced(me.interval, self._training.over)

    def _fetch_latest(self, digest: str, result: Result | None) -> Iterator[Action]:
        """States `Missing` once all who have the result were asked in vain, and goes on asking: they may come back.

        Who has the model before a void result is not recorded: everybody is asked.
        """
        if digest in self._fetching:
            return
        holders = frozenset(result.holders if result else self._training.members) - {self._uid}
        if result and self._uid not in result.missing and holders <= self._tried.get(digest, frozenset()):
            yield from self._send(Missing(result.closed.number))
        if holders:
            self._tried[digest] = holders
            likeliest = sorted(holders, key=lambda uid: (result is None or uid != result.leader, uid))
            yield self._fetch(digest, result.size if result else 0, tuple(likeliest))

    def _lead(self) -> Iterator[Action]:
        current = self._training.round
        if current is None or current.leader != self._uid or self._training.terms is None:
            self._unusable.clear()
            return
        if any(_publishes(body, current) for body in self._sent):
            self._unusable.clear()  # should the round collect again, everybody gets another chance
            return
        holders: dict[str, list[str]] = {}
        for uid, entry in sorted(current.submissions.items()):
            if entry.weight > 0:
                holders.setdefault(entry.digest, []).append(uid)
        self._unusable = {digest: why for digest, why in self._unusable.items() if digest in holders}
        for digest, uids in holders.items():
            if digest not in self._held and digest not in self._fetching and digest not in self._unusable:
                others = tuple(uid for uid in uids if uid != self._uid)
                yield self._fetch(digest, current.submissions[uids[0]].size, others)
        key = (self._training.run, current.number, current.term)
        if current.frozen:
            yield from self._merge(current, key)
        elif len(current.submissions) >= self._training.terms.min_peers:
            yield from self._wait_for_others(current, key)

    def _wait_for_others(self, current: Round, key: Key) -> Iterator[Action]:
        if self._grace is None or self._grace[0] != key:
            self._grace = (key, False)
            yield StartGrace(current.number, current.term)
        elif self._grace[1]:
            yield from self._send(Freeze(current.number, current.term))

    def _merge(self, current: Round, key: Key) -> Iterator[Action]:
        entries = tuple(entry for _, entry in sorted(current.submissions.items()))
        settled = self._held | self._unusable.keys()
        if any(entry.weight > 0 and entry.digest not in settled for entry in entries):
            return
        if current.base in self._fetching:
            return  # a merge may need the previous model
        task = (key, tuple(entry.digest for entry in entries))
        if self._merging == task:
            return
        self._merging = task
        usable = tuple(entry for entry in entries if entry.digest not in self._unusable)
        unusable = tuple(
            (entry.uid, self._unusable[entry.digest]) for entry in entries if entry.digest in self._unusable
        )
        yield Merge(current.number, current.term, current.base, usable, unusable)

    def _keep(self) -> Iterator[Action]:
        """Names the models still needed whenever that changes."""
        needed = {handed.digest for handed in (self._waiting, self._closed) if handed}
        needed |= {body.result for body in self._sent if isinstance(body, Publish)}
        result, current = self._training.result, self._training.round
        if result:
            needed |= {result.digest, result.closed.base}
        if current:
            needed |= {current.base, *(entry.digest for entry in current.submissions.values())}
        kept = tuple(sorted(needed - {""}))
        if kept != self._kept:
            self._kept = kept
            self._tried = {digest: asked for digest, asked in self._tried.items() if digest in needed}
            self._held &= needed | self._fetching
            yield Keep(kept)

    def _finish(self, me: Member | None) -> Iterator[Action]:
        result = self._training.result
        if not self._training.over or result is None or self._session or self._finished:
            return
        if all(uid in result.holders for uid, member in self._training.members.items() if member.present):
            self._finished = True
            yield Finish()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _send(self, body: TrainingBody | Lost) -> Iterator[Action]:
        if body not in self._sent:
            self._sent[body] = None
            yield Send(body)

    def _fetch(self, digest: str, size: int, holders: tuple[str, ...]) -> Fetch:
        self._fetching.add(digest)
        return Fetch(digest, size, holders)

    def _asked_in_vain(self) -> bool:
        return self._session is not None and not self._opened and not self._failed


def _publishes(body: TrainingBody | Lost, current: Round) -> bool:
    return isinstance(body, Publish) and (body.round, body.term) == (current.number, current.term)
