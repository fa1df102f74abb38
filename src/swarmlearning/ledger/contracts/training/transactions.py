"""The transactions of a round: one function each, from (state, body, sender) to the state after it.

Each raises `Rejection` when the transaction does not hold; then nothing has changed. `state.py` has the theory.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType

import msgspec

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.barring import found_unusable, is_barred
from swarmlearning.ledger.contracts.training.bodies import (
    Exclusion,
    Freeze,
    Progress,
    Publish,
    Receipt,
    ReportPerformance,
    Submit,
)
from swarmlearning.ledger.contracts.training.receipts import check_receipt, check_result
from swarmlearning.ledger.contracts.training.sizes import PARTS, next_report
from swarmlearning.ledger.contracts.training.state import (
    Member,
    Performance,
    Result,
    Round,
    Training,
    alive,
    awaited,
    enough,
    needed_organisations,
    weight_in,
)
from swarmlearning.ledger.contracts.training.steps import check_step, with_steps
from swarmlearning.ledger.contracts.training.submissions import NO_MODEL, Submission, kept_back
from swarmlearning.ledger.contracts.training.transfers import check_change
from swarmlearning.ledger.contracts.training.transitions import (
    collecting_again,
    elect_leader,
    freeze_if_complete,
    member_of,
    next_term,
    open_round,
    pace_if_complete,
    round_in_progress,
    round_led,
    shortened,
    standing_result,
    terms_of,
    with_entry,
    with_member,
    without_mark,
    without_slices,
)

MOST_REPORTS = 8 * PARTS
"""Of progress in one term: all models pass once over the network and at most seven times through a merge."""


def submit(state: Training, body: Submit, uid: str, now_ms: int) -> Training:
    """Adds a member's model to the round; after the freeze it is recorded as late."""
    member = member_of(state, uid)
    current = round_in_progress(state, body.round)
    if body.submission in ("trained", "carried"):
        if member.finished:
            raise Rejection(Code.FINISHED, f"the session of {uid} is closed; it contributes by its check-in mode only")
    elif body.submission != "withheld" and not (member.finished and body.submission == member.checkin):
        raise Rejection(
            Code.NOT_CLOSED,
            f"a {body.submission} model comes from a member that closed its session in that mode; {uid} has not",
        )
    if body.submission in ("trained", "carried", "withheld") and body.base != current.base:
        raise Rejection(
            Code.STALE_BASE,
            f"round {current.number} builds on {shortened(current.base)}, this model on {shortened(body.base)}; "
            "load the latest merged model first",
        )
    _check_privacy(current, body)
    weight = weight_in(current, member, body.submission)
    if body.weight != weight:
        raise Rejection(Code.WRONG_WEIGHT, f"the weight of {uid} in this round is {weight}, not {body.weight}")
    if uid in current.late or (uid in current.submissions and not _replaces(current, uid, body.digest)):
        raise Rejection(Code.SUBMITTED_ALREADY, f"{uid} has submitted to round {current.number} already")
    if is_barred(state, uid, body.digest):
        raise Rejection(
            Code.EXCLUDED, f"model {shortened(body.digest)} of {uid} was found unusable in round {current.number}"
        )
    entry = Submission(uid, body.submission, body.digest, body.size, weight, now_ms, body.privacy)
    if current.phase == "frozen":
        late = msgspec.structs.replace(current, late={**current.late, uid: entry})
        return msgspec.structs.replace(state, round=late)
    return freeze_if_complete(msgspec.structs.replace(state, round=with_entry(state, current, entry)))


def _check_privacy(current: Round, body: Submit) -> None:
    """Raises `Rejection` where a site says that it withholds its model and gives one, or the other way round."""
    reason = body.privacy.withheld if body.privacy else ""
    if (body.submission == "withheld") != bool(reason):
        raise Rejection(Code.WRONG_KIND, f"a {body.submission} model cannot be withheld for the reason {reason!r}")
    if reason and body.digest != (current.base or NO_MODEL):
        raise Rejection(Code.WRONG_KIND, "who withholds its model names the round's base, or nothing where it has none")


def _replaces(current: Round, uid: str, digest: str) -> bool:
    """True if this is another model in place of one that could not be fetched."""
    return uid in current.unreachable and current.submissions[uid].digest != digest and current.phase == "collecting"


def freeze(state: Training, body: Freeze, uid: str) -> Training:
    """The leader closes the list of contributors; the stragglers it names are not waited for until they are back."""
    current = round_led(state, body.round, body.term, uid)
    if current.phase == "frozen":
        raise Rejection(Code.FROZEN_ALREADY, f"the contributors of round {current.number} are fixed already")
    for member in body.reached:
        current = without_mark(current, member)
    if not enough(state, current.counted):
        raise Rejection(
            Code.BELOW_MIN_PEERS,
            f"round {current.number} has {current.usable} of {terms_of(state).min_peers} models{_of_how_many(state)}",
        )
    for straggler in set(body.stragglers).intersection(awaited(state)):
        state = with_member(state, msgspec.structs.replace(state.members[straggler], awaited=False))
    return msgspec.structs.replace(state, round=msgspec.structs.replace(current, phase="frozen"))


def progress(state: Training, body: Progress, uid: str) -> Training:
    """The leader's work moves on: whoever has reported the opposite was mistaken."""
    current = round_led(state, body.round, body.term, uid)
    if current.reports >= MOST_REPORTS:
        raise Rejection(Code.NO_PROGRESS, f"after {MOST_REPORTS} reports of progress in one term no more are accepted")
    least = next_report(state, current)
    if current.phase == "frozen" and body.moved < least:
        raise Rejection(
            Code.NO_PROGRESS, f"{body.moved} bytes moved are no progress yet; the next report is of {least}"
        )
    noted = msgspec.structs.replace(current, no_progress={}, reports=current.reports + 1, moved=body.moved)
    return msgspec.structs.replace(state, round=noted)


