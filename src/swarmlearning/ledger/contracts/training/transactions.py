"""The transactions of a training contract: one function each, from (state, body, sender) to the state after it.

Each raises `Rejection` when the transaction does not hold; then nothing has changed. `state.py` has the theory.
"""

import msgspec

from swarmlearning.ledger.bodies import (
    CloseSession,
    Depose,
    Freeze,
    Missing,
    OpenSession,
    Progress,
    Publish,
    Receipt,
    ReportPerformance,
    Settle,
    Submit,
    Void,
)
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.adaptive import next_interval
from swarmlearning.ledger.contracts.training.state import (
    Attendance,
    Barred,
    Member,
    Performance,
    Result,
    Round,
    Submission,
    Training,
    all_hold,
    awaited,
    empty,
    present,
    weight_in,
)
from swarmlearning.ledger.contracts.training.terms import agreed_terms
from swarmlearning.ledger.contracts.training.transitions import (
    elect_leader,
    freeze_if_complete,
    holds,
    is_round_zero,
    member_of,
    next_term,
    open_round,
    pace_if_complete,
    round_in_progress,
    round_led,
    shortened,
    standing_result,
    terms_of,
    with_member,
)

# --- sessions -------------------------------------------------------------------------------------------------------


def open_session(state: Training, body: OpenSession, uid: str, incarnation: int, now_ms: int) -> Training:
    """Adds a member, or takes one back whose process or ML process was restarted; the latter until all is settled."""
    if state.over and (state.settled or uid not in state.members):
        raise Rejection(
            Code.TRAINING_OVER,
            f"training of contract {state.name} is over; an operator resets it (RESET CONTRACT) before the next one",
        )
    terms = agreed_terms(state, body)
    known = state.members.get(uid)
    member = Member(
        uid=uid,
        incarnation=incarnation,
        weightage=body.weightage,
        sync_frequency=body.sync_frequency,
        interval=next_interval(body.sync_frequency, state.pace) if body.adaptive else body.sync_frequency,
        checkin=body.checkin,
        epochs=body.epochs,
        adaptive=body.adaptive,
        may_lead=body.may_lead,
        attendance="present",
        since_ms=now_ms,
        awaited=is_round_zero(state),
        finished=False,
        contributed=known.contributed if known else 0,
        late=known.late if known else 0,
        performance=known.performance if known else None,
    )
    state = msgspec.structs.replace(state, terms=terms, members={**state.members, uid: member})
    if state.round is None and not state.over and present(state) >= terms.min_peers:
        state = open_round(state, number=0, base="", now_ms=now_ms)
    return freeze_if_complete(elect_leader(state))


def close_session(state: Training, body: CloseSession, uid: str) -> Training:
    """The member's local training has ended; it stays and contributes by its check-in mode."""
    member = member_of(state, uid)
    if member.finished:
        raise Rejection(Code.CLOSED_ALREADY, f"the session of {uid} is closed already")
    return with_member(state, msgspec.structs.replace(member, finished=True, checkin=body.checkin))


def set_attendance(state: Training, uid: str, attendance: Attendance, incarnation: int, now_ms: int) -> Training:
    """A member went away or came back; a lost leader is followed by the next at once.

    One whose process was started again since is `restarted` until it opens its session again.
    """
    member = state.members.get(uid)
    if member is None:
        return state
    if attendance != "lost" and incarnation != member.incarnation:
        attendance = "restarted"
    if member.attendance == attendance:
        return state
    expected = attendance == "present" and (is_round_zero(state) or holds(state, uid))
    state = with_member(
        state, msgspec.structs.replace(member, attendance=attendance, since_ms=now_ms, awaited=expected)
    )
    if state.round is None and state.terms and not state.over and present(state) >= state.terms.min_peers:
        state = open_round(state, number=0, base="", now_ms=now_ms)
    if attendance in ("lost", "restarted", "left") and state.round and state.round.leader == uid:
        state = next_term(state)
    return freeze_if_complete(elect_leader(pace_if_complete(state)))


