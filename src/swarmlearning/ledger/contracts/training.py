"""The training contract: who takes part, which round it is, who leads it, and what was merged from what.

Theory of operation
-------------------
A *member* is an SL node with an open session. Method, minPeers and structure are those of the first session and hold
for all until `Reset`. Round 0 opens when minPeers sessions are open; each later round opens when the one before is
published.

A round has two phases, and a leader from the moment it opens, so that models can travel before the round is complete:

    collecting ──(all awaited members in, or the leader's Freeze)──▶ frozen ──(the leader's Publish)──▶ next round
        ▲                                                              │
        └──────────(Publish with fewer usable models than minPeers)────┘

*Awaited* are the members that are alive, whose ML process is, and that hold the latest result; a newcomer or one who
returns without it becomes awaited when it reports that it does. A round never waits for anybody else, and never closes
below minPeers: then it waits without limit, and `waiting_text` says for whom.

The leader is the member at position (round + term) among the *eligible*: alive, willing, by UID. A leader that is lost
is followed at once by the next (term + 1); one that is alive but makes no progress is deposed by an SN whose lease for
it is gone, by two reporters, or by itself. What has been submitted stays, so the next leader goes on from there, and
whatever the old one still publishes carries a stale term and is refused.

A result *stands* until the next one. Whoever holds it says so (`ReportPerformance`) and may serve it; only when every
live member has said that it can get it from nobody (`Missing`) is it void and its round collected again.

Training is over when, as a round closes, at least minPeers members have closed their session. Members that closed go
on contributing by their check-in mode until then; they count to minPeers, an inactive one with weight 0 (in round 0,
where no previous model could stand instead, with its own).

Timers live outside: the contract knows heights and terms, never seconds.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from swarmlearning.ledger.bodies import (
    CheckinMode,
    CloseSession,
    Depose,
    Freeze,
    MergeMethod,
    Missing,
    OpenSession,
    Publish,
    Receipt,
    ReportPerformance,
    SubmissionKind,
    Submit,
    Void,
)
from swarmlearning.ledger.contracts.adaptive import Pace, mean_loss, next_interval
from swarmlearning.ledger.contracts.rejection import Rejection

Attendance = Literal["present", "lost", "restarted", "ml-lost"]


class Terms(msgspec.Struct, frozen=True):
    """What all sessions of a training share, fixed by the first of them."""

    merge_method: MergeMethod
    min_peers: int
    structure: str


class Performance(msgspec.Struct, frozen=True):
    """A member's last report."""

    round: int
    loss: float | None
    metric: float | None
    epochs: int
    total_epochs: int


class Member(msgspec.Struct, frozen=True):
    """A session. `awaited`: rounds wait for it. `finished`: its local training has ended."""

    uid: str
    incarnation: int
    weightage: int
    sync_frequency: int
    interval: int
    checkin: CheckinMode
    epochs: int
    adaptive: bool
    may_lead: bool
    attendance: Attendance
    since_ms: int
    awaited: bool
    finished: bool
    contributed: int
    late: int
    performance: Performance | None

    @property
    def present(self) -> bool:
        """Alive, with a living ML process or one that ended well."""
        return self.attendance == "present"


class Submission(msgspec.Struct, frozen=True):
    """A member's model for a round."""

    uid: str
    kind: SubmissionKind
    digest: str
    size: int
    weight: int
    at_ms: int


class Round(msgspec.Struct, frozen=True):
    """The round in progress. `base` is the standing result's digest, empty in round 0."""

    number: int
    term: int
    base: str
    leader: str
    frozen: bool
    opened_ms: int
    submissions: dict[str, Submission]
    late: dict[str, Submission]
    barred: dict[str, str]
    no_progress: tuple[str, ...]


class Result(msgspec.Struct, frozen=True):
    """The standing result and the closed round it came from."""

    digest: str
    size: int
    leader: str
    receipt: Receipt
    closed: Round
    holders: tuple[str, ...]
    missing: tuple[str, ...]
    losses: dict[str, float]
    paced: bool


class Training(msgspec.Struct, frozen=True):
    """One training contract. `run` counts its resets; `over` once training is."""

    name: str
    run: int
    terms: Terms | None
    members: dict[str, Member]
    round: Round | None
    result: Result | None
    over: bool
    rounds: int
    pace: Pace


def empty(name: str, run: int = 0) -> Training:
    """A contract without sessions."""
    return Training(
        name=name,
        run=run,
        terms=None,
        members={},
        round=None,
        result=None,
        over=False,
        rounds=0,
        pace=Pace(best_loss=None, eighths=8),
    )


