"""Sessions of a training contract: members that join, finish, come and go; and an operator's stop and reset.

Each function gives the state after it, and raises `Rejection` when it does not hold. `state.py` has the theory.
"""

import msgspec

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.adaptive import next_interval
from swarmlearning.ledger.contracts.training.bodies import CloseSession, OpenSession
from swarmlearning.ledger.contracts.training.state import (
    Attendance,
    Member,
    Round,
    Terms,
    Training,
    empty,
    enough,
    present_members,
)
from swarmlearning.ledger.contracts.training.steps import check_close, check_session
from swarmlearning.ledger.contracts.training.terms import ANEW, differs, with_session
from swarmlearning.ledger.contracts.training.transitions import (
    collecting_again,
    elect_leader,
    forget_looks,
    freeze_if_complete,
    holds,
    is_round_zero,
    member_of,
    next_term,
    open_round,
    pace_if_complete,
    with_hope,
    with_member,
    without_mark,
    without_slices,
)


def open_session(
    state: Training,
    body: OpenSession,
    uid: str,
    incarnation: int,
    now_ms: int,
    *,
    network: str = "",
    identity: str = "",
    organisation: str = "",
) -> Training:
    """Adds a member, or readmits one whose process or ML process was restarted; the latter until all is settled.

    `identity` is what the sender, of this `organisation`, is identified by, `network` the network's id: the order of
    leaders follows from them. Raises `Rejection`.
    """
    check_session(body)
    if state.over and (state.settled or uid not in state.members):
        raise Rejection(Code.TRAINING_OVER, f"training of contract {state.name} is over; {ANEW}")
    known = state.members.get(uid)
    fresh = _member(state, body, uid)
    member = msgspec.structs.replace(
        fresh, incarnation=incarnation, since_ms=now_ms, identity=identity, organisation=organisation
    )
    state = msgspec.structs.replace(with_session(state, member), network=network)
    if known and known.incarnation != incarnation:
        state = forget_looks(changed_address(state, uid), uid)
    if state.round is None and not state.over and enough(state, present_members(state)):
        state = open_round(state, number=0, base="", now_ms=now_ms)
    return freeze_if_complete(elect_leader(state))


def _member(state: Training, body: OpenSession, uid: str) -> Member:
    """A session as it begins; what the member did in this training before counts on."""
    known = state.members.get(uid)
    return Member(
        uid=uid,
        incarnation=0,
        weightage=_weightage(state, body),
        sync_frequency=body.sync_frequency,
        interval=next_interval(body.sync_frequency, state.pace) if body.adaptive else body.sync_frequency,
        checkin=body.checkin,
        epochs=body.epochs,
        adaptive=body.adaptive,
        may_lead=body.may_lead,
        attendance="present",
        since_ms=0,
        awaited=is_round_zero(state),
        finished=False,
        contributed=known.contributed if known else 0,
        late=known.late if known else 0,
        performance=known.performance if known else None,
        best_loss=known.best_loss if known else None,
        unreachable=known.unreachable if known else False,
        repeated=known.repeated if known else 0,
        model=known.model if known else "",
        void_results=known.void_results if known else 0,
        origin=body.origin,
        terms=Terms(**{name: getattr(body, name) for name in Terms.__struct_fields__}),
    )


def _weightage(state: Training, body: OpenSession) -> int:
    match state.charter.weights if state.charter else "own":
        case "own":
            return body.weightage
        case "equal":
            return 1
        case "samples":
            return body.samples


def changed_address(state: Training, uid: str) -> Training:
    """A member can be reached at another address, or was started again: whether others can fetch from it is open."""
    if uid in state.members:
        state = with_member(state, msgspec.structs.replace(state.members[uid], unreachable=False))
    if state.round:
        once = tuple(other for other in state.once_unreachable if other != uid)
        state = msgspec.structs.replace(state, round=without_mark(state.round, uid), once_unreachable=once)
    return freeze_if_complete(with_hope(state, uid))


def close_session(state: Training, body: CloseSession, uid: str) -> Training:
    """The member's local training has ended; it stays and contributes by its check-in mode."""
    member = member_of(state, uid)
    check_close(state, body.checkin)
    if member.finished:
        raise Rejection(Code.CLOSED_ALREADY, f"the session of {uid} is closed already")
    return with_member(state, msgspec.structs.replace(member, finished=True, checkin=body.checkin))


def set_attendance(state: Training, uid: str, attendance: Attendance, incarnation: int, now_ms: int) -> Training:
    """Records that a member went away or returned; a lost leader is replaced at once.

    One whose process was started again since is `restarted` until it opens its session again.
    """
    member = state.members.get(uid)
    if member is None:
        return state
    if attendance != "lost" and incarnation != member.incarnation:
        attendance = "restarted"
    if attendance in ("present", "ml-lost") and state.terms and member.terms and differs(state.terms, member.terms):
        attendance = "other-terms"
    if member.attendance == attendance:
        return state
    expected = attendance == "present" and (is_round_zero(state) or holds(state, uid))
    if not member.present:
        state = with_hope(state, uid)
    state = with_member(
        state, msgspec.structs.replace(member, attendance=attendance, since_ms=now_ms, awaited=expected)
    )
    if state.round is None and not state.over and enough(state, present_members(state)):
        state = open_round(state, number=0, base="", now_ms=now_ms)
    if attendance in ("lost", "restarted", "left") and state.round and state.round.leader == uid:
        state = next_term(state)
    return freeze_if_complete(elect_leader(pace_if_complete(state)))


def shut_out(state: Training, uid: str, incarnation: int, now_ms: int) -> Training:
    """A member is not trusted any more: it has left, and the round in progress does not merge its model.

    A round that has too few models then is collected again, with those that came late.
    """
    if state.round is not None:
        state = msgspec.structs.replace(state, round=_without_model(state.round, uid))
    state = set_attendance(state, uid, "left", incarnation, now_ms)
    current = state.round
    if current is None or current.phase != "frozen" or enough(state, current.counted):
        return state
    state, again = without_slices(state, current.number), collecting_again(state, current)
    return freeze_if_complete(elect_leader(next_term(msgspec.structs.replace(state, round=again))))


def _without_model(current: Round, uid: str) -> Round:
    return msgspec.structs.replace(
        without_mark(current, uid),
        submissions={other: entry for other, entry in current.submissions.items() if other != uid},
        late={other: entry for other, entry in current.late.items() if other != uid},
    )


def reset(state: Training, forced: bool, height: int) -> Training:
    """An empty contract for the next run, which begins after this height."""
    if not (state.over or forced or not state.members):
        raise Rejection(Code.NOT_OVER, f"training of contract {state.name} is not over; force the reset to end it")
    return empty(state.name, run=state.run + 1, charter=state.charter, reset_height=height)


def stop(state: Training) -> Training:
    """Lets the training end with the result of the round in progress."""
    if state.over:
        raise Rejection(Code.TRAINING_OVER, f"training of contract {state.name} is over already")
    if state.stopping:
        raise Rejection(Code.NO_CHANGE, f"training of contract {state.name} ends with the round in progress already")
    if state.round is None:
        raise Rejection(Code.NO_ROUND, f"contract {state.name} has no round in progress; reset it instead")
    return msgspec.structs.replace(state, stopping=True)
