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
any other model built on that result. So does what a site that was only away hands over next, with what it has learned
before.

The leader is the member at position (round + term) among the *eligible*: alive, willing, reachable for others. Their
order follows from a hash of the network, the contract, the run and the identities of those who were members when it
began. Where a round needs several organisations these take turns, however many sites each has. A leader that is lost is
followed at once by the next (term + 1); one that is alive but makes no progress is deposed by an SN whose lease for it
is gone, by two reporters, or by itself. Whoever has led this round in vain, in whatever way that ended, does not lead
it again while others are eligible that have done so less often. What has been submitted stays, so the next leader goes
on from there, and whatever the old one still publishes carries a stale term and is refused. Progress is what the leader
reports on the ledger: while its work takes long it reports `Progress`, the bytes it has moved, which have to grow by a
part of what there is to move; that clears every report against it.

A result *stands* until the next one. Whoever holds it reports so (`ReportPerformance`) and may serve it; whoever can
get it from nobody reports that (`Missing`). It is void and its round is collected again (`Void`, see `lost_model`) when
every live member misses it, or when too few hold it to go on and those who miss it have tried in vain for long: a
member that claims to hold a result and serves it to nobody blocks nothing. Such a holder is *unreachable*: it leads
only if nobody else can, or all others have failed twice with models that could be fetched, until somebody has fetched
from it, or its address or incarnation has changed. A base that every live member misses is done without: all contribute
what they have. The final result is *settled* when all live members hold it (`Settle`), but for those who have given it
up where enough others hold it, and those for whom enough others have waited for long: only then do ML processes end
with it, and it is never void any more. Who comes back
when all others have ended has missed it.

Contributors whose models the leader could not fetch are left out. Where minPeers others are not left, they do not
count until a leader has their models (`Freeze.reached`): it is recorded once, and leaders go on trying by
themselves. So it is from the start with a member that is unreachable after two void results, in a round that is
collected again after one, if the others are enough: otherwise its model, being the first, could end each leader's term
in vain until it leads.

Training is over when, as a round closes, at least minPeers members have closed their session. Members that closed go
on contributing by their check-in mode until then; they count to minPeers, an inactive one with weight 0 (where no
previous model could stand instead, in round 0 or when nobody has it any more, with its own).

A frozen round may be merged in slices, by all members that can, where that is faster (`slicing.py`). The leader then
publishes what all have merged.

In round 0 all start from one model: the merged one, or (initial sync `one`) that of a single contributor.

Timers live outside: the contract knows heights and terms, never seconds. This module holds its state and the queries of
readers; `sessions.py`, `transactions.py`, `slicing.py` and `checking.py` have one function a transaction,
`transitions.py` the transitions that the state triggers, `losing.py` when a model is lost, `sizes.py` the bytes of
models, `charter.py` what operators lay down.
"""

from collections.abc import Collection
from typing import Literal

import msgspec

from swarmlearning.choices import CheckinMode, MergeMethod, Transfer, TransferBack
from swarmlearning.ledger.contracts.training.adaptive import Pace
from swarmlearning.ledger.contracts.training.bodies import InitialSync, Origin, Receipt, SubmissionKind, Weights
from swarmlearning.ledger.contracts.training.checks import Checks
from swarmlearning.ledger.contracts.training.mergemode import MergeMode
from swarmlearning.ledger.contracts.training.outer import OuterOptimizer, Step, TakenStep
from swarmlearning.ledger.contracts.training.slices import Link, Slicing
from swarmlearning.ledger.contracts.training.submissions import Submission
from swarmlearning.ledger.world import World

Attendance = Literal["present", "lost", "restarted", "ml-lost", "left", "other-terms"]
Phase = Literal["collecting", "frozen"]


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """The terms that all sessions of a training share, fixed by the first; each digest of what is not merged by the
    first that states it."""

    merge_method: MergeMethod
    min_peers: int
    structure: str
    initial: InitialSync = "merged"
    frozen: str = ""
    classes: str = ""
    features: str = ""
    outer: OuterOptimizer | None = None


class Charter(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an operator has laid down for a contract: see `CreateContract`, and `on_behalf_of` whom. `owner` is an
    organisation; of a `shared` contract only the one to whose quota it counts."""

    owner: str
    members: tuple[str, ...] = ()
    observers: tuple[str, ...] = ()
    observers_read_results: bool = False
    min_organisations: int = 1
    weights: Weights = "own"
    max_organisation_weight: int = 0
    merge_method: MergeMethod | None = None
    min_peers: int = 0
    structure: str = ""
    shared: bool = False
    outer: OuterOptimizer | None = None
    on_behalf_of: str = ""
    transfer: Transfer = "float32"
    transfer_back: TransferBack = "float32"

    @property
    def sole_owner(self) -> str:
        """The organisation that alone decides about the contract; empty for a shared one."""
        return "" if self.shared else self.owner