# --- sessions -------------------------------------------------------------------------------------------------------


def open_session(state: Training, body: OpenSession, uid: str, incarnation: int, now_ms: int) -> Training:
    """Adds a member, or takes one back whose process or ML process was restarted."""
    if state.over:
        raise Rejection(
            "training-over",
            f"training of contract {state.name} is over; an operator resets it (RESET CONTRACT) before the next one",
        )
    terms = Terms(merge_method=body.merge_method, min_peers=body.min_peers, structure=body.structure)
    _same_terms(state, terms)
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
        awaited=_is_round_zero(state),
        finished=False,
        contributed=known.contributed if known else 0,
        late=known.late if known else 0,
        performance=known.performance if known else None,
    )
    state = msgspec.structs.replace(state, terms=terms, members={**state.members, uid: member})
    if state.round is None and _present(state) >= terms.min_peers:
        state = _open_round(state, number=0, base="", now_ms=now_ms)
    return _freeze_if_complete(_seat_leader(state))


def close_session(state: Training, body: CloseSession, uid: str) -> Training:
    """The member's local training has ended; it stays and contributes by its check-in mode."""
    member = _member(state, uid)
    if member.finished:
        raise Rejection("closed-already", f"the session of {uid} is closed already")
    return _with_member(state, msgspec.structs.replace(member, finished=True, checkin=body.checkin))


def attend(state: Training, uid: str, attendance: Attendance, incarnation: int, now_ms: int) -> Training:
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
    awaited = attendance == "present" and (_is_round_zero(state) or _holds(state, uid))
    state = _with_member(
        state, msgspec.structs.replace(member, attendance=attendance, since_ms=now_ms, awaited=awaited)
    )
    if state.round is None and state.terms and not state.over and _present(state) >= state.terms.min_peers:
        state = _open_round(state, number=0, base="", now_ms=now_ms)
    if attendance in ("lost", "restarted") and state.round and state.round.leader == uid:
        state = _next_term(state)
    return _freeze_if_complete(_seat_leader(_pace_if_complete(state)))


def reset(state: Training, forced: bool) -> Training:
    """An empty contract for the next run."""
    if not (state.over or forced or not state.members):
        raise Rejection("not-over", f"training of contract {state.name} is not over; force the reset to end it")
    return empty(state.name, run=state.run + 1)


# --- a round --------------------------------------------------------------------------------------------------------


def submit(state: Training, body: Submit, uid: str, now_ms: int) -> Training:
    """Takes a member's model for the round; after the freeze it is noted as late."""
    member = _member(state, uid)
    current = _current(state, body.round)
    if body.submission == "trained":
        if member.finished:
            raise Rejection("finished", f"the session of {uid} is closed; it contributes by its check-in mode only")
        if body.base != current.base:
            raise Rejection(
                "stale-base",
                f"round {current.number} builds on {_short(current.base)}, this model on {_short(body.base)}; "
                "take the latest merged model first",
            )
    elif not member.finished or body.submission != member.checkin:
        raise Rejection(
            "not-closed",
            f"a {body.submission} model comes from a member that closed its session in that mode; {uid} has not",
        )
    weight = weight_in(current, member, body.submission)
    if body.weight != weight:
        raise Rejection("wrong-weight", f"the weight of {uid} in this round is {weight}, not {body.weight}")
    if uid in current.submissions or uid in current.late:
        raise Rejection("submitted-already", f"{uid} has submitted to round {current.number} already")
    if current.barred.get(uid) == body.digest:
        raise Rejection(
            "excluded", f"model {_short(body.digest)} of {uid} was found unusable in round {current.number}"
        )
    entry = Submission(uid=uid, kind=body.submission, digest=body.digest, size=body.size, weight=weight, at_ms=now_ms)
    if current.frozen:
        late = msgspec.structs.replace(current, late={**current.late, uid: entry})
        return msgspec.structs.replace(state, round=late)
    current = msgspec.structs.replace(current, submissions={**current.submissions, uid: entry})
    return _freeze_if_complete(msgspec.structs.replace(state, round=current))


def weight_in(current: Round, member: Member, kind: SubmissionKind) -> int:
    """Weight of a member's model: none when inactive, unless there is no previous model that could stand instead."""
    return 0 if kind == "inactive" and current.base else member.weightage


