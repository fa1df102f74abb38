"""The round machine of one SL node.

Theory of operation
-------------------
The machine holds two kinds of facts: the training contract as the verified chain shows it, and what happened at this
node (the phase of its ML process, which models are in the store, what is under way). Every event updates the facts;
then `_decide` looks at them and puts into an outbox what is to be done *now*. It is level-triggered: nothing depends on
having seen every intermediate state, so a restart, a reconnection that skips twenty blocks, or an event that comes
twice leads to the same decisions. Work that a decision no longer wants is cancelled. Time is an event too: what is to
be done later is requested by `SetTimer` and looked at again at `TimerFired`.

Which module handles which event, and decides what:

    SessionRequested, ModelReceived,     mlsession     the ML process' phases (the table is in `phases`), its session
    Evaluated, MLDisconnected,                         on the ledger, delivering the result, letting it train on
    DeliveryFailed, SiteFailed
    ModelReceived, Carried               carrying      which round has merged the model, carrying a straggler's over
    -                                    contributing  which model is submitted
    Released                             releasing     what is submitted in its place: what a privacy lock makes of it,
                                                       a coded change
    Fetched, FetchFailed, Dropped,       results       getting the standing result, reporting that it is held or missing
    LocalFailure                         leading       collecting, freezing, merging, publishing as leader
    Merged                               leading
    SliceMerged, SliceUnmergeable,       sharing       merging, fetching and stating slices; publishing what all have
    SliceFetched, SliceMissing,                        merged
    SlicesLost, Assembled, Weighed,
    LinkMeasured
    CheckWanted, Rechecked, Uncheckable  checking      merging a part of a result again, to see whether it is right
    -                                    watching      reporting a leader that stands still
    ChainAdvanced, Accepted, Refused     facts         the contract's state, transactions under way
    TimerFired                           timers        time-outs, pauses before what failed is tried again

After local training has ended the node submits by its check-in mode in every round, and each new result is delivered,
until training is over.
"""

from collections.abc import Iterable

from swarmlearning.ledger.bodies import CloseSession, Publish, Submit
from swarmlearning.ledger.codes import Code, is_transient
from swarmlearning.ledger.contracts.training.majorities import lacking_result
from swarmlearning.ledger.contracts.training.state import Member, Training
from swarmlearning.ledger.contracts.training.steps import made_of
from swarmlearning.rounds.carrying import Carrying
from swarmlearning.rounds.checking import Checking
from swarmlearning.rounds.checks import CheckWanted, Rechecked, Uncheckable
from swarmlearning.rounds.contributing import Contributing
from swarmlearning.rounds.events import (
    Accepted,
    Action,
    Carried,
    ChainAdvanced,
    DeliveryFailed,
    Dropped,
    Evaluated,
    Event,
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
    Released,
    SessionRequested,
    SiteFailed,
    TimerFired,
)
from swarmlearning.rounds.facts import RoundFacts
from swarmlearning.rounds.leading import MERGING, Leading
from swarmlearning.rounds.mlsession import RESET, MLSession
from swarmlearning.rounds.releasing import Releasing
from swarmlearning.rounds.results import Results
from swarmlearning.rounds.settings import LONGEST_PAUSE, LONGEST_WORK_PAUSE, RoundSettings
from swarmlearning.rounds.sharing import Sharing
from swarmlearning.rounds.slices import Assemble, FetchSlice, MergeSlice, SliceEvent, WeighModels
from swarmlearning.rounds.watching import Watching
from swarmlearning.views.training import Waiting, waiting

MISSED_THE_END = (
    "training is over: the other sites have ended with the final model while this one was away or could not get "
    "it. Copy it from there"
)