def reset(state: Training, forced: bool) -> Training:
    """An empty contract for the next run."""
    if not (state.over or forced or not state.members):
        raise Rejection(Code.NOT_OVER, f"training of contract {state.name} is not over; force the reset to end it")
    return empty(state.name, run=state.run + 1)


# --- a round --------------------------------------------------------------------------------------------------------


def submit(state: Training, body: Submit, uid: str, now_ms: int) -> Training:
    """Takes a member's model for the round; after the freeze it is noted as late."""
    member = member_of(state, uid)
    current = round_in_progress(state, body.round)
    if body.submission in ("trained", "carried"):
        if member.finished:
            raise Rejection(Code.FINISHED, f"the session of {uid} is closed; it contributes by its check-in mode only")
        if body.base != current.base:
            raise Rejection(
                Code.STALE_BASE,
                f"round {current.number} builds on {shortened(current.base)}, this model on {shortened(body.base)}; "
                "take the latest merged model first",
            )
    elif not member.finished or body.submission != member.checkin:
        raise Rejection(
            Code.NOT_CLOSED,
            f"a {body.submission} model comes from a member that closed its session in that mode; {uid} has not",
        )
    weight = weight_in(current, member, body.submission)
    if body.weight != weight:
        raise Rejection(Code.WRONG_WEIGHT, f"the weight of {uid} in this round is {weight}, not {body.weight}")
    if uid in current.submissions or uid in current.late:
        raise Rejection(Code.SUBMITTED_ALREADY, f"{uid} has submitted to round {current.number} already")
    if current.bars(uid, body.digest):
        raise Rejection(
            Code.EXCLUDED, f"model {shortened(body.digest)} of {uid} was found unusable in round {current.number}"
        )
    entry = Submission(uid=uid, kind=body.submission, digest=body.digest, size=body.size, weight=weight, at_ms=now_ms)
    if current.phase == "frozen":
        late = msgspec.structs.replace(current, late={**current.late, uid: entry})
        return msgspec.structs.replace(state, round=late)
    current = msgspec.structs.replace(current, submissions={**current.submissions, uid: entry})
    return freeze_if_complete(msgspec.structs.replace(state, round=current))


def freeze(state: Training, body: Freeze, uid: str) -> Training:
    """The leader closes the list of contributors; the stragglers it names are not waited for until they are back."""
    current = round_led(state, body.round, body.term, uid)
    if current.phase == "frozen":
        raise Rejection(Code.FROZEN_ALREADY, f"the contributors of round {current.number} are fixed already")
    needed = terms_of(state).min_peers
    if len(current.submissions) < needed:
        raise Rejection(
            Code.BELOW_MIN_PEERS, f"round {current.number} has {len(current.submissions)} of {needed} models"
        )
    for straggler in set(body.stragglers).intersection(awaited(state)):
        state = with_member(state, msgspec.structs.replace(state.members[straggler], awaited=False))
    return msgspec.structs.replace(state, round=msgspec.structs.replace(current, phase="frozen"))


def progress(state: Training, body: Progress, uid: str) -> Training:
    """The leader's work moves on: whoever has reported the opposite was mistaken."""
    current = round_led(state, body.round, body.term, uid)
    return msgspec.structs.replace(state, round=msgspec.structs.replace(current, no_progress=()))


def publish(state: Training, body: Publish, uid: str, now_ms: int) -> Training:
    """The leader's merged model becomes the standing result and the next round opens, or training is over."""
    current = round_led(state, body.round, body.term, uid)
    if current.phase != "frozen":
        raise Rejection(Code.COLLECTING, f"round {current.number} is still collecting; freeze it first")
    _check_receipt(state, current, body.receipt)
    if len(body.receipt.contributions) < terms_of(state).min_peers:
        return _collect_again(state, current, body)
    if not any(part.weight for part in body.receipt.contributions) and body.result != current.base:
        raise Rejection(Code.NO_WEIGHT, "no contributor has weight: the previous model stands")
    if not body.result:
        raise Rejection(Code.NO_RESULT, "a merge of enough models has a result")
    if terms_of(state).initial == "one" and current.number == 0:
        _check_initial(body)
    same = state.result if body.result == current.base else None  # whoever held it, holds it
    result = Result(
        digest=body.result,
        size=same.size if same else body.size,
        leader=uid,
        receipt=body.receipt,
        closed=current,
        holders=same.holders if same else (uid,),
        missing=(),
        losses={},
        paced=False,
    )
    state = msgspec.structs.replace(
        state, result=result, members=_credited(state, current, body.receipt), rounds=current.number + 1
    )
    finished = sum(member.finished for member in state.members.values())
    if finished >= terms_of(state).min_peers:
        return msgspec.structs.replace(state, round=None, over=True)
    return open_round(state, number=current.number + 1, base=body.result, now_ms=now_ms)


