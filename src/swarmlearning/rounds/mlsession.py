"""The ML process of one node: its messages, the answers, and its session on the ledger. `phases.py` has the table.

The node goes on with what it left: the model that it closed with, and how far its training was.
"""

from swarmlearning.ledger.bodies import Lost, OpenSession, ReportPerformance, TrainingBody
from swarmlearning.ledger.contracts.training.state import Member, Training, alive
from swarmlearning.ledger.contracts.training.terms import ANEW
from swarmlearning.rounds.carrying import Carrying
from swarmlearning.rounds.events import (
    AnswerClosed,
    AnswerOpened,
    AnswerSynced,
    Deliver,
    DeliveryFailed,
    Evaluated,
    Fail,
    ModelReceived,
    SessionRequested,
    Timer,
)
from swarmlearning.rounds.facts import NO_MODEL, Handed, ModelRef, RoundFacts
from swarmlearning.rounds.phases import (
    Absent,
    Awaiting,
    Delivering,
    Ended,
    Failed,
    FromML,
    Joining,
    Open,
    Phase,
    Served,
    ToML,
    next_phase,
)
from swarmlearning.rounds.results import Results
from swarmlearning.rounds.settings import RoundSettings

TOO_LATE = f"training of contract {{}} is over; {ANEW}"
RESET = "the training contract was reset by an operator; start the training again"