class RoundMachine:
    """One SL node's part in one training contract. `handle` is its only door."""

    def __init__(
        self,
        uid: str,
        incarnation: int,
        training: Training,
        settings: RoundSettings,
        held: Iterable[str] = (),
        released: Iterable[Released] | None = None,
        coded: Iterable[Released] = (),
    ) -> None:
        """`released`: what the site's privacy lock has given before; None without a lock. `coded`: changes that were
        given without one."""
        self._uid = uid
        self._facts = RoundFacts(uid, incarnation, training, held)
        self._results = Results(self._facts, settings)
        self._carrying = Carrying(self._facts)
        self._ml = MLSession(self._facts, self._results, self._carrying, settings)
        self._releasing = Releasing(self._facts, released, coded)
        self._contributing = Contributing(self._facts, self._carrying, self._ml, self._releasing)
        self._leading = Leading(self._facts, settings)
        self._sharing = Sharing(self._facts, settings)
        self._checking = Checking(self._facts, settings)
        self._watching = Watching(self._facts, settings)
        self._kept: set[str] = set()
        self._finished = False

    @property
    def waiting(self) -> Waiting | None:
        """The state that the ML process waits for, None while it does not wait."""
        return waiting(self._facts.training) if self._ml.waits else None

    def handle(self, event: Event, now: float) -> list[Action]:
        """Notes the event and returns what is to be done; `now` is in seconds of any clock that never goes back.

        Raises `OutOfOrder` for a message of the ML process that is not possible in its phase; nothing changes then.
        """
        facts = self._facts
        facts.now = now
        if isinstance(event, CheckWanted | Rechecked | Uncheckable):
            self._checking.receive(event)
        else:
            self._note(event)
        noted = facts.collect()
        self._decide()
        return [*noted, *facts.work.cancel_unwanted(), *facts.collect()]

    # --- facts ------------------------------------------------------------------------------------------------------

    def _note(self, event: Event) -> None:
        facts = self._facts
        match event:
            case ChainAdvanced(training, height, leader_height):
                if height >= facts.height:
                    facts.advance(training, height, leader_height)
            case SessionRequested() | ModelReceived() | Evaluated() | MLDisconnected():
                self._ml.receive(event)
                if isinstance(event, ModelReceived):
                    self._carrying.known_as(event.digest, self._releasing.made_of(event.digest))
            case DeliveryFailed(digest):
                self._ml.delivery_failed(event)
                self._drop(digest)
            case SiteFailed(reason):
                self._ml.fail(reason)
            case Fetched(digest):
                facts.fetched(digest)
                self._results.fetched(digest)
                self._leading.fetched(digest)
            case FetchFailed():
                self._note_fetch_failed(event)
            case LocalFailure():
                self._note_local_failure(event)
            case Dropped(digest):
                if digest in facts.held:
                    self._drop(digest)
            case Merged():
                self._leading.merged(event)
            case Carried():
                self._carrying.carried(event)
            case Released():
                self._releasing.released(event)
            case _ if isinstance(event, SliceEvent):
                self._sharing.receive(event)
            case TimerFired(timer, moved):
                facts.moved = moved
                facts.timers.fired(timer)
            case Accepted(body, height):
                self._ml.recorded(body)
                facts.accepted(body, height)
            case Refused():
                self._note_refused(event)

    def _note_fetch_failed(self, failed: FetchFailed) -> None:
        if self._facts.work.ended(Fetch(failed.digest, ())):
            self._leading.fetch_failed(failed.digest, failed.code)
            self._results.fetch_failed(failed.digest, here=False)
            wanted = failed.digest == self._facts.latest.digest
            self._facts.timers.pause(failed.digest, LONGEST_PAUSE if wanted else LONGEST_WORK_PAUSE)

    def _note_local_failure(self, failed: LocalFailure) -> None:
        work = failed.work
        if not self._facts.work.ended(work):
            return
        self._leading.failed(work)
        if isinstance(work, MergeSlice | FetchSlice | Assemble | WeighModels):
            self._sharing.failed(work)
        else:
            if isinstance(work, Fetch):
                self._results.fetch_failed(work.digest, here=True)
            self._facts.timers.pause(MERGING if isinstance(work, Merge) else work.digest, LONGEST_WORK_PAUSE)
        if failed.permanent:
            self._ml.fail(failed.reason)

    def _note_refused(self, refused: Refused) -> None:
        outdated = refused.code in (Code.FORMER_RUN, Code.EXPIRED)
        self._facts.refused(refused.body, refused.height, outdated=outdated)
        concerned = isinstance(refused.body, Submit | CloseSession) or self._ml.requests(refused.body)
        if concerned and not is_transient(refused.code):
            self._ml.fail(f"{refused.detail} ({refused.code})")

    def _drop(self, digest: str) -> None:
        """Not what is being delivered: that has left the store for the ML process, which will answer."""
        for gone in self._facts.drop(digest):
            self._results.dropped(gone)
            self._sharing.dropped(gone)

    # --- decisions --------------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        facts = self._facts
        if self._finished:
            return
        if self._ml.outdated:
            self._ml.fail(RESET)
            return
        self._releasing.follow()
        self._sharing.follow()
        me = facts.training.members.get(self._uid)
        self._ml.attend(me)
        if me and me.incarnation == facts.incarnation:
            self._carrying.update_merge_status(self._facts.latest)
            self._contributing.decide(me)
            self._use_result(me)
            self._sharing.decide()
            self._checking.decide()
            self._leading.decide()
            self._watching.decide()
        self._keep()
        self._finish()

    def _use_result(self, me: Member) -> None:
        """Fetches each new result at once; once it is here, the ML process gets it when it waits."""
        latest = self._facts.latest
        self._results.check()
        self._results.settle()
        if not latest.digest or latest.digest in self._facts.held:
            self._ml.serve(me, latest)
        elif self._results.misses_the_end():
            self._ml.fail(MISSED_THE_END, over=True)
        elif not self._sharing.completes(latest.digest):
            self._results.fetch()

    def _keep(self) -> None:
        """Names the models still needed whenever that changes."""
        facts, needed = self._facts, self._ml.needed | self._facts.named
        needed |= self._carrying.needed
        needed |= self._releasing.needed(needed) | self._sharing.needed
        needed.update(
            digest
            for body in facts.sent
            if isinstance(body, Publish)
            for digest in (body.result, body.change, *made_of(body.step))
        )
        needed.discard("")
        if needed != self._kept:
            self._kept = needed
            self._results.keep(needed)
            facts.forget_models_but(needed)
            facts.out.append(Keep(tuple(sorted(needed))))

    def _finish(self) -> None:
        training, result = self._facts.training, self._facts.training.result
        if not training.settled or result is None or not self._ml.gone:
            return
        if self._facts.unanswered:
            return  # the last report has to arrive
        lacking = lacking_result(training).difference(result.given_up)
        if not lacking or self._results.ended_elsewhere() or self._results.others_had_time("finish"):
            self._finished = True
            self._facts.out.append(Finish())