def report_performance(state: Training, body: ReportPerformance, uid: str) -> Training:
    """The member holds the result, and is awaited if its ML process has it; everybody's loss sets the interval."""
    member = member_of(state, uid)
    result = standing_result(state, body.round)
    report = Performance(
        round=body.round,
        loss=body.loss,
        metric=body.metric,
        epochs=body.epochs,
        total_epochs=body.total_epochs,
    )
    expected = member.present if body.loaded else member.awaited
    state = with_member(state, msgspec.structs.replace(member, awaited=expected, performance=report))
    holders = result.holders if uid in result.holders else tuple(sorted((*result.holders, uid)))
    losses = result.losses if body.loss is None else {**result.losses, uid: body.loss}
    result = msgspec.structs.replace(
        result,
        holders=holders,
        losses=losses,
        missing=tuple(other for other in result.missing if other != uid),
    )
    return pace_if_complete(msgspec.structs.replace(state, result=result))


# --- when something goes wrong --------------------------------------------------------------------------------------


def depose(
    state: Training, body: Depose, uid: str, *, by_sn: bool, leader_incarnation: int, leader_height: int
) -> Training:
    """Replaces a leader: at an SN's word that its lease is gone, at its own, or at two reporters' of no progress."""
    current = round_in_progress(state, body.round)
    if body.term != current.term or not current.leader:
        raise Rejection(Code.STALE_TERM, f"round {current.number} is in term {current.term}, not {body.term}")
    if not by_sn:
        member_of(state, uid)
    if body.incarnation != leader_incarnation:
        raise Rejection(Code.OLD_INCARNATION, f"the leader now runs as incarnation {leader_incarnation}")
    if leader_height > body.seen_height:
        raise Rejection(Code.PROGRESS, f"the leader spoke at height {leader_height}, after {body.seen_height}")
    if body.cause == "lease":
        if not by_sn:
            raise Rejection(Code.NOT_ALLOWED, "only an SN can tell that a lease is gone")
        return elect_leader(next_term(state), deposed=current.leader)
    if uid == current.leader:
        return elect_leader(next_term(state), deposed=uid)
    if uid in current.no_progress:
        raise Rejection(Code.NO_CHANGE, f"{uid} has reported this already")
    reporters = (*current.no_progress, uid)
    if len(reporters) < 2:
        return msgspec.structs.replace(state, round=msgspec.structs.replace(current, no_progress=reporters))
    return elect_leader(next_term(state), deposed=current.leader)


def missing(state: Training, body: Missing, uid: str) -> Training:
    """The member states that it can get the result from nobody."""
    member = member_of(state, uid)
    result = standing_result(state, body.round)
    if uid in result.missing:
        raise Rejection(Code.NO_CHANGE, f"{uid} has stated so already")
    result = msgspec.structs.replace(
        result,
        missing=tuple(sorted((*result.missing, uid))),
        holders=tuple(other for other in result.holders if other != uid),
    )
    state = with_member(state, msgspec.structs.replace(member, awaited=False))
    return freeze_if_complete(pace_if_complete(msgspec.structs.replace(state, result=result)))