class Performance(msgspec.Struct, frozen=True):
    """A member's last report."""

    round: int
    loss: float | None
    metric: float | None
    epochs: int
    total_epochs: int


class Member(msgspec.Struct, frozen=True):
    """A session. `awaited`: rounds wait for it. `finished`: its local training has ended. `identity`: what its sender
    was identified by, of this `organisation`. `unreachable`: others could not fetch the result that it alone held;
    `void_results`: how often that was so. `contributed` counts the rounds in which its model was merged, and `repeated`
    those of them in which that was not trained for the round; `model` is the digest of the one merged last. `terms`:
    those that it stated, as `origin`, the task for which a SWOP has started it."""

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
    best_loss: float | None = None
    identity: str = ""
    unreachable: bool = False
    repeated: int = 0
    model: str = ""
    void_results: int = 0
    organisation: str = ""
    terms: Terms | None = None
    origin: Origin | None = None

    @property
    def present(self) -> bool:
        """Alive, with a living ML process or one that ended well."""
        return self.attendance == "present"

    @property
    def alive(self) -> bool:
        """True if its node is alive, with or without its ML process."""
        return self.attendance in ("present", "ml-lost")


class Barred(msgspec.Struct, frozen=True):
    """A model found unusable by these leaders, and `why` the last one did: reason and detail of its exclusion."""

    digest: str
    why: str
    leaders: tuple[str, ...]


class Round(msgspec.Struct, frozen=True):
    """The round in progress.

    `base` is the standing result's digest, empty in round 0, or when it is lost; `base_missing` are those who can get
    it from nobody; of these, `base_given_up` have tried for long. `unreachable` are contributors whose models could not
    be fetched yet, or hardly can be. `led` counts the terms that each member has led and that are over. `deposed` are
    leaders that made no progress, once for each time. `no_progress` and `overdue`: who reports that of the present one,
    or that it takes too long, and of which organisation. `voids` counts the results of this round that were void.
    `reports` counts how often the leader has reported progress in this term, `moved` is what it reported last: the
    bytes that its node has moved, counted from anywhere.
    """

    number: int
    term: int
    base: str
    leader: str
    phase: Phase
    opened_ms: int
    submissions: dict[str, Submission]
    late: dict[str, Submission]
    barred: dict[str, Barred]
    no_progress: dict[str, str]
    unreachable: tuple[str, ...] = ()
    base_missing: tuple[str, ...] = ()
    base_given_up: tuple[str, ...] = ()
    deposed: tuple[str, ...] = ()
    overdue: dict[str, str] = msgspec.field(default_factory=dict)
    voids: int = 0
    reports: int = 0
    moved: int = 0
    led: dict[str, int] = msgspec.field(default_factory=dict)

    @property
    def usable(self) -> int:
        """The number of models that are in and count to minPeers."""
        return len(self.counted)

    @property
    def counted(self) -> set[str]:
        """The members whose models these are; none where no model is there to begin with."""
        return self.counted_with(self.unreachable)

    def counted_with(self, unreachable: Collection[str]) -> set[str]:
        """The same if only these could not be fetched."""
        counted = self.submissions.keys() - set(unreachable)
        begins = self.base or any(self.submissions[uid].weight for uid in counted)
        return counted if begins else set()

    @property
    def doublings(self) -> int:
        """The number of times that the patience with the present leader is doubled: even one whose progress cannot be
        seen then finishes in time, and one that stalls a second time does not cost much more than the first time."""
        return self.deposed.count(self.leader) + bool(self.deposed)


