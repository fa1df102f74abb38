"""The training contract: who takes part, which round it is, who leads it, and what was merged from what.

Theory of operation
-------------------
A *member* is an SL node with an open session. Method, minPeers, structure and initial sync are those of the first
session and hold for all until `Reset`. Round 0 opens when minPeers sessions are open; each later round opens when the
one before is published.

A round has two phases, and a leader from the moment it opens, so that models can travel before the round is complete:

    collecting ──(all awaited members in, or the leader's Freeze)──▶ frozen ──(the leader's Publish)──▶ next round
        ▲                                                              │
        └──────────(Publish with fewer usable models than minPeers)────┘

*Awaited* are the members that are alive, whose ML process is, and that hold the latest result; a newcomer or one who
returns without it becomes awaited when it reports that it does. A round never waits for anybody else, and never closes
below minPeers: then it waits without limit; `views/` shows for whom and since when.

A *straggler* is a member that made the leader wait its full grace in vain: the leader's Freeze names it, and no round
waits for it until it has taken a result again. What it trained meanwhile is not lost: it comes as a `carried` model,
the latest result plus the straggler's own change since the model it started from (`merge/carry.py`), and counts like
any other model built on that result.

The leader is the member at position (round + term) among the *eligible*: alive, willing, by UID. A leader that is lost
is followed at once by the next (term + 1); one that is alive but makes no progress is deposed by an SN whose lease for
it is gone, by two reporters, or by itself; then it is passed over in the next election. What has been submitted stays,
so the next leader goes on from there, and whatever the old one still publishes carries a stale term and is refused.
Progress is what the leader says on the ledger: while its merge takes long it says `Progress`, as long as bytes move;
that clears every report against it.

A result *stands* until the next one. Whoever holds it says so (`ReportPerformance`) and may serve it; only when every
live member has said that it can get it from nobody (`Missing`) is it void and its round collected again. The final
result is *settled* when all live members hold it (`Settle`): only then do ML processes end with it, and it is never
void any more. Who comes back when all others have ended has missed it.

Training is over when, as a round closes, at least minPeers members have closed their session. Members that closed go
on contributing by their check-in mode until then; they count to minPeers, an inactive one with weight 0 (where no
previous model could stand instead, in round 0 or when nobody has it any more, with its own).

In round 0 all start from one model: the merged one, or (initial sync `one`) that of a single contributor.

Timers live outside: the contract knows heights and terms, never seconds. This module holds its state and what a reader
asks of it; `transactions.py` has one function a transaction, `transitions.py` what follows by itself.
"""

from typing import Literal

import msgspec

from swarmlearning.choices import CheckinMode, MergeMethod
from swarmlearning.ledger.bodies import InitialSync, Receipt, SubmissionKind
from swarmlearning.ledger.contracts.training.adaptive import Pace
from swarmlearning.ledger.world import World

Attendance = Literal["present", "lost", "restarted", "ml-lost", "left"]
Phase = Literal["collecting", "frozen"]


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """What all sessions of a training share, fixed by the first of them; each digest of what is not merged by the
    first that states it."""

    merge_method: MergeMethod
    min_peers: int
    structure: str
    initial: InitialSync = "merged"
    frozen: str = ""
    classes: str = ""
    features: str = ""


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


class Barred(msgspec.Struct, frozen=True):
    """A member's model that a leader could not merge. `why`: reason and detail of its exclusion."""

    digest: str
    why: str


class Round(msgspec.Struct, frozen=True):
    """The round in progress. `base` is the standing result's digest, empty in round 0."""

    number: int
    term: int
    base: str
    leader: str
    phase: Phase
    opened_ms: int
    submissions: dict[str, Submission]
    late: dict[str, Submission]
    barred: dict[str, Barred]
    no_progress: tuple[str, ...]

    def bars(self, uid: str, digest: str) -> bool:
        """True for a model of this member that was found unusable in this round."""
        barred = self.barred.get(uid)
        return barred is not None and barred.digest == digest


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


class Training(msgspec.Struct, frozen=True, omit_defaults=True):
    """One training contract. `run` counts its resets; `over` once training is, `settled` once its result is final."""

    name: str
    run: int
    terms: Terms | None
    members: dict[str, Member]
    round: Round | None
    result: Result | None
    over: bool
    rounds: int
    pace: Pace
    settled: bool = False


def state_of(world: World, name: str) -> Training:
    """The training contract of this name, empty before its first session."""
    return world.get(f"training/{name}", Training) or empty(name)


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


def all_hold(state: Training) -> bool:
    """Whether every member that is there holds the standing result, and one that lives (with or without its ML)."""
    holders = state.result.holders if state.result else ()
    kept = any(state.members[uid].attendance in ("present", "ml-lost") for uid in holders)
    return kept and all(uid in holders for uid, member in state.members.items() if member.present)


def present(state: Training) -> int:
    """How many members are alive, with their ML process."""
    return sum(member.present for member in state.members.values())


def weight_in(current: Round, member: Member, kind: SubmissionKind) -> int:
    """Weight of a member's model: none when inactive, unless there is no previous model that could stand instead."""
    return 0 if kind == "inactive" and current.base else member.weightage
