"""Transitions of a training contract that its state triggers after any transaction: a round opens, a leader is elected,
a complete round freezes, the adaptive interval is set. And the look-ups that most transactions begin with.
"""

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from swarmlearning.ledger.canonical import canonical, sha256
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.adaptive import Pace, mean_progress, next_interval
from swarmlearning.ledger.contracts.training.state import (
    Member,
    Result,
    Round,
    Terms,
    Training,
    alive,
    awaited,
    enough,
    needed_organisations,
    organisations_of,
    present,
    present_members,
)
from swarmlearning.ledger.contracts.training.submissions import Submission

ATTEMPTS = 2
"""Terms that a member has led in vain in one round after which it counts as one that cannot lead it."""


def open_round(state: Training, number: int, base: str, now_ms: int) -> Training:
    """The round of this number begins, in term 0."""
    if not state.order:
        state = msgspec.structs.replace(state, order=_order(state))
    opened = Round(
        number=number,
        term=0,
        base=base,
        leader="",
        phase="collecting",
        opened_ms=now_ms,
        submissions={},
        late={},
        barred={},
        no_progress={},
    )
    return elect_leader(msgspec.structs.replace(state, round=opened, once_unreachable=()))


def next_term(state: Training) -> Training:
    """The round goes on without a leader; `elect_leader` finds the next."""
    current = state.round
    assert current is not None
    led = {**current.led, current.leader: current.led.get(current.leader, 0) + 1} if current.leader else current.led
    following = msgspec.structs.replace(
        current, term=current.term + 1, leader="", no_progress={}, overdue={}, reports=0, led=led
    )
    return msgspec.structs.replace(state, round=following)


def elect_leader(state: Training, previous: str = "") -> Training:
    """Elects where there is no leader; `previous` led until now, and does not again if anybody else can.

    Members that others cannot fetch from lead only if nobody else can, and so do, before these, members without a
    living ML process. Who has led this round in vain comes after those who have not, or less often; after `ATTEMPTS`
    the next best are tried, too. It does not matter how that ended: one that is lost just before others lose their
    patience has led in vain, too.
    """
    current = state.round
    if current is None or current.leader:
        return state
    eligible = _eligible(state, current)
    if not eligible:
        return state
    turns = _turns(state, eligible, current.number + current.term)
    leader = min(turns, key=lambda uid: (uid == previous, current.led.get(uid, 0)))
    return msgspec.structs.replace(state, round=msgspec.structs.replace(current, leader=leader))


def _eligible(state: Training, current: Round) -> list[str]:
    """The members that may lead now: those who can do it best, and the next best where all of these have failed though
    the models to merge could be fetched."""
    willing = [member for member in state.members.values() if member.may_lead]
    fetched = enough(state, current.counted)
    eligible: list[str] = []
    for unreachable in (False, True):
        for attendance in ("present", "ml-lost"):
            eligible += [one.uid for one in willing if one.unreachable == unreachable and one.attendance == attendance]
            if eligible and not (fetched and all(current.led.get(uid, 0) >= ATTEMPTS for uid in eligible)):
                return eligible
    return eligible


