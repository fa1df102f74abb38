"""Facts about a training, from its contract's state: what it waits for, each member's activity and participation.

Members are named by UID and instants are block times in milliseconds; `render` makes text of them.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.losing import misses
from swarmlearning.ledger.contracts.training.slices import live_holders
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import (
    Attendance,
    Member,
    Round,
    Training,
    alive,
    needed_organisations,
    organisations_of,
    present,
    present_members,
)
from swarmlearning.ledger.fields import Count
from swarmlearning.ledger.world import World

Phase: TypeAlias = Literal["empty", "opening", "leaderless", "collecting", "merging", "over"]
"""`empty`: no session yet; `opening`: fewer than minPeers; `leaderless`: nobody may lead the round in progress."""

Reason: TypeAlias = Literal[
    "expected",
    "lost",
    "restarted",
    "ml-lost",
    "left",
    "other-terms",
    "unreachable",
    "unusable",
    "no-base",
    "joining",
    "no-start",
]
"""The reason why a member's model is not in: it is merely expected; the member is away (an attendance); others cannot
fetch from it; its model cannot be used; it cannot fetch the latest model from its holders (`no-base`); it joins once it
has that model; its privacy lock gives none to begin with (`no-start`)."""

Activity: TypeAlias = Literal[
    "training",
    "submitted",
    "late",
    "merging",
    "finished",
    "loading",
    "done",
    "lost",
    "restarted",
    "ml-lost",
    "left",
    "other-terms",
]
"""`submitted`: its model is in and it waits; `finished`: its local training has ended; `loading`: training is over and
it loads the final model; `done`: it holds the final model."""


@dataclass(frozen=True)
class TrainingProgress:
    """The progress of a site's local training. 0 epochs in all, and None: not known; the speeds are without syncs."""

    epochs: Count
    total_epochs: Count
    batches_per_second: float | None
    samples_per_second: float | None
    eta_seconds: float | None


class Awaited(msgspec.Struct, frozen=True):
    """A member that a training waits for. `since_ms` is set for one that is away; `holders` are the members from which
    one tries in vain to fetch the latest model, none where that is held by nobody who is there."""

    uid: str
    reason: Reason
    since_ms: int | None = None
    holders: tuple[str, ...] = ()


class MemberRounds(msgspec.Struct, frozen=True):
    """The number of rounds in which a member's model was merged, of those for which it was too late, and of those in
    which what was merged had not been trained for the round."""

    uid: str
    contributed: int
    late: int
    repeated: int = 0


class Participation(msgspec.Struct, frozen=True):
    """The members, and the number of closed rounds in which each took part."""

    rounds: int
    members: tuple[MemberRounds, ...]

    @property
    def complete(self) -> bool:
        """True when every member was in all rounds."""
        return all(member.contributed >= self.rounds for member in self.members)


class Slices(msgspec.Struct, frozen=True):
    """How far a round has come that is merged in slices: `merged` of `count` are, each by one of `mergers` sites.
    `waits`: the slices that are still to come, by the member that merges them. `survey`: its number, while models are
    only surveyed; then `merged` are those surveyed."""

    count: int
    merged: int
    mergers: int
    waits: dict[str, int]
    survey: int = 0


class Waiting(msgspec.Struct, frozen=True):
    """The state of a training, and for whom it waits.

    `have` of `need` (minPeers) sessions are open while `opening`; from then on `have` models are in. They are of
    `have_organisations`, and have to be of `need_organisations` (1: of any). `since_ms` is when the round opened;
    `leader` is empty while there is none. `stopping`: training ends with this round. `retired`: the contract's members
    that take no part in the network any more, where those that are left are fewer than a round needs. `to_join`: of so
    many more organisations sites have to join, since all sites of others have left. `once_unreachable`: members from
    which a leader of this round could not fetch, though a later one could, or may. `idle`: while sessions are missing,
    the SLs that are there and have none in any training: no script has connected to them. `slices`: None where one
    leader merges the round.
    """

    contract: str
    phase: Phase
    have: int
    need: int
    participation: Participation
    round: int | None = None
    term: int = 0
    leader: str = ""
    since_ms: int | None = None
    awaited: tuple[Awaited, ...] = ()
    stopping: bool = False
    have_organisations: int = 0
    need_organisations: int = 1
    retired: tuple[str, ...] = ()
    to_join: int = 0
    once_unreachable: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    slices: Slices | None = None


def main_contract(world: World) -> str:
    """The training contract with the most rounds, empty where there is none."""
    found = sorted(world.area("training/", Training), key=lambda state: state.rounds)
    return found[-1].name if found else ""


