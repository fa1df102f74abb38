"""What this site gives of a model to a round: the model itself, what a privacy lock makes of it, or a coded change.

Where the contract has its changes coded, a round with a base gets the change from that base, with the residual of an
earlier change (`feedback.py`). It is made of the model, or of what the lock makes of that.

With a lock no digest of a model that the script has handed over, or of one that it was carried over into, is ever sent:
only those of what the lock has made of it for this round and this base (`Release`), and of results. The same model
gives the same for the same round and base, also after a restart. What a script has closed with is given once where
there is noise: the same bytes go on being submitted, and cost nothing more. As a coded change it is given anew each
time, since a change is of one base only.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from swarmlearning.choices import Transfer
from swarmlearning.ledger.bodies import Privacy, SubmissionKind
from swarmlearning.ledger.contracts.training.state import Round
from swarmlearning.ledger.contracts.training.submissions import NO_MODEL, Submission
from swarmlearning.ledger.contracts.training.transfers import has_feedback, transfer_in
from swarmlearning.ledger.contracts.training.transitions import terms_of
from swarmlearning.rounds.events import Release, Released
from swarmlearning.rounds.facts import NOTHING, Handed, RoundFacts
from swarmlearning.rounds.feedback import Feedback

REMEMBERED: Final = 64
"""Outcomes that are remembered, of the newest rounds."""


class Given(NamedTuple):
    """What is submitted, in the order of a `Submit`."""

    kind: SubmissionKind
    digest: str
    size: int
    privacy: Privacy | None = None


class Releasing:
    """Follows what the lock has made of the models that are needed here."""

    def __init__(self, facts: RoundFacts, released: Iterable[Released] | None, coded: Iterable[Released] = ()) -> None:
        """`released`: what the lock has given before this node was started; None without a lock. `coded`: changes that
        were given without one."""
        self._facts = facts
        self._locked = released is not None
        self._done = {done.release: done for done in (*coded, *(released or ()))}
        self._feedback = Feedback(facts.uid, facts.training, self._done.values())

    # --- what happens -----------------------------------------------------------------------------------------------

    def released(self, done: Released) -> None:
        """The lock has made something of a model, or gives nothing of it."""
        if self._facts.work.ended(done.release):
            self._facts.timers.succeeded(done.release.digest)
            self._done[done.release] = done
            self._feedback.given(done)
            if done.result:
                self._facts.held.add(done.result)

            while len(self._done) > REMEMBERED:
                del self._done[next(iter(self._done))]

    def follow(self) -> None:
        """Looks at the standing result, whatever is to be given."""
        self._feedback.follow(self._facts.training)

    def needed(self, models: set[str]) -> set[str]:
        """Returns what was made of these models, and what was made for the round in progress before a restart."""
        run, current = self._facts.training.run, self._facts.training.round
        number = current.number if current else NOTHING
        return {
            done.result
            for release, done in self._done.items()
            if done.result and (release.digest in models or (release.run, release.round) == (run, number))
        }

    def made_of(self, digest: str) -> set[str]:
        """Returns what was made of this model."""
        return {done.result for release, done in self._done.items() if release.digest == digest} - {""}

    # --- decisions --------------------------------------------------------------------------------------------------

    def is_of(self, known: Submission, handed: Handed) -> bool:
        """Returns whether what was submitted is this model, or what the lock has made of it."""
        if known.kind == "withheld" or known.digest == handed.digest:
            return True
        return known.digest in self.made_of(handed.digest)

    def given(self, current: Round, kind: SubmissionKind, model: Handed) -> Given | None:
        """Returns what this site submits in this model's place; None while that is being made."""
        transfer = transfer_in(self._facts.training, current.base)
        if not self._locked and transfer == "float32":
            return Given(kind, model.digest, model.size)
        if kind == "inactive" and current.base:
            return Given(kind, current.base, 0)
        if kind == "active" and model.digest == (self._facts.latest.digest if transfer == "float32" else current.base):
            return Given(kind, model.digest, model.size)
        done = self._made(self._release(current, model, transfer), kind)
        if done is None:
            return None
        if done.withheld:
            return Given("withheld", current.base or NO_MODEL, 0, done.privacy)
        return Given(kind, done.result, done.size, done.privacy)

    def _release(self, current: Round, model: Handed, transfer: Transfer) -> Release:
        training, residual = self._facts.training, None
        if transfer != "float32" and has_feedback(terms_of(training).merge_method):
            residual = self._feedback.residual_at(current.base)
        return Release(training.run, current.number, current.base, model.digest, transfer, residual)

    def _made(self, release: Release, kind: SubmissionKind) -> Released | None:
        done = self._done.get(release) or (self._made_before(release) if kind == "snapshot" else None)
        if done is not None and (done.withheld or done.result in self._facts.held):
            return done
        here = not release.base or release.base in self._facts.held
        if here and not self._facts.timers.pausing(release.digest):
            self._facts.work.want(release, self._facts.now)
        return None

    def _made_before(self, release: Release) -> Released | None:
        """What was made with noise of the same model for an earlier round, and is a model."""
        earlier = [
            done
            for done in self._done.values()
            if (done.release.run, done.release.digest) == (release.run, release.digest)
            and done.privacy is not None
            and done.privacy.noise
            and release.transfer == done.release.transfer == "float32"
            and done.result in self._facts.held
        ]
        return max(earlier, key=lambda done: done.release.round, default=None)