def publish(state: Training, body: Publish, uid: str, now_ms: int, copies: Collection[str] = ()) -> Training:
    """The leader's merged model becomes the standing result and the next round opens, or training is over.

    `copies`: members that have given what another one has trained (`submissions.copies`; none before rules version 3).
    """
    current = round_led(state, body.round, body.term, uid)
    if current.phase != "frozen":
        raise Rejection(Code.COLLECTING, f"round {current.number} is still collecting; freeze it first")
    check_receipt(terms_of(state), current, body)
    parts = body.receipt.contributions
    there = {part.uid for part in parts} | kept_back(current.submissions, current.base)
    if not enough(state, there) or not (current.base or any(part.weight for part in parts)):
        _require_no_result(state, body)
        return collect_again(state, current, body.receipt.exclusions)
    check_result(state, current, body)
    check_step(state, current, body)
    check_change(state, current, body)
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
        repeated=_repeated(state, current.base, body.receipt, copies),
    )
    state = msgspec.structs.replace(
        state, result=result, members=_credited(state, current, result, uid), rounds=current.number + 1
    )
    state = with_steps(msgspec.structs.replace(state, change=body.change), body.result, body.step)
    finished = [uid for uid, member in state.members.items() if member.finished]
    if state.stopping or enough(state, finished):
        return msgspec.structs.replace(state, round=None, over=True)
    return open_round(state, number=current.number + 1, base=body.result, now_ms=now_ms)


def report_performance(state: Training, body: ReportPerformance, uid: str) -> Training:
    """The member holds the result, and is awaited if its ML process has it; everybody's loss sets the interval."""
    member = member_of(state, uid)
    result = standing_result(state, body.round)
    state = _reached_holder(state, result, uid)
    member = member_of(state, uid)
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
        given_up=tuple(other for other in result.given_up if other != uid),
        slow=tuple(other for other in result.slow if other != uid),
    )
    return pace_if_complete(msgspec.structs.replace(state, result=result))


# --- inside ---------------------------------------------------------------------------------------------------------


def _reached_holder(state: Training, result: Result, uid: str) -> Training:
    """The only member that held the result has served it to this one: others can fetch from it."""
    holders = alive(state).intersection(result.holders) - {uid}
    if uid in result.holders or len(holders) != 1:
        return state
    (holder,) = holders
    return with_member(state, msgspec.structs.replace(state.members[holder], unreachable=False))


def _require_no_result(state: Training, body: Publish) -> None:
    if body.result or body.step or body.change:
        raise Rejection(
            Code.BELOW_MIN_PEERS,
            f"{len(body.receipt.contributions)} usable models are fewer than minPeers {terms_of(state).min_peers}"
            f"{_of_how_many(state)}: the round collects again, without a result",
        )


def collect_again(
    state: Training,
    current: Round,
    exclusions: Collection[Exclusion],
    finders: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> Training:
    """Too few models are usable without those excluded: the round takes models again, under another leader.

    `finders`: who has found a member's model unusable; where nobody is named, the leader."""
    parts = {part.uid: part for part in exclusions}
    unreachable = {uid for uid, part in parts.items() if part.reason in ("unreachable", "too-slow")}
    faulty = parts.keys() - unreachable - kept_back(current.submissions, current.base)
    barred = {
        uid: found_unusable(current, part, finders.get(uid, (current.leader,)))
        for uid, part in parts.items()
        if uid in faulty
    }
    kept = {uid: entry for uid, entry in current.submissions.items() if uid not in barred}
    again = msgspec.structs.replace(
        current,
        submissions=kept,
        barred={**current.barred, **barred},
        unreachable=tuple(sorted(unreachable.union(current.unreachable) - barred.keys())),
    )
    once = tuple(sorted(unreachable.union(state.once_unreachable)))
    state = without_slices(state, current.number)
    state = msgspec.structs.replace(state, round=collecting_again(state, again), once_unreachable=once)
    state = next_term(state)
    return freeze_if_complete(elect_leader(state, previous=current.leader))


def _of_how_many(state: Training) -> str:
    """What the contract requires besides minPeers, for a sentence."""
    needed = needed_organisations(state)
    return f", or not of {needed} organisations" if needed > 1 else ""


def _repeated(state: Training, base: str, receipt: Receipt, copies: Collection[str]) -> tuple[str, ...]:
    """The contributors whose model was not trained for this round, or not by them."""
    return tuple(
        part.uid
        for part in receipt.contributions
        if part.weight == 0 or part.digest in (base, state.members[part.uid].model) or part.uid in copies
    )


def _credited(state: Training, current: Round, result: Result, leader: str) -> dict[str, Member]:
    parts = result.receipt.contributions
    contributed = {part.uid: part.digest for part in parts}
    fetched = {part.uid for part in parts if part.weight and part.digest != current.base} - {leader}
    return {
        uid: msgspec.structs.replace(
            member,
            contributed=member.contributed + (uid in contributed),
            late=member.late + (uid in current.late),
            unreachable=member.unreachable and (uid not in fetched or member.void_results > 1),
            repeated=member.repeated + (uid in result.repeated),
            model=contributed.get(uid, member.model),
        )
        for uid, member in state.members.items()
    }