def freeze(state: Training, body: Freeze, uid: str) -> Training:
    """The leader closes the list of contributors."""
    current = _led(state, body.round, body.term, uid)
    if current.frozen:
        raise Rejection("frozen-already", f"the contributors of round {current.number} are fixed already")
    needed = _terms(state).min_peers
    if len(current.submissions) < needed:
        raise Rejection("below-min-peers", f"round {current.number} has {len(current.submissions)} of {needed} models")
    return msgspec.structs.replace(state, round=msgspec.structs.replace(current, frozen=True))


def publish(state: Training, body: Publish, uid: str, now_ms: int) -> Training:
    """The leader's merged model becomes the standing result and the next round opens, or training is over."""
    current = _led(state, body.round, body.term, uid)
    if not current.frozen:
        raise Rejection("collecting", f"round {current.number} is still collecting; freeze it first")
    _check_receipt(state, current, body.receipt)
    if len(body.receipt.contributions) < _terms(state).min_peers:
        return _collect_again(state, current, body)
    if not any(part.weight for part in body.receipt.contributions) and body.result != current.base:
        raise Rejection("no-weight", "no contributor has weight: the previous model stands")
    if not body.result:
        raise Rejection("no-result", "a merge of enough models has a result")
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
    if finished >= _terms(state).min_peers:
        return msgspec.structs.replace(state, round=None, over=True)
    return _open_round(state, number=current.number + 1, base=body.result, now_ms=now_ms)


def report_performance(state: Training, body: ReportPerformance, uid: str) -> Training:
    """The member holds the result; with everybody's loss the adaptive interval is set."""
    member = _member(state, uid)
    result = _standing(state, body.round)
    report = Performance(
        round=body.round,
        loss=body.loss,
        metric=body.metric,
        epochs=body.epochs,
        total_epochs=body.total_epochs,
    )
    state = _with_member(state, msgspec.structs.replace(member, awaited=member.present, performance=report))
    holders = result.holders if uid in result.holders else tuple(sorted((*result.holders, uid)))
    losses = result.losses if body.loss is None else {**result.losses, uid: body.loss}
    result = msgspec.structs.replace(
        result,
        holders=holders,
        losses=losses,
        missing=tuple(other for other in result.missing if other != uid),
    )
    return _pace_if_complete(msgspec.structs.replace(state, result=result))


# --- when something goes wrong --------------------------------------------------------------------------------------


def depose(
    state: Training, body: Depose, uid: str, *, by_sn: bool, leader_incarnation: int, leader_height: int
) -> Training:
    """Replaces a leader: at an SN's word that its lease is gone, at its own, or at two reporters' of no progress."""
    current = _current(state, body.round)
    if body.term != current.term or not current.leader:
        raise Rejection("stale-term", f"round {current.number} is in term {current.term}, not {body.term}")
    if not by_sn:
        _member(state, uid)
    if body.incarnation != leader_incarnation:
        raise Rejection("old-incarnation", f"the leader now runs as incarnation {leader_incarnation}")
    if leader_height > body.seen_height:
        raise Rejection("progress", f"the leader spoke at height {leader_height}, after {body.seen_height}")
    if body.cause == "lease":
        if not by_sn:
            raise Rejection("not-allowed", "only an SN can tell that a lease is gone")
        return _seat_leader(_next_term(state))
    if uid == current.leader:
        return _seat_leader(_next_term(state))
    if uid in current.no_progress:
        raise Rejection("no-change", f"{uid} has reported this already")
    reporters = (*current.no_progress, uid)
    if len(reporters) < 2:
        return msgspec.structs.replace(state, round=msgspec.structs.replace(current, no_progress=reporters))
    return _seat_leader(_next_term(state))


def missing(state: Training, body: Missing, uid: str) -> Training:
    """The member states that it can get the result from nobody."""
    member = _member(state, uid)
    result = _standing(state, body.round)
    if uid in result.missing:
        raise Rejection("no-change", f"{uid} has stated so already")
    result = msgspec.structs.replace(
        result,
        missing=tuple(sorted((*result.missing, uid))),
        holders=tuple(other for other in result.holders if other != uid),
    )
    state = _with_member(state, msgspec.structs.replace(member, awaited=False))
    return _freeze_if_complete(_pace_if_complete(msgspec.structs.replace(state, result=result)))