def waiting(state: Training) -> Waiting:
    """Returns the state of this training, and the members it waits for now, since when and why."""
    need = state.terms.min_peers if state.terms else 0
    part = participation(state)
    if state.over or state.terms is None:
        return Waiting(state.name, "over" if state.over else "empty", present(state), need, part)
    if state.round is None:
        away = tuple(_away(member) for _, member in sorted(state.members.items()) if not member.present)
        here = present_members(state)
        facts = Waiting(state.name, "opening", len(here), need, part, awaited=away)
        return _with_organisations(state, facts, here)
    current, counted = state.round, state.round.counted
    phase: Phase = "merging" if current.phase == "frozen" else "collecting"
    facts = Waiting(
        contract=state.name,
        phase=phase if current.leader else "leaderless",
        have=len(counted) if phase == "collecting" else len(current.submissions),
        need=need,
        participation=part,
        round=current.number,
        term=current.term,
        leader=current.leader,
        since_ms=current.opened_ms,
        stopping=state.stopping,
        once_unreachable=tuple(uid for uid in state.once_unreachable if not _is_unreachable(state, current, uid)),
        awaited=tuple(
            _awaited(state, uid)
            for uid in sorted(state.members)
            if uid not in counted or _is_unreachable(state, current, uid)
        ),
        slices=slices_of(state, current),
    )
    staying = organisations_of(state, [uid for uid, one in state.members.items() if one.attendance != "left"])
    to_join = max(0, needed_organisations(state) - len(staying))
    return msgspec.structs.replace(_with_organisations(state, facts, counted), to_join=to_join)


def slices_of(state: Training, current: Round) -> Slices | None:
    """Returns how far the slices of this round have come; None where one leader merges it."""
    slicing, there = slicing_of(state, current.number), alive(state)
    if slicing is None:
        return None
    waits = Counter(each.merger for each in slicing.slices if not live_holders(each, there))
    mergers = {each.merger for each in slicing.slices}
    count = len(slicing.slices)
    return Slices(count, count - waits.total(), len(mergers), dict(sorted(waits.items())), slicing.survey)


def _with_organisations(state: Training, facts: Waiting, uids: Collection[str]) -> Waiting:
    return msgspec.structs.replace(
        facts,
        have_organisations=len(organisations_of(state, uids)),
        need_organisations=needed_organisations(state),
    )


def waiting_in(world: World, state: Training) -> Waiting:
    """Returns the state of this training, as `waiting` does, whether its round can be completed at all, and who might
    open a session that is missing."""
    facts = with_retired(world, waiting(state))
    if facts.phase not in ("empty", "opening"):
        return facts
    members = state.charter.members if state.charter is not None else ()
    return msgspec.structs.replace(facts, idle=idle_sls(world, members))


def idle_sls(world: World, organisations: Collection[str] = ()) -> tuple[str, ...]:
    """The SLs of these organisations (none: of any) that are there, and have a session in no training under way."""
    busy = {uid for each in world.area("training/", Training) if not each.over for uid in each.members}
    return tuple(
        known.uid
        for known in network.nodes(world)
        if known.type == "SL" and known.alive and not known.left and known.uid not in busy
        if not organisations or known.organisation in organisations
    )


def with_retired(world: World, facts: Waiting) -> Waiting:
    """Adds the members that have been retired, where a round of this training can never have enough organisations."""
    state = world.get(f"training/{facts.contract}", Training)
    if state is None or state.charter is None or state.over:
        return facts
    taking_part = {each.id for each in network.organisations(world)}
    retired = tuple(named for named in state.charter.members if named not in taking_part)
    needed = needed_organisations(state)
    if len(state.charter.members) - len(retired) >= needed:
        return facts
    return msgspec.structs.replace(facts, retired=retired, need_organisations=needed)


def participation(state: Training) -> Participation:
    """The number of rounds in which each member took part."""
    members = sorted(state.members.items())
    return Participation(
        state.rounds, tuple(MemberRounds(uid, one.contributed, one.late, one.repeated) for uid, one in members)
    )


def activity(state: Training, member: Member) -> Activity:
    """Returns the present activity of this member."""
    current, away = state.round, _absence(member.attendance)
    if state.over and state.result and member.uid in state.result.holders:
        return "done"
    if away:
        return away
    if state.over:
        return "loading"
    if current and current.phase == "frozen" and _merges(state, current, member.uid):
        return "merging"
    if member.finished:
        return "finished"
    if current and member.uid in current.submissions:
        return "submitted"
    return "late" if current and member.uid in current.late else "training"


def _merges(state: Training, current: Round, uid: str) -> bool:
    slices = slices_of(state, current)
    if slices is None or (slices.survey and not slices.waits):  # the leader weighs the statistics of all
        return uid == current.leader
    return uid in slices.waits


def _awaited(state: Training, uid: str) -> Awaited:
    assert state.round is not None
    member = state.members[uid]
    if not member.present:
        return _away(member)
    if _is_unreachable(state, state.round, uid):
        return Awaited(uid, "unreachable")
    if uid in state.round.submissions:
        return Awaited(uid, "no-start")
    if uid in state.round.barred:
        return Awaited(uid, "unusable")
    missed = misses(state)
    if missed is not None and uid in missed.missing:
        holders = alive(state).intersection(state.result.holders if state.result else ())
        return Awaited(uid, "no-base", holders=tuple(sorted(holders)))
    return Awaited(uid, "expected" if member.awaited else "joining")


def _is_unreachable(state: Training, current: Round, uid: str) -> bool:
    """True if others cannot fetch this member's model, or, where it leads, could not fetch the last result from it."""
    return uid in current.unreachable or (uid == current.leader and state.members[uid].unreachable)


def _away(member: Member) -> Awaited:
    return Awaited(member.uid, _absence(member.attendance) or "expected", member.since_ms)


def _absence(attendance: Attendance) -> Literal["lost", "restarted", "ml-lost", "left", "other-terms"] | None:
    return None if attendance == "present" else attendance