class Result(msgspec.Struct, frozen=True):
    """The standing result and the closed round it came from.

    `missing` are those who can get it from nobody; of these, `given_up` have tried for long, and `slow` get it far too
    slowly. `impatient` hold a final result, and have waited long enough for those who do not. `repeated` are
    contributors whose model was not trained for the round: it has no weight, was merged before, is the round's base
    unchanged, or another one's. `hopes`: the holders, or their organisations, whose change has cleared `given_up` and
    `slow` already.
    """

    digest: str
    size: int
    leader: str
    receipt: Receipt
    closed: Round
    holders: tuple[str, ...]
    missing: tuple[str, ...]
    losses: dict[str, float]
    paced: bool
    given_up: tuple[str, ...] = ()
    slow: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    impatient: tuple[str, ...] = ()
    hopes: tuple[str, ...] = ()


class Training(msgspec.Struct, frozen=True, omit_defaults=True):
    """One training contract: its run, numbered from 1. `over` once training is, `settled` once its result is final.

    `network` is the network's id. `order`, set when the first round opens, decides the order of leaders. `stopping`: an
    operator ends training with the round in progress. `reset_height`: the block in which the run before was reset.
    `once_unreachable`, for people: members whose models a leader of the round in progress could not fetch, though a
    later one may have had them.

    `slicings`: rounds that are merged in slices, at most the one in progress and that of the standing result. `links`
    are the members' as they state them. `merge_mode`: whether a round is merged in slices, and how long rounds take.
    `checks`: of the last result that was merged in slices, what members check of it. `taken`: the outer steps that have
    made results, and so their momenta (`steps.py`). `change`: the coded change of the base that the merge of the
    standing result is, where one leader has made it and merges travel so. Rules before version 3 have none of these.
    """

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
    network: str = ""
    order: str = ""
    stopping: bool = False
    charter: Charter | None = None
    reset_height: int = 0
    once_unreachable: tuple[str, ...] = ()
    slicings: tuple[Slicing, ...] = ()
    links: tuple[Link, ...] = ()
    merge_mode: MergeMode | None = None
    checks: Checks | None = None
    taken: tuple[TakenStep, ...] = ()
    change: str = ""

    @property
    def steps(self) -> dict[str, Step]:
        """The outer steps taken, by the digest of the result."""
        return {each.result: each.step for each in self.taken}


def state_of(world: World, name: str) -> Training:
    """The training contract of this name, empty before its first session."""
    return world.get(f"training/{name}", Training) or empty(name)


def empty(name: str, run: int = 1, charter: Charter | None = None, reset_height: int = 0) -> Training:
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
        pace=Pace(eighths=8),
        charter=charter,
        reset_height=reset_height,
    )


# --- queries --------------------------------------------------------------------------------------------------------


def awaited(state: Training) -> list[str]:
    """UIDs the round in progress still waits for, whatever minPeers."""
    if state.round is None:
        return []
    return [
        uid
        for uid, member in sorted(state.members.items())
        if member.present and member.awaited and uid not in state.round.submissions
    ]


def present(state: Training) -> int:
    """The number of members that are alive, with their ML process."""
    return len(present_members(state))


def present_members(state: Training) -> set[str]:
    """The members that are alive, with their ML process."""
    return {uid for uid, member in state.members.items() if member.present}


def enough(state: Training, uids: Collection[str]) -> bool:
    """True if these members are enough to go on with: minPeers, of as many organisations as the contract requires."""
    if state.terms is None or len(uids) < state.terms.min_peers:
        return False
    needed = needed_organisations(state)
    return needed == 1 or len(organisations_of(state, uids)) >= needed


def needed_organisations(state: Training) -> int:
    """The number of organisations whose sites a round needs."""
    return state.charter.min_organisations if state.charter else 1


def organisations_of(state: Training, uids: Collection[str]) -> set[str]:
    """The organisations of these members."""
    return {state.members[uid].organisation for uid in uids}


def weight_in(current: Round, member: Member, kind: SubmissionKind) -> int:
    """Weight of a member's model: none when inactive, unless there is no previous model that could stand instead; and
    none of a model that is withheld."""
    return 0 if kind == "withheld" or (kind == "inactive" and current.base) else member.weightage


def alive(state: Training) -> set[str]:
    """The members whose nodes are alive, with or without their ML process."""
    return {uid for uid, member in state.members.items() if member.alive}