def void(state: Training, body: Void, now_ms: int) -> Training:
    """Nobody holds the result: its round is collected again in a new term."""
    result = _standing(state, body.round)
    alive = [member.uid for member in state.members.values() if member.attendance in ("present", "ml-lost")]
    holding = [uid for uid in alive if uid not in result.missing]
    if holding or not alive:
        raise Rejection("still-held", f"not every live member misses the result: {', '.join(holding) or 'none live'}")
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
    again = msgspec.structs.replace(
        result.closed, frozen=False, opened_ms=now_ms, submissions={}, late={}, barred={}, no_progress=()
    )
    state = msgspec.structs.replace(
        state, members=members, result=None, round=again, over=False, rounds=result.closed.number
    )
    return _seat_leader(_next_term(state))


# --- what a reader asks ---------------------------------------------------------------------------------------------


def awaited(state: Training) -> list[str]:
    """UIDs the round in progress still waits for, whatever minPeers."""
    if state.round is None:
        return []
    return [
        uid
        for uid, member in sorted(state.members.items())
        if member.present and member.awaited and uid not in state.round.submissions
    ]


def waiting_text(state: Training) -> str:
    """One line: what the training waits for, and for whom."""
    if state.over:
        return "training is over"
    if state.terms is None:
        return "no session is open yet"
    if state.round is None:
        more = state.terms.min_peers - _present(state)
        away = _listed(f"{uid} ({one.attendance})" for uid, one in state.members.items() if not one.present)
        return f"{_present(state)} of {state.terms.min_peers} sessions are open; round 0 waits for {more} more" + away
    current = state.round
    if not current.leader:
        return f"round {current.number}: no member can lead (all lost, or SL_MAKE_ME_ADMIN=False)"
    if current.frozen:
        return f"round {current.number}: {current.leader} is merging {len(current.submissions)} models"
    absent = _listed(uid + _hindrance(state, uid) for uid in state.members if uid not in current.submissions)
    return f"round {current.number}: {len(current.submissions)} models in, minPeers {state.terms.min_peers}" + absent


def _listed(names: Iterable[str]) -> str:
    found = sorted(names)
    return f"; waiting for {', '.join(found)}" if found else ""


def _hindrance(state: Training, uid: str) -> str:
    """Why the round has no model of this member; empty while it is merely expected."""
    assert state.round is not None
    member = state.members[uid]
    if not member.present:
        return f" ({member.attendance})"
    if uid in state.round.barred:
        return " (its model cannot be used)"
    if state.result is not None and uid in state.result.missing:
        return " (can get the latest model from nobody)"
    return "" if member.awaited else " (joins once it holds the latest model)"


# --- inside ---------------------------------------------------------------------------------------------------------


def _open_round(state: Training, number: int, base: str, now_ms: int) -> Training:
    opened = Round(
        number=number,
        term=0,
        base=base,
        leader="",
        frozen=False,
        opened_ms=now_ms,
        submissions={},
        late={},
        barred={},
        no_progress=(),
    )
    return _seat_leader(msgspec.structs.replace(state, round=opened))


def _next_term(state: Training) -> Training:
    assert state.round is not None
    following = msgspec.structs.replace(state.round, term=state.round.term + 1, leader="", no_progress=())
    return msgspec.structs.replace(state, round=following)


def _seat_leader(state: Training) -> Training:
    """Elects where there is no leader; members without a living ML process lead only if nobody else can."""
    current = state.round
    if current is None or current.leader:
        return state
    willing = [member for member in state.members.values() if member.may_lead]
    eligible = sorted(member.uid for member in willing if member.present)
    if not eligible:
        eligible = sorted(member.uid for member in willing if member.attendance == "ml-lost")
    if not eligible:
        return state
    leader = eligible[(current.number + current.term) % len(eligible)]
    return msgspec.structs.replace(state, round=msgspec.structs.replace(current, leader=leader))


def _freeze_if_complete(state: Training) -> Training:
    current = state.round
    if current is None or current.frozen or awaited(state):
        return state
    if len(current.submissions) < _terms(state).min_peers:
        return state
    return msgspec.structs.replace(state, round=msgspec.structs.replace(current, frozen=True))


def _collect_again(state: Training, current: Round, body: Publish) -> Training:
    if body.result:
        raise Rejection(
            "below-min-peers",
            f"{len(body.receipt.contributions)} usable models are fewer than minPeers "
            f"{_terms(state).min_peers}: the round collects again, without a result",
        )
    excluded = {part.uid for part in body.receipt.exclusions}
    unusable = {
        part.uid: current.submissions[part.uid].digest
        for part in body.receipt.exclusions
        if part.reason in ("non-finite", "structure")
    }
    usable = {uid: entry for uid, entry in current.submissions.items() if uid not in excluded}
    again = msgspec.structs.replace(
        current,
        frozen=False,
        submissions={**usable, **current.late},
        late={},
        barred={**current.barred, **unusable},
    )
    return _freeze_if_complete(msgspec.structs.replace(state, round=again))