def _turns(state: Training, eligible: list[str], turn: int) -> list[str]:
    """These members, first the one whose turn it is.

    Where rounds need several organisations, these take turns, and the sites of each among themselves: with more sites
    an organisation neither leads more often, and so reads more models of single sites, nor delays a round more often.
    """
    groups: dict[str, list[str]] = {}
    for uid in sorted(eligible, key=lambda uid: place_in(state.order, uid)):
        own = state.members[uid].organisation if needed_organisations(state) > 1 else ""
        groups.setdefault(own, []).append(uid)
    ordered = [groups[own] for own in sorted(groups, key=lambda own: place_in(state.order, own))]
    found: dict[str, None] = {}
    while len(found) < len(eligible):
        group = ordered[turn % len(ordered)]
        found.setdefault(group[turn // len(ordered) % len(group)])
        turn += 1
    return list(found)


def _order(state: Training) -> str:
    """A value that nobody can choose before the last member is known."""
    identities = sorted([uid, member.identity] for uid, member in state.members.items())
    return sha256(canonical([state.network, state.name, state.run, identities]))


@lru_cache(maxsize=4096)
def place_in(order: str, uid: str) -> str:
    """Sorts members, or organisations, in this order."""
    return sha256(canonical([order, uid]))


def with_hope(state: Training, uid: str) -> Training:
    """The state after something has changed about this member: the result may be had from it, if it holds it.

    That is believed once a result: of each member, or of each organisation where a round needs several. Otherwise one
    that serves nobody, and comes and goes, would keep all others from giving the result up.
    """
    result, member = state.result, state.members.get(uid)
    if result is None or member is None or not holds(state, uid):
        return state
    source = uid if needed_organisations(state) == 1 else member.organisation
    if source in result.hopes:
        return state
    hopeful = msgspec.structs.replace(result, given_up=(), slow=(), hopes=(*result.hopes, source))
    return msgspec.structs.replace(state, result=hopeful)


def without_mark(current: Round, uid: str) -> Round:
    """The round with this contributor's model counting to minPeers again."""
    return msgspec.structs.replace(current, unreachable=tuple(other for other in current.unreachable if other != uid))


def with_entry(state: Training, current: Round, entry: Submission) -> Round:
    """The round with this model, or with another one in place of one that could not be fetched.

    It counts to minPeers at once, but for that of a walled member in a round with a void result: a reachable leader
    would fix the contributors with it, have too few models, and let this member lead again.
    """
    current, submissions = without_mark(current, entry.uid), {**current.submissions, entry.uid: entry}
    here = entry.uid == current.leader or not entry.weight
    marked = current.voids and not here and entry.uid in _walled(state)
    unreachable = tuple(sorted((*current.unreachable, entry.uid))) if marked else current.unreachable
    return msgspec.structs.replace(current, submissions=submissions, unreachable=unreachable)


def _walled(state: Training) -> set[str]:
    """The members that are unreachable after two void results; none where the others who are there are not enough: all
    of these may be mistaken (seed 93110970)."""
    walled = {uid for uid, member in state.members.items() if member.unreachable and member.void_results > 1}
    return walled if enough(state, present_members(state) - walled) else set()


def collecting_again(state: Training, current: Round) -> Round:
    """The round takes models again; those that came late are in."""
    again = msgspec.structs.replace(current, phase="collecting", late={})
    for entry in current.late.values():
        again = with_entry(state, again, entry)
    return again


def without_slices(state: Training, number: int) -> Training:
    """This round is not cut into slices, whatever it was: it begins again, and one leader merges it. Before rules
    version 3 nothing is changed by that."""
    if state.merge_mode is None:
        return state
    slicings = tuple(each for each in state.slicings if each.round != number)
    return msgspec.structs.replace(state, slicings=slicings, merge_mode=state.merge_mode.without_slices(number))


def forget_looks(state: Training, uid: str) -> Training:
    """A member's statistics ended with its process (seed 1323): it has to survey anew, or another one."""
    slicings = tuple(each.without_statistics_by(uid) if each.survey else each for each in state.slicings)
    return state if slicings == state.slicings else msgspec.structs.replace(state, slicings=slicings)


def are_enough(
    state: Training, accused: str, reporters: Mapping[str, str], needed: int = 2, organisations: int = 2
) -> bool:
    """True if so many nodes have reported a member, of so many organisations, or of all others than its own.

    `reporters`: their organisations by UID."""
    others = organisations_of(state, alive(state)) - organisations_of(state, [accused])
    return len(reporters) >= needed and len(set(reporters.values())) >= min(organisations, len(others))


def freeze_if_complete(state: Training) -> Training:
    """The contributors are fixed once all who are awaited are in, and at least minPeers."""
    current = state.round
    if current is None or current.phase == "frozen" or awaited(state):
        return state
    if not enough(state, current.counted):
        return state
    return msgspec.structs.replace(state, round=msgspec.structs.replace(current, phase="frozen"))


def pace_if_complete(state: Training) -> Training:
    """Sets the pace by the contributors' losses, once all who are there and can get the result have reported."""
    result = state.result
    if result is None or result.paced:
        return state
    contributors = {part.uid for part in result.receipt.contributions}
    expected = [uid for uid in contributors if state.members[uid].present and uid not in result.missing]
    if not all(_reported(state, uid) for uid in expected):
        return state
    losses = {uid: loss for uid, loss in result.losses.items() if uid in contributors}
    bests = {uid: one.best_loss for uid, one in state.members.items() if one.best_loss is not None}
    progress = mean_progress(losses, bests)
    pace = state.pace if progress is None else state.pace.after(progress)
    members = {uid: _paced(member, pace, losses.get(uid)) for uid, member in state.members.items()}
    return msgspec.structs.replace(
        state, members=members, pace=pace, result=msgspec.structs.replace(result, paced=True)
    )


def _paced(member: Member, pace: Pace, loss: float | None) -> Member:
    known = [one for one in (member.best_loss, loss) if one is not None]
    interval = next_interval(member.sync_frequency, pace) if member.adaptive else member.interval
    return msgspec.structs.replace(member, interval=interval, best_loss=min(known, default=None))


def _reported(state: Training, uid: str) -> bool:
    assert state.result is not None
    performance = state.members[uid].performance
    return performance is not None and performance.round == state.result.closed.number


# --- looking up -----------------------------------------------------------------------------------------------------


def terms_of(state: Training) -> Terms:
    """The terms that all sessions share. Raises `Rejection` before the first."""
    if state.terms is None:
        raise Rejection(Code.NO_SESSION, f"contract {state.name} has no open session")
    return state.terms


def member_of(state: Training, uid: str) -> Member:
    """The sender's session. Raises `Rejection` when it has none."""
    member = state.members.get(uid)
    if member is None:
        raise Rejection(Code.NOT_A_MEMBER, f"{uid} has no open session in contract {state.name}; open one first")
    return member


def with_member(state: Training, member: Member) -> Training:
    """A copy with this member's session."""
    return msgspec.structs.replace(state, members={**state.members, member.uid: member})


def round_in_progress(state: Training, number: int) -> Round:
    """The round in progress. Raises `Rejection` when it is not that of `number`."""
    if state.over:
        raise Rejection(Code.TRAINING_OVER, f"training of contract {state.name} is over")
    if state.round is None:
        raise Rejection(Code.NO_ROUND, _no_round(state))
    if state.round.number != number:
        raise Rejection(Code.OTHER_ROUND, f"round {state.round.number} is in progress, not {number}")
    return state.round


def _no_round(state: Training) -> str:
    if state.terms is None:
        return f"contract {state.name} has no session yet"
    return f"round 0 has not begun: {present(state)} of {state.terms.min_peers} sessions are open"


def round_led(state: Training, number: int, term: int, uid: str) -> Round:
    """Returns this round if it is in progress, in this term and led by `uid`. Raises `Rejection`."""
    current = round_in_progress(state, number)
    if current.term != term:
        raise Rejection(Code.STALE_TERM, f"round {number} is in term {current.term}, not {term}")
    if current.leader != uid:
        raise Rejection(Code.NOT_LEADER, f"round {number} is led by {current.leader or 'nobody'}, not {uid}")
    return current


def standing_result(state: Training, number: int) -> Result:
    """The standing result. Raises `Rejection` when it is not that of round `number`."""
    if state.result is None or state.result.closed.number != number:
        latest = "none" if state.result is None else str(state.result.closed.number)
        raise Rejection(Code.OTHER_ROUND, f"the standing result is of round {latest}, not {number}")
    return state.result


def is_round_zero(state: Training) -> bool:
    """Before the first result everybody starts from nothing, so nobody has to load a model first."""
    return state.result is None and (state.round is None or state.round.number == 0)


def holds(state: Training, uid: str) -> bool:
    """True if the member has reported that it holds the standing result."""
    return state.result is not None and uid in state.result.holders


def shortened(digest: str) -> str:
    """A digest as people read it."""
    return digest[:12] or "nothing (round 0)"