class MLSession:
    """Decides what is sent to the ML process, and what the ledger gets to know of it."""

    def __init__(self, facts: RoundFacts, results: Results, carrying: Carrying, settings: RoundSettings) -> None:
        self.phase: Phase = Absent()
        self.closed: Handed | None = None
        """The model that the ML process closed with: it goes on being contributed."""
        self._facts = facts
        self._results = results
        self._carrying = carrying
        self._settings = settings
        self._session: OpenSession | None = None
        self._run = facts.training.run
        self._epochs = (0, 0)

    @property
    def _training(self) -> Training:
        return self._facts.training

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """True while the ML process waits for something."""
        return isinstance(self.phase, Joining | Awaiting | Delivering | Served)

    @property
    def gone(self) -> bool:
        """True when there was an ML process, and there is none any more."""
        return self._session is not None and isinstance(self.phase, Absent)

    @property
    def outdated(self) -> bool:
        """True when the contract was reset since the ML process requested its session."""
        return self._run != self._training.run and not isinstance(self.phase, Absent)

    @property
    def handed(self) -> Handed | None:
        """The model that the ML process waits with."""
        waiting = self._waiting
        return waiting.model if waiting else None

    @property
    def offered(self) -> Handed | None:
        """The model that it waits with, if it has not been served a result since."""
        waiting = self._waiting
        return waiting.model if isinstance(waiting, Awaiting) else None

    @property
    def has(self) -> ModelRef:
        """The merged model that it trains from."""
        match self._waiting or self.phase:
            case Joining(has) | Open(has) | Awaiting(has) | Served(has):
                return has
            case _:
                return NO_MODEL

    @property
    def _waiting(self) -> Awaiting | Served | None:
        match self.phase:
            case Awaiting() | Served() as waiting:
                return waiting
            case Delivering(before):
                return before
            case _:
                return None

    @property
    def needed(self) -> set[str]:
        """The models that are needed for it."""
        return {self.has.digest, *(model.digest for model in (self.handed, self.closed) if model)}

    # --- what it sends ----------------------------------------------------------------------------------------------

    def receive(self, message: FromML) -> None:
        """Handles a message of the ML process. Raises `OutOfOrder`; then nothing has changed."""
        before, self.phase = self.phase, next_phase(self.phase, message, self._facts.latest)
        match message:
            case SessionRequested(session):
                self._session, self._run, self.closed = session, self._training.run, None
                self._carrying.forget_left()
                self._facts.forget(session)  # a refusal of the session before does not concern this one
            case ModelReceived(closing=closing) if handed := self.handed:
                self._facts.held.add(handed.digest)
                self._facts.own_size = handed.size
                self._carrying.begin(handed.digest)
                if closing:
                    self.closed = handed
            case Evaluated(loss, metric, epochs, total) if isinstance(before, Delivering):
                self._epochs = epochs, total
                if self._training.result and before.result == self._facts.latest:
                    self._facts.send(ReportPerformance(before.result.round, loss, metric, epochs, total))

    def requests(self, body: TrainingBody | Lost) -> bool:
        """Returns whether this is the session that the ML process requests, and not that of one before it."""
        return body == self._session

    def recorded(self, body: object) -> None:
        """Notes that a transaction stands; if it is that of the session, the ledger has that."""
        if isinstance(self.phase, Joining) and body == self._session:
            self.phase = Joining(self.phase.has, recorded=True)

    def delivery_failed(self, failed: DeliveryFailed) -> None:
        """Notes that a result could not be delivered."""
        self.phase = next_phase(self.phase, failed, self._facts.latest)

    # --- what it is sent --------------------------------------------------------------------------------------------

    def fail(self, text: str, *, over: bool = False) -> None:
        """Ends the ML process' training, unless it has ended; arguments as in `Fail`."""
        if not isinstance(self.phase, Absent | Ended | Failed):
            self._send(Fail(text, over))

    def attend(self, me: Member | None) -> None:
        """Opens the session, and reports that the ML process is gone."""
        match self.phase:
            case Absent():
                if me and self._is_mine(me) and me.present and not self._training.over:
                    self._facts.send(Lost(self._facts.uid, self._facts.incarnation))
            case Ended() | Failed():
                pass
            case Joining(recorded=False) if self._training.settled or self._is_deserted(me):
                self.fail(TOO_LATE.format(self._training.name), over=True)
            case _ if not self._training.settled and self._is_to_open(me):
                if self._session and (me or not self._training.over):  # else wait: its result may be void yet
                    self._facts.send(self._session)
            case Joining() if me and (me.present or self._training.settled):
                self._send(AnswerOpened())

    def serve(self, me: Member, latest: ModelRef) -> None:
        """Delivers the latest result, which is in the store, when the ML process waits, and lets it go on."""
        match self.phase:
            case Delivering(result=result) if result == latest:
                pass  # the report follows when it is loaded
            case Awaiting(has, model) if latest.digest and has != latest and self._is_worth_carrying(me, has, latest):
                self._catch_up(me, model, has, latest)
            case Awaiting(has) | Served(has) if latest.digest and has != latest:
                self._send(Deliver(latest.digest))
            case Awaiting(has) | Served(has):
                if has == latest:
                    self._report_held(me, latest)  # a report that it misses it may have come later
                self._answer(me)
            case _:
                self._report_held(me, latest)

    def _catch_up(self, me: Member, model: Handed, has: ModelRef, latest: ModelRef) -> None:
        """Lets the ML process train on although no round has merged what it waits with, or carries that over."""
        if self._was_away(me, has) and not self._carrying.has_left:
            self._carrying.leave(model, has)
            self._send(Deliver(latest.digest))
            return
        if whole := self._carrying.whole(model, has):
            self._carrying.carry(whole, has, latest)
        self._report_held(me, latest)

    def _was_away(self, me: Member, has: ModelRef) -> bool:
        """Returns whether this node has missed the standing result only because it was cut off once the contributors
        were fixed, and can contribute to the next one as soon as the others.

        Who is late without that is slow: the next round would wait for it in vain, too.
        """
        result, current = self._training.result, self._training.round
        if result is None or current is None or result.closed.base != has.digest:
            return False
        fixed = max(entry.at_ms for entry in result.closed.submissions.values())
        begun = any(uid != me.uid and entry.kind == "trained" for uid, entry in current.submissions.items())
        return me.since_ms > fixed and not begun

    def _answer(self, me: Member) -> None:
        """Lets the ML process go on once it has been served a result, and end once the final one is settled."""
        if self._training.over:
            ready = self._training.settled
        else:
            ready = isinstance(self.phase, Served) and not self.closed and self._is_paced(me)
        if ready:
            self._send(AnswerClosed() if self.closed else AnswerSynced(me.interval, self._training.over))

    def _is_paced(self, me: Member) -> bool:
        """With an adaptive interval it waits for all contributors' losses, as long as a leader would wait for them."""
        result, current = self._training.result, self._training.round
        if not me.adaptive or result is None or result.paced:
            return True
        if current is None:
            return False
        pace = Timer("pace", self._facts.key_of(current))
        return self._facts.timers.expired(pace, self._settings.full_quorum_seconds)

    def _send(self, message: ToML) -> None:
        self.phase = next_phase(self.phase, message, self._facts.latest)
        self._facts.out.append(message)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _is_mine(self, me: Member) -> bool:
        return me.incarnation == self._facts.incarnation

    def _is_deserted(self, me: Member | None) -> bool:
        """Returns whether training is over for a newcomer although unsettled: no member is there to void its result."""
        return me is None and self._training.over and not alive(self._training)

    def _is_to_open(self, me: Member | None) -> bool:
        """Returns whether the session is not open on the ledger, or was closed by a late report of the one before."""
        unrecorded = isinstance(self.phase, Joining) and not self.phase.recorded
        if me is None or unrecorded or not self._is_mine(me):
            return True
        closed = me.finished and not self.closed and not self._training.over
        refused = (
            me.attendance == "other-terms" and self._training.round is not None
        )  # the refusal names the difference
        return closed or refused or me.attendance in ("restarted", "ml-lost")

    def _is_worth_carrying(self, me: Member, has: ModelRef, latest: ModelRef) -> bool:
        over = self.closed or self._training.over
        return not over and self._carrying.is_worth_it(has, latest, self._was_away(me, has))

    def _report_held(self, me: Member, latest: ModelRef) -> None:
        """Reports that the result is in the store, and whether the ML process goes on from it, or begins with it."""
        match self.phase:
            case Joining(has) | Open(has) | Awaiting(has) | Served(has):
                loaded = has in (latest, NO_MODEL)
            case _:
                loaded = False
        self._results.report_held(me, self._epochs, loaded=loaded)
