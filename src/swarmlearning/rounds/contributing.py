"""Submits this site's model to the round in progress: what the ML process handed over, or closed with."""

from swarmlearning.ledger.bodies import CloseSession, SubmissionKind, Submit
from swarmlearning.ledger.contracts.training import state as contract
from swarmlearning.ledger.contracts.training.barring import is_barred
from swarmlearning.ledger.contracts.training.state import Member, Round
from swarmlearning.rounds.carrying import Carrying
from swarmlearning.rounds.facts import Handed, RoundFacts
from swarmlearning.rounds.mlsession import MLSession
from swarmlearning.rounds.releasing import Releasing


class Contributing:
    """Decides as a member of the round in progress."""

    def __init__(self, facts: RoundFacts, carrying: Carrying, ml: MLSession, releasing: Releasing) -> None:
        self._facts = facts
        self._carrying = carrying
        self._releasing = releasing
        self._ml = ml

    def decide(self, me: Member) -> None:
        """Reports that local training has ended, or submits the model that the round needs of this site."""
        facts, current = self._facts, self._facts.training.round
        if self._ml.closed and not me.finished and not facts.training.over:
            facts.send(CloseSession(me.checkin))
            return
        if current is None or facts.uid in current.late:
            return
        known, offered = current.submissions.get(facts.uid), self._ml.offered
        if known and offered and (known.kind == "carried" or self._releasing.is_of(known, offered)):
            # Perhaps by this node before it was restarted: what it was carried over into, or added to, is not known.
            self._carrying.submitted(current.number, known.digest)
        if known and facts.uid not in current.unreachable:
            return
        kind, model = self._model_for(me, current)
        if model is None or (known and current.phase == "frozen"):
            return
        given = self._releasing.given(current, kind, model)
        if given is None or (known and known.digest == given.digest):
            return
        if not is_barred(facts.training, facts.uid, given.digest):
            self._carrying.submitted(current.number, given.digest, model)
            kind, digest, size, privacy = given
            weight = contract.weight_in(current, me, kind)
            facts.send(Submit(current.number, current.base, kind, digest, size, weight, privacy))

    def _model_for(self, me: Member, current: Round) -> tuple[SubmissionKind, Handed | None]:
        if self._ml.closed:
            return me.checkin, self._checkin(me, self._ml.closed)
        offered, has = self._ml.offered, self._ml.has
        if has.digest and current.base and (left := self._carrying.left_of(current.base)):
            return "trained", left
        if offered is None or not current.base:
            return "trained", offered
        if has == self._facts.latest:
            whole = self._carrying.whole(offered, has)
            return "trained" if whole == offered else "carried", whole
        return "carried", self._carrying.model_onto(current.base)

    def _checkin(self, me: Member, closed: Handed) -> Handed | None:
        """A finished member's contribution; `active` is the latest merged model, None while that is on its way."""
        result, digest = self._facts.training.result, self._facts.latest.digest
        if me.checkin != "active" or not digest or (result and self._facts.uid in result.missing):
            return closed
        if digest in self._facts.held:
            return Handed(digest, closed.size)  # all are of one size, whatever a leader states
        return None if result else closed