def void(state: Training, body: Void, now_ms: int) -> Training:
    """Nobody holds the result: its round is collected again in a new term."""
    result = standing_result(state, body.round)
    alive = [member.uid for member in state.members.values() if member.attendance in ("present", "ml-lost")]
    holding = [uid for uid in alive if uid not in result.missing]
    if holding or not alive:
        raise Rejection(
            Code.STILL_HELD, f"not every live member misses the result: {', '.join(holding) or 'none live'}"
        )
    if state.settled:
        raise Rejection(Code.SETTLED, "training has ended, all live members held its final model")
    contributed = {part.uid for part in result.receipt.contributions}
    members = {
        uid: msgspec.structs.replace(
            member,
            awaited=member.present,
            contributed=member.contributed - (uid in contributed),
            late=member.late - (uid in result.closed.late),
        )
        for uid, member in state.members.items()
    }
    gone = result.digest == result.closed.base  # then the model before is nowhere either: all begin with what they have
    again = msgspec.structs.replace(
        result.closed,
        base="" if gone else result.closed.base,
        phase="collecting",
        opened_ms=now_ms,
        submissions={},
        late={},
        barred={},
        no_progress=(),
    )
    state = msgspec.structs.replace(
        state, members=members, result=None, round=again, over=False, rounds=result.closed.number
    )
    return elect_leader(next_term(state))


def settle(state: Training, body: Settle) -> Training:
    """All live members hold the final result: from now on it is."""
    standing_result(state, body.round)
    if not state.over:
        raise Rejection(Code.NOT_OVER, f"training of contract {state.name} is not over")
    if state.settled or not all_hold(state):
        raise Rejection(
            Code.NO_CHANGE, "it is settled already" if state.settled else "not all live members hold it yet"
        )
    return msgspec.structs.replace(state, settled=True)


# --- inside ---------------------------------------------------------------------------------------------------------


def _collect_again(state: Training, current: Round, body: Publish) -> Training:
    if body.result:
        raise Rejection(
            Code.BELOW_MIN_PEERS,
            f"{len(body.receipt.contributions)} usable models are fewer than minPeers "
            f"{terms_of(state).min_peers}: the round collects again, without a result",
        )
    excluded = {part.uid for part in body.receipt.exclusions}
    unusable = {
        part.uid: Barred(current.submissions[part.uid].digest, f"{part.reason}: {part.detail}".removesuffix(": "))
        for part in body.receipt.exclusions
        if part.reason in ("non-finite", "structure")
    }
    usable = {uid: entry for uid, entry in current.submissions.items() if uid not in excluded}
    again = msgspec.structs.replace(
        current,
        phase="collecting",
        submissions={**usable, **current.late},
        late={},
        barred={**current.barred, **unusable},
    )
    return freeze_if_complete(msgspec.structs.replace(state, round=again))


def _check_receipt(state: Training, current: Round, receipt: Receipt) -> None:
    if receipt.method != terms_of(state).merge_method:
        raise Rejection(Code.WRONG_METHOD, f"the contract merges by {terms_of(state).merge_method}")
    named = [part.uid for part in receipt.contributions] + [part.uid for part in receipt.exclusions]
    if sorted(named) != sorted(current.submissions):
        raise Rejection(
            Code.WRONG_CONTRIBUTORS, "the receipt must name every contributor of the frozen round exactly once"
        )
    for part in receipt.contributions:
        entry = current.submissions[part.uid]
        if (part.digest, part.weight) != (entry.digest, entry.weight):
            raise Rejection(
                Code.WRONG_CONTRIBUTION,
                f"{part.uid} submitted {shortened(entry.digest)} with weight {entry.weight}",
            )


def _check_initial(body: Publish) -> None:
    """All start from the model of one contributor, the one with a coefficient."""
    chosen = [part.digest for part in body.receipt.contributions if part.coefficient]
    if chosen != [body.result]:
        raise Rejection(Code.NOT_INITIAL, "with initial sync `one` the result of round 0 is one contributor's model")


def _credited(state: Training, current: Round, receipt: Receipt) -> dict[str, Member]:
    contributed = {part.uid for part in receipt.contributions}
    return {
        uid: msgspec.structs.replace(
            member,
            contributed=member.contributed + (uid in contributed),
            late=member.late + (uid in current.late),
        )
        for uid, member in state.members.items()
    }