def _check_receipt(state: Training, current: Round, receipt: Receipt) -> None:
    if receipt.method != _terms(state).merge_method:
        raise Rejection("wrong-method", f"the contract merges by {_terms(state).merge_method}")
    named = [part.uid for part in receipt.contributions] + [part.uid for part in receipt.exclusions]
    if sorted(named) != sorted(current.submissions):
        raise Rejection(
            "wrong-contributors", "the receipt must name every contributor of the frozen round exactly once"
        )
    for part in receipt.contributions:
        entry = current.submissions[part.uid]
        if (part.digest, part.weight) != (entry.digest, entry.weight):
            raise Rejection(
                "wrong-contribution",
                f"{part.uid} submitted {_short(entry.digest)} with weight {entry.weight}",
            )


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


def _pace_if_complete(state: Training) -> Training:
    """Once every contributor that is there and can get the result has reported, their mean loss sets the pace."""
    result = state.result
    if result is None or result.paced:
        return state
    contributors = {part.uid for part in result.receipt.contributions}
    expected = [uid for uid in contributors if state.members[uid].present and uid not in result.missing]
    if not all(_reported(state, uid) for uid in expected):
        return state
    loss = mean_loss({uid: loss for uid, loss in result.losses.items() if uid in contributors})
    pace = state.pace if loss is None else state.pace.after(loss)
    members = {
        uid: msgspec.structs.replace(member, interval=next_interval(member.sync_frequency, pace))
        if member.adaptive
        else member
        for uid, member in state.members.items()
    }
    return msgspec.structs.replace(
        state, members=members, pace=pace, result=msgspec.structs.replace(result, paced=True)
    )


def _reported(state: Training, uid: str) -> bool:
    assert state.result is not None
    performance = state.members[uid].performance
    return performance is not None and performance.round == state.result.closed.number


def _same_terms(state: Training, terms: Terms) -> None:
    fixed = state.terms
    if fixed is None:
        return
    names = {"merge_method": "mergeMethod", "min_peers": "minPeers", "structure": "model structure"}
    differences = [
        f"{text} is {getattr(fixed, name)}, this session has {getattr(terms, name)}"
        for name, text in names.items()
        if getattr(fixed, name) != getattr(terms, name)
    ]
    if differences:
        raise Rejection("other-terms", f"contract {state.name}: {'; '.join(differences)}. All sites must agree")


def _is_round_zero(state: Training) -> bool:
    """Before the first result everybody starts from nothing, so nobody has to take a model first."""
    return state.result is None and (state.round is None or state.round.number == 0)


def _holds(state: Training, uid: str) -> bool:
    return state.result is not None and uid in state.result.holders


def _present(state: Training) -> int:
    return sum(member.present for member in state.members.values())


def _terms(state: Training) -> Terms:
    if state.terms is None:
        raise Rejection("no-session", f"contract {state.name} has no open session")
    return state.terms


def _member(state: Training, uid: str) -> Member:
    member = state.members.get(uid)
    if member is None:
        raise Rejection("not-a-member", f"{uid} has no open session in contract {state.name}; open one first")
    return member


def _with_member(state: Training, member: Member) -> Training:
    return msgspec.structs.replace(state, members={**state.members, member.uid: member})


def _current(state: Training, number: int) -> Round:
    if state.over:
        raise Rejection("training-over", f"training of contract {state.name} is over")
    if state.round is None:
        raise Rejection("no-round", waiting_text(state))
    if state.round.number != number:
        raise Rejection("other-round", f"round {state.round.number} is in progress, not {number}")
    return state.round


def _led(state: Training, number: int, term: int, uid: str) -> Round:
    current = _current(state, number)
    if current.term != term:
        raise Rejection("stale-term", f"round {number} is in term {current.term}, not {term}")
    if current.leader != uid:
        raise Rejection("not-leader", f"round {number} is led by {current.leader or 'nobody'}, not {uid}")
    return current


def _standing(state: Training, number: int) -> Result:
    if state.result is None or state.result.closed.number != number:
        latest = "none" if state.result is None else str(state.result.closed.number)
        raise Rejection("other-round", f"the standing result is of round {latest}, not {number}")
    return state.result


def _short(digest: str) -> str:
    return digest[:12] or "nothing (round 0)"
