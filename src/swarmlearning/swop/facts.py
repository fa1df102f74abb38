"""What a SWOP's executor is told, what it decides, and what it remembers across restarts.

The executor (`deciding.py`) states which *work* it wants; the driver does it, or stops what is wanted no more, and
tells how it ended. Nothing here does anything.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from swarmlearning.choices import TaskType
from swarmlearning.ledger.bodies import Reason, ReportPeer
from swarmlearning.ledger.contracts.taskrunner import Peer
from swarmlearning.swop.managing import Attempt, PairState

# --- what is remembered -----------------------------------------------------------------------------------------------


class PairMemory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pair of an attempt: the UID that its SL was given, and how it ended; `outcome` is None while it has not."""

    index: int
    sl_uid: str
    outcome: Literal["complete", "failed"] | None = None
    reason: Reason | None = None
    exit_code: int | None = None


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must survive a SIGKILL about the attempt that this SWOP carries out.

    `approval`: the digest under which the site allows it; `deadline`: Unix time in seconds at which it has to be over;
    `outcome`, `reason` and `exit_code`: how it ended.
    """

    attempt: Attempt
    type: TaskType
    approval: str | None = None
    deadline: float | None = None
    pairs: tuple[PairMemory, ...] = ()
    outcome: Literal["complete", "failed"] | None = None
    reason: Reason | None = None
    exit_code: int | None = None


# --- what the ledger shows --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Assigned:
    """A task is assigned to the taskrunner. `mine`: this SWOP as a peer of it; `open`: it may take part still;
    `loopback`: the pairs that train without a swarm, by index."""

    attempt: Attempt
    type: TaskType
    mine: Peer
    open: bool
    aborted: bool = False
    loopback: frozenset[int] = frozenset()


@dataclass(frozen=True)
class LedgerAdvanced:
    """The ledger as it is now. `listening`: this SWOP is a peer of its taskrunner with its present number of pairs;
    None where there is no such taskrunner. `sessions`: whether the ML process has ended well, by the UID of each SL
    that takes part in a training. `registered`: the UIDs of the SLs of this SWOP's organisation."""

    listening: bool | None
    assigned: Assigned | None
    sessions: dict[str, bool]
    registered: frozenset[str] = frozenset()


# --- work -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listen:
    """Report that this SWOP follows its taskrunner."""


@dataclass(frozen=True)
class Judge:
    """Look whether the site allows the task; ends with a `Verdict`. `turn` counts changes of the site's approvals."""

    attempt: Attempt
    turn: int


@dataclass(frozen=True)
class Send:
    """Report to the ledger; ends with whether it was accepted."""

    attempt: Attempt
    report: ReportPeer


@dataclass(frozen=True)
class Make:
    """Make the outcome of a task that is no RUN_SWARM."""

    attempt: Attempt


@dataclass(frozen=True)
class Start:
    """Start a pair."""

    attempt: Attempt
    index: int
    sl_uid: str


@dataclass(frozen=True)
class Watch:
    """Wait until a pair is in another state than `known`; ends with that `PairState`."""

    attempt: Attempt
    index: int
    known: PairState


@dataclass(frozen=True)
class Stop:
    """End what still runs of a pair."""

    attempt: Attempt
    index: int


@dataclass(frozen=True)
class Clean:
    """Remove what the attempt of this key has left."""

    key: str


@dataclass(frozen=True)
class Wait:
    """Wait until this Unix time in seconds: the attempt's time `limit`, or the time in which a `session` of the pair
    that has ended well must show on the ledger; then also until the ledger is known as it is now."""

    purpose: Literal["limit", "session"]
    attempt: Attempt
    index: int
    until: float


@dataclass(frozen=True)
class Pause:
    """Let so many seconds pass before a work that has failed is tried again."""

    before: "Listen | Judge | Send | Watch | Stop | Clean"
    seconds: float


Work: TypeAlias = Listen | Judge | Send | Make | Start | Watch | Stop | Clean | Wait | Pause


@dataclass(frozen=True)
class Verdict:
    """What the site's policy and its operator say to a task: `run` it, `wait` for an approval, or `reject` it.

    `digest`: what is approved or rejected; `seconds`: the time limit of the attempt; `reason`: that of a rejection.
    """

    says: Literal["run", "wait", "reject"]
    digest: str
    seconds: float | None = None
    reason: Reason = "rejected"


@dataclass(frozen=True)
class Failure:
    """A work has failed."""

    reason: Reason


@dataclass(frozen=True)
class Cancelled:
    """A work that was wanted no more has ended before it was done."""


# --- events and actions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """A work has ended: with its result (None where it has none), with a failure, or cancelled."""

    work: Work
    result: Verdict | PairState | bool | Failure | Cancelled | None = None


@dataclass(frozen=True)
class ApprovalsChanged:
    """The site's operator has approved or rejected something."""


@dataclass(frozen=True)
class Stalled:
    """The ML process of a pair has made no progress for `hangSeconds`, or makes some again."""

    attempt: Attempt
    index: int
    hangs: bool


Event: TypeAlias = LedgerAdvanced | Done | ApprovalsChanged | Stalled


@dataclass(frozen=True)
class Begin:
    """Begin this work."""

    work: Work


@dataclass(frozen=True)
class Cancel:
    """This work is wanted no more; tell when it has ended."""

    work: Work


@dataclass(frozen=True)
class Remember:
    """Keep this durably before anything that follows; None: forget it."""

    memory: Memory | None


Action: TypeAlias = Begin | Cancel | Remember
