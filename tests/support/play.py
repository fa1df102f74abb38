"""The training contract played by hand: one line a transaction, and the state after it.

A member's model has the digest `model(uid, round)`; a result that of `merged(round)`. Refusals are raised.
"""

import hashlib
from collections.abc import Mapping

import msgspec

from support.network import session
from swarmlearning.choices import CheckinMode
from swarmlearning.ledger.bodies import (
    CloseSession,
    Contribution,
    Depose,
    Exclusion,
    ExclusionReason,
    Freeze,
    Missing,
    Progress,
    Publish,
    Receipt,
    ReportPerformance,
    Settle,
    SubmissionKind,
    Submit,
    Void,
)
from swarmlearning.ledger.contracts.training import recovery, sessions
from swarmlearning.ledger.contracts.training import transactions as rules
from swarmlearning.ledger.contracts.training.state import (
    Attendance,
    Charter,
    Member,
    Result,
    Round,
    Training,
    empty,
    weight_in,
)
from swarmlearning.views.render import waiting_text
from swarmlearning.views.training import waiting

BY_NAME = "in the order of names 1001"
"""With this order members a to f lead in the order of their names."""


class Play:
    """A training contract. `clock` counts the transactions, as block time and as height."""

    def __init__(
        self,
        *members: str,
        min_peers: int = 2,
        organisations: Mapping[str, str] | None = None,
        charter: Charter | None = None,
    ) -> None:
        """`organisations`: by UID of a node."""
        self.state: Training = msgspec.structs.replace(empty("contract", charter=charter), order=BY_NAME)
        self.min_peers = min_peers
        self.organisations = organisations or {}
        self.clock = 0
        for uid in members:
            self.open(uid)

    # --- the state ----------------------------------------------------------------------------------------------------

    @property
    def round(self) -> Round:
        assert self.state.round is not None
        return self.state.round

    @property
    def result(self) -> Result:
        assert self.state.result is not None
        return self.state.result

    @property
    def frozen(self) -> bool:
        """True if the round's contributors are fixed."""
        return self.round.phase == "frozen"

    @property
    def leader(self) -> str:
        return self.round.leader

    @property
    def text(self) -> str:
        return waiting_text(waiting(self.state), {})

    def member(self, uid: str) -> Member:
        return self.state.members[uid]

    # --- transactions ------------------------------------------------------------------------------------------------

    def open(self, uid: str, incarnation: int = 1, **changes: object) -> None:
        body = session(**{"min_peers": self.min_peers, **changes})  # type: ignore[arg-type]
        organisation = self.organisations.get(uid, "")
        self.state = sessions.open_session(self.state, body, uid, incarnation, self._tick(), organisation=organisation)

    def close(self, uid: str, checkin: CheckinMode = "snapshot") -> None:
        self.state = sessions.close_session(self.state, CloseSession(checkin), uid)

    def submit(self, *uids: str, kind: SubmissionKind = "trained", **changes: object) -> None:
        for uid in uids:
            now = self.state.round
            values: dict[str, object] = {
                "round": now.number if now else 0,
                "base": now.base if now else "",
                "submission": kind,
                "digest": model(uid, now.number if now else 0),
                "size": 1,
                "weight": weight_in(now, self.member(uid), kind) if now and uid in self.state.members else 1,
            }
            body = Submit(**(values | changes))  # type: ignore[arg-type]
            self.state = rules.submit(self.state, body, uid, self._tick())

    def freeze(self, uid: str = "", **changes: object) -> None:
        values: dict[str, object] = {"round": self.round.number, "term": self.round.term}
        self.state = rules.freeze(self.state, Freeze(**(values | changes)), uid or self.leader)  # type: ignore[arg-type]

    def publish(
        self,
        uid: str = "",
        without: Mapping[str, ExclusionReason] | None = None,
        receipt: Receipt | None = None,
        **changes: object,
    ) -> None:
        """Publishes as the leader; `without` are contributors left out, and why."""
        now = self.round
        made = receipt or receipt_of(now, without or {})
        enough = len(made.contributions) >= self.min_peers
        values: dict[str, object] = {
            "round": now.number,
            "term": now.term,
            "result": merged(now.number) if enough else "",
            "size": 1,
            "receipt": made,
        }
        body = Publish(**(values | changes))  # type: ignore[arg-type]
        self.state = rules.publish(self.state, body, uid or now.leader, self._tick())

    def progress(self, uid: str, **changes: int) -> None:
        number, term = changes.get("number", self.round.number), changes.get("term", self.round.term)
        body = Progress(number, term, changes.get("moved", self.round.moved + 1))
        self.state = rules.progress(self.state, body, uid)

    def report(
        self,
        *uids: str,
        loss: float | None = 0.5,
        metric: float | None = None,
        number: int | None = None,
        loaded: bool = True,
    ) -> None:
        for uid in uids:
            closed = self.result.closed.number if number is None else number
            body = ReportPerformance(closed, loss, metric, 1, 1, loaded)
            self.state = rules.report_performance(self.state, body, uid)

    def missing(self, *uids: str, number: int | None = None, lasting: bool = False, slow: bool = False) -> None:
        for uid in uids:
            body = Missing(self.result.closed.number if number is None else number, lasting, slow)
            self.state = recovery.missing(self.state, body, uid)

    def void(self, number: int | None = None) -> None:
        body = Void(self.result.closed.number if number is None else number)
        self.state = recovery.void(self.state, body, self._tick())

    def settle(self, *uids: str) -> None:
        """An SN reports that all hold the final result, or these members that they wait no longer."""
        body = Settle(self.result.closed.number)
        for uid in uids or ("sn",):
            self.state = recovery.settle(self.state, body, uid, by_sn=not uids)

    def depose(self, *uids: str, by_sn: bool = False, leader_height: int = 0, **changes: object) -> None:
        """These depose the leader, which runs as incarnation 1 and sent its last transaction at `leader_height`."""
        values: dict[str, object] = {
            "round": self.round.number if self.state.round else 0,
            "term": self.round.term if self.state.round else 0,
            "incarnation": 1,
            "seen_height": 0,
            "cause": "progress",
        }
        body = Depose(**(values | changes))  # type: ignore[arg-type]
        for uid in uids:
            self.state = recovery.depose(
                self.state,
                body,
                uid,
                organisation=self.organisations.get(uid, ""),
                by_sn=by_sn,
                leader_incarnation=1,
                leader_height=leader_height,
            )

    def set_attendance(self, uid: str, attendance: Attendance, incarnation: int = 1) -> None:
        self.state = sessions.set_attendance(self.state, uid, attendance, incarnation, self._tick())

    def shut_out(self, uid: str) -> None:
        """The member is not trusted any more."""
        self.state = sessions.shut_out(self.state, uid, 1, self._tick())

    def stop(self) -> None:
        self.state = sessions.stop(self.state)

    def readdress(self, uid: str) -> None:
        """The member has announced another address."""
        self.state = sessions.changed_address(self.state, uid)

    def reset(self, forced: bool = False) -> None:
        self.state = sessions.reset(self.state, forced, self._tick())

    # --- several at once ----------------------------------------------------------------------------------------------

    def complete_round(self, *uids: str) -> None:
        """All of these submit, their leader publishes, all report."""
        self.submit(*uids)
        if not self.frozen:
            self.freeze()
        self.publish()
        self.report(*uids)

    def _tick(self) -> int:
        self.clock += 1
        return self.clock


