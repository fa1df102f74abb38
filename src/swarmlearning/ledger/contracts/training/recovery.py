"""The transactions of a training contract for when something goes wrong, and `settle`: one function each.

Each raises `Rejection` when the transaction does not hold; then nothing has changed. `state.py` has the theory.
"""

from collections.abc import Mapping

import msgspec

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.bodies import Depose, Missing, Settle, Void
from swarmlearning.ledger.contracts.training.losing import lost_model, misses
from swarmlearning.ledger.contracts.training.majorities import all_hold, lacking_result, outweigh
from swarmlearning.ledger.contracts.training.state import Member, Result, Round, Training, alive, needed_organisations
from swarmlearning.ledger.contracts.training.steps import with_steps
from swarmlearning.ledger.contracts.training.transitions import (
    are_enough,
    elect_leader,
    freeze_if_complete,
    member_of,
    next_term,
    pace_if_complete,
    round_in_progress,
    standing_result,
    with_member,
    without_slices,
)


def depose(
    state: Training,
    body: Depose,
    uid: str,
    *,
    organisation: str,
    by_sn: bool,
    leader_incarnation: int,
    leader_height: int,
) -> Training:
    """Replaces a leader: when an SN reports its lease as gone, at its own request, or at enough reports of no progress.

    `organisation` is the sender's. Two reporters are enough; of two organisations, where three or more take part.
    """
    current = round_in_progress(state, body.round)
    if body.term != current.term or not current.leader:
        raise Rejection(Code.STALE_TERM, f"round {current.number} is in term {current.term}, not {body.term}")
    if not by_sn:
        member_of(state, uid)
    if body.incarnation != leader_incarnation:
        raise Rejection(Code.OLD_INCARNATION, f"the leader now runs as incarnation {leader_incarnation}")
    if body.cause == "overdue":
        return _overdue(state, current, uid, organisation, by_sn=by_sn)
    if leader_height > body.seen_height:
        raise Rejection(
            Code.PROGRESS, f"the leader sent a transaction at height {leader_height}, after {body.seen_height}"
        )
    if body.cause == "lease":
        if not by_sn:
            raise Rejection(Code.NOT_ALLOWED, "only an SN can report that a lease is gone")
        return elect_leader(next_term(state), previous=current.leader)
    if uid == current.leader:
        return _deposed(state, current)
    if uid in current.no_progress:
        raise Rejection(Code.NO_CHANGE, f"{uid} has reported this already")
    reporters = {**current.no_progress, uid: organisation}
    if not _may_depose(state, current, reporters):
        return msgspec.structs.replace(state, round=msgspec.structs.replace(current, no_progress=reporters))
    return _deposed(state, current)


def _may_depose(state: Training, current: Round, reporters: Mapping[str, str], nodes: int = 2) -> bool:
    """Returns whether so many nodes have reported the leader, of two organisations where others than its own are more.

    A leader that was deposed in this round before is so again only by members of as many organisations as a round
    needs: fewer, with an SN that does not know how long its work takes, cannot keep all others from leading.
    """
    needed = needed_organisations(state)
    if needed == 1 or current.leader not in current.deposed:
        return are_enough(state, current.leader, reporters, nodes)
    of_members = {uid: organisation for uid, organisation in reporters.items() if uid in state.members}
    return len(reporters) >= nodes and are_enough(state, current.leader, of_members, 1, needed)


def _overdue(state: Training, current: Round, uid: str, organisation: str, *, by_sn: bool) -> Training:
    """The leader moves on but takes far too long: for members to judge, two of them where there are as many others."""
    if by_sn:
        raise Rejection(Code.NOT_ALLOWED, "only other members judge how long a leader takes")
    if uid == current.leader:
        raise Rejection(Code.NOT_ALLOWED, f"{uid} leads this term itself: only other members judge how long it takes")
    if uid in current.overdue:
        raise Rejection(Code.NO_CHANGE, f"{uid} has reported this already")
    reporters = {**current.overdue, uid: organisation}
    if not _may_depose(state, current, reporters, min(2, len(alive(state) - {current.leader}))):
        return msgspec.structs.replace(state, round=msgspec.structs.replace(current, overdue=reporters))
    return _deposed(state, current)


def _deposed(state: Training, current: Round) -> Training:
    """The leader has made no progress: it comes last in what is left of this round."""
    noted = msgspec.structs.replace(current, deposed=(*current.deposed, current.leader))
    return elect_leader(next_term(msgspec.structs.replace(state, round=noted)), previous=current.leader)


def missing(state: Training, body: Missing, uid: str) -> Training:
    """The member can get the result from nobody, or the base of the round in progress where the result is void."""
    member = member_of(state, uid)
    if (current := _with_base_of(state, body.round)) is not None:
        return _misses_base(state, current, uid, lasting=body.lasting or body.slow)
    result = standing_result(state, body.round)
    if uid in (result.given_up if body.lasting else result.slow if body.slow else result.missing):
        raise Rejection(Code.NO_CHANGE, f"{uid} has reported this already")
    result = msgspec.structs.replace(
        result,
        missing=_with(result.missing, uid),
        given_up=_with(result.given_up, uid) if body.lasting else result.given_up,
        slow=_with(result.slow, uid) if body.slow else result.slow,
        holders=tuple(other for other in result.holders if other != uid),
    )
    state = with_member(state, msgspec.structs.replace(member, awaited=False))
    return freeze_if_complete(pace_if_complete(msgspec.structs.replace(state, result=result)))