def model(uid: str, number: int) -> str:
    """Digest of a member's model for a round."""
    return hashlib.sha256(f"{uid} {number}".encode()).hexdigest()


def merged(number: int) -> str:
    """Digest of the result of a round."""
    return hashlib.sha256(f"merged {number}".encode()).hexdigest()


def receipt_of(current: Round, without: Mapping[str, ExclusionReason]) -> Receipt:
    """The receipt that an honest leader writes."""
    return Receipt(
        "mean",
        tuple(
            Contribution(uid, entry.digest, entry.weight, entry.weight)
            for uid, entry in sorted(current.submissions.items())
            if uid not in without
        ),
        tuple(Exclusion(uid, reason, "") for uid, reason in sorted(without.items())),
    )


# --- where many tests start ------------------------------------------------------------------------------------------


def two() -> Play:
    """Two members of a training with minPeers 2: round 0 is open, `a` leads it."""
    return Play("a", "b")


def full() -> Play:
    """The same two members; both have submitted, so the round is frozen."""
    play = two()
    play.submit("a", "b")
    return play


def three() -> Play:
    """Three members with minPeers 2; `a` and `b` have submitted, `c` is awaited, `a` leads."""
    play = Play("a", "b", "c")
    play.submit("a", "b")
    return play


def standing() -> Play:
    """Two members, the result of round 0 stands, `b` leads round 1; only `a`, who led, holds it."""
    play = full()
    play.publish()
    return play


def over() -> Play:
    """Both members have closed; the result of round 0 is the last."""
    play = two()
    play.close("a")
    play.close("b")
    play.submit("a", "b", kind="snapshot")
    play.publish()
    return play


def unreachable() -> Play:
    """A round that collects again because the model of `b` could not be fetched; now `b` leads."""
    play = full()
    play.publish(without={"b": "unreachable"})
    return play