def _with_base_of(state: Training, number: int) -> Round | None:
    """The round in progress, where it builds on a result of this number that does not stand any more."""
    current = state.round
    return current if state.result is None and current and current.base and current.number - 1 == number else None


def _misses_base(state: Training, current: Round, uid: str, *, lasting: bool) -> Training:
    if uid in (current.base_given_up if lasting else current.base_missing):
        raise Rejection(Code.NO_CHANGE, f"{uid} has reported this already")
    noted = msgspec.structs.replace(
        current,
        base_missing=_with(current.base_missing, uid),
        base_given_up=_with(current.base_given_up, uid) if lasting else current.base_given_up,
    )
    return msgspec.structs.replace(state, round=noted)


def _with(uids: tuple[str, ...], uid: str) -> tuple[str, ...]:
    return tuple(sorted({*uids, uid}))


def void(state: Training, body: Void, now_ms: int) -> Training:
    """The model is lost: a result's round is collected again in a new term, one with a lost base without any base."""
    if state.settled:
        raise Rejection(Code.SETTLED, "training has ended, all live members held its final model")
    current = _with_base_of(state, body.round)
    result = None if current else standing_result(state, body.round)
    if lost_model(state) != body.round:
        missed = misses(state)
        others = ", ".join(sorted(alive(state).difference(missed.missing if missed else ()))) or "none"
        raise Rejection(
            Code.STILL_HELD, f"the model of round {body.round} is not lost; live members that do not miss it: {others}"
        )
    if current is not None:
        return _collected_anew(state, current, "", now_ms)
    assert result is not None
    return _void_result(state, result, now_ms)


def _void_result(state: Training, result: Result, now_ms: int) -> Training:
    contributed = {part.uid for part in result.receipt.contributions}
    holders = alive(state).intersection(result.holders)
    members = {
        uid: msgspec.structs.replace(
            member,
            contributed=member.contributed - (uid in contributed),
            late=member.late - (uid in result.closed.late),
            unreachable=member.unreachable or uid in holders,
            repeated=member.repeated - (uid in result.repeated),
            model="" if uid in contributed else member.model,  # it may be merged again, and that is no repetition
            void_results=member.void_results + (uid in holders),
        )
        for uid, member in state.members.items()
    }
    gone = result.digest == result.closed.base  # then the model before is nowhere either: all begin with what they have
    closed = result.closed
    state = msgspec.structs.replace(state, members=members, result=None, over=False, rounds=closed.number, change="")
    closed = msgspec.structs.replace(closed, deposed=(*closed.deposed, result.leader), voids=closed.voids + 1)
    return _collected_anew(state, closed, "" if gone else closed.base, now_ms)


def _collected_anew(state: Training, closed: Round, base: str, now_ms: int) -> Training:
    """The round begins again in a new term, from this base; everybody who is there is waited for."""
    state = without_slices(state, closed.number)
    members: dict[str, Member] = {
        uid: msgspec.structs.replace(member, awaited=member.present) for uid, member in state.members.items()
    }
    again = msgspec.structs.replace(
        closed,
        base=base,
        phase="collecting",
        opened_ms=now_ms,
        submissions={},
        late={},
        barred={},
        unreachable=(),
        base_missing=(),
        base_given_up=(),
    )
    return elect_leader(next_term(with_steps(msgspec.structs.replace(state, members=members, round=again))))


def settle(state: Training, body: Settle, uid: str, *, by_sn: bool) -> Training:
    """All live members hold the final result, or enough of its holders have waited long enough for the others."""
    result = standing_result(state, body.round)
    if not state.over:
        raise Rejection(Code.NOT_OVER, f"training of contract {state.name} is not over")
    if state.settled:
        raise Rejection(Code.NO_CHANGE, "it is settled already")
    if not by_sn:
        return _settled_without_others(state, result, uid)
    if not all_hold(state):
        raise Rejection(Code.NO_CHANGE, "not all live members hold it yet")
    return msgspec.structs.replace(state, settled=True)


def _settled_without_others(state: Training, result: Result, uid: str) -> Training:
    """This holder waits no longer; once enough do not, those who lack the result count as having given it up."""
    member_of(state, uid)
    if uid not in result.holders:
        raise Rejection(Code.NOT_ALLOWED, f"{uid} does not hold the final model itself")
    if uid in result.impatient:
        raise Rejection(Code.NO_CHANGE, f"{uid} has reported this already")
    impatient, lacking = _with(result.impatient, uid), lacking_result(state)
    result = msgspec.structs.replace(result, impatient=impatient)
    settled = outweigh(state, alive(state).intersection(impatient, result.holders), lacking)
    if settled:
        result = msgspec.structs.replace(result, given_up=tuple(sorted(lacking.union(result.given_up))))
    return msgspec.structs.replace(state, result=result, settled=settled)
