"""The round machine's events (what happened at this node) and actions (what this node is to do).

Those that concern slices are in `slices.py`, those about checks of results in `checks.py`.
"""

from typing import Literal, TypeAlias

import msgspec

from swarmlearning.choices import Transfer
from swarmlearning.ledger.bodies import Exclusion, Lost, OpenSession, Privacy, Receipt, TrainingBody
from swarmlearning.ledger.contracts.training.outer import Step
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.contracts.training.submissions import Submission
from swarmlearning.rounds.checks import CheckWanted, Recheck, Rechecked, Uncheckable
from swarmlearning.rounds.slices import (
    Assemble,
    Assembled,
    FetchSlice,
    LinkMeasured,
    MergeSlice,
    SliceFetched,
    SliceMerged,
    SliceMissing,
    SlicesLost,
    SliceUnmergeable,
    Weighed,
    WeighModels,
)

Key: TypeAlias = tuple[int, int, int]
"""Run, round and term."""


Range: TypeAlias = tuple[int, int]
"""Bytes of a model's file: from the first to before the second. None in its place: the whole file."""

FetchCode: TypeAlias = Literal["unreachable", "not-held", "invalid", "too-slow", "misshapen"]
"""Why a fetch failed: nobody could be reached or transfers broke off, nobody holds the model, what came is not the
model, it came too slowly, or the model of this digest has another size than this training's."""


class _Frozen(msgspec.Struct, frozen=True):
    """Base of all events and actions."""


class Timer(_Frozen, frozen=True):
    """A time-out, by its purpose.

    `subject`: the digest of a `fetch`, `slow`, `turn`, `missing`, `retry`, `check`, `settle`, `finish` or `missed`, the
    height that `patience` counts from.
    """

    purpose: Literal[
        "grace",
        "patience",
        "overdue",
        "progress",
        "settle",
        "finish",
        "missed",
        "unreachable",
        "merge-delay",
        "base",
        "slow",
        "turn",
        "late",
        "pace",
        "fetch",
        "missing",
        "retry",
        "check",
        "slice",
    ]
    key: Key
    subject: str = ""


# --- events ---------------------------------------------------------------------------------------------------------


class ChainAdvanced(_Frozen, frozen=True):
    """The training contract after one more verified block; `leader_height` is of its leader's last transaction."""

    training: Training
    height: int
    leader_height: int


class SessionRequested(_Frozen, frozen=True):
    """The ML process opened its channel and requests a session; `holds`: the merged model it trains from, if any."""

    session: OpenSession
    holds: str = ""


class ModelReceived(_Frozen, frozen=True):
    """The ML process handed over a model; it waits for the merged one. `closing`: local training has ended."""

    digest: str
    size: int
    closing: bool


class Evaluated(_Frozen, frozen=True):
    """The ML process has loaded the delivered model."""

    loss: float | None
    metric: float | None
    epochs: int
    total_epochs: int


class MLDisconnected(_Frozen, frozen=True):
    """The ML process is gone; `clean` when it had announced that."""

    clean: bool


class Fetched(_Frozen, frozen=True):
    """The model, or this range of it, is in the local store."""

    digest: str
    range: Range | None = None


class FetchFailed(_Frozen, frozen=True):
    """None of the nodes in a `Fetch` provided the model. `reason` is for people, `code` for programs."""

    digest: str
    reason: str
    code: FetchCode = "unreachable"
    range: Range | None = None


class Dropped(_Frozen, frozen=True):
    """A model believed to be in the local store is not there, or not whole."""

    digest: str


class DeliveryFailed(_Frozen, frozen=True):
    """The model to be delivered is not in the local store, or unusable: the ML process does not have it."""

    digest: str


class LocalFailure(_Frozen, frozen=True):
    """This node itself could not do the work, as with a full disk. `permanent`: no later attempt can succeed."""

    work: "Fetch | Merge | Release | MergeSlice | FetchSlice | Assemble | WeighModels"
    reason: str
    permanent: bool = False


class SiteFailed(_Frozen, frozen=True):
    """This site cannot train on, as when its model cannot be used; `reason` is for its user: why, and what to do."""

    reason: str


class Merged(_Frozen, frozen=True):
    """The merge of (round, term) is in the local store; `result` is empty when too few models were usable. `step`:
    how it was made of the merge; `change`: the coded change of the base that the merge is. What these name is in the
    store, too."""

    round: int
    term: int
    result: str
    size: int
    receipt: Receipt
    step: Step | None = None
    change: str = ""


class Carried(_Frozen, frozen=True):
    """The outcome of a `Carry` is in the local store, as model `result`; empty when it cannot be made."""

    digest: str
    onto: str
    result: str
    size: int


class Released(_Frozen, frozen=True):
    """The outcome of a `Release` is in the local store, as model `result`; empty when none is given (`privacy` has the
    reason). `size`: bytes of the model that it is, or that it changes. `privacy`: None without a privacy lock."""

    release: "Release"
    result: str
    size: int
    privacy: Privacy | None

    @property
    def withheld(self) -> bool:
        """True where the privacy lock gives nothing."""
        return self.privacy is not None and bool(self.privacy.withheld)


class TimerFired(_Frozen, frozen=True):
    """The time of a `SetTimer` is over. `moved`: bytes fetched and merged at this node since its start."""

    timer: Timer
    moved: int


class Accepted(_Frozen, frozen=True):
    """A transaction of this node is on the chain, in the block of this height."""

    body: TrainingBody | Lost
    height: int


class Refused(_Frozen, frozen=True):
    """The ledger refused a transaction of this node, judged on the block of this height."""

    body: TrainingBody | Lost
    code: str
    detail: str
    height: int


Event: TypeAlias = (
    ChainAdvanced
    | SessionRequested
    | ModelReceived
    | Evaluated
    | MLDisconnected
    | Fetched
    | FetchFailed
    | Dropped
    | DeliveryFailed
    | LocalFailure
    | SiteFailed
    | Merged
    | SliceMerged
    | SliceUnmergeable
    | SliceFetched
    | SliceMissing
    | SlicesLost
    | Assembled
    | Weighed
    | LinkMeasured
    | CheckWanted
    | Rechecked
    | Uncheckable
    | Carried
    | Released
    | TimerFired
    | Accepted
    | Refused
)


# --- actions --------------------------------------------------------------------------------------------------------


class Send(_Frozen, frozen=True):
    """Sign this and submit it to the ledger."""

    body: TrainingBody | Lost


class Fetch(_Frozen, frozen=True):
    """Fetch the model, or this range of it, from one of these members, the likeliest first. A result of an outer step
    is made of what was merged, where its base is here; its momentum belongs to it. What was merged is made of its coded
    change, in the same way. `begun`: the recipe of a round in slices, under whose name parts of it may be here."""

    digest: str
    holders: tuple[str, ...]
    range: Range | None = None
    begun: str = ""


class Verify(_Frozen, frozen=True):
    """Check the bytes of this model in the local store; report `Dropped` if they are wrong."""

    digest: str


class Merge(_Frozen, frozen=True):
    """Merge these models, or this range of them; those with weight are all held, or all are the `base`.

    `unusable`: contributors whose model could not be fetched. `single`: the result is one of the models.
    """

    round: int
    term: int
    base: str
    submissions: tuple[Submission, ...]
    unusable: tuple[Exclusion, ...]
    single: bool
    range: Range | None = None


class Carry(_Frozen, frozen=True):
    """Add what `digest` has learned since `base` to the result `onto`, which is `missed` rounds newer than `base`."""

    digest: str
    base: str
    onto: str
    missed: int


class Release(_Frozen, frozen=True):
    """Make of this model what the site gives of it to a round that builds on `base`: what its privacy lock lets out, or
    a change coded as `transfer`, or both.

    `residual`: the change whose residual, what coding has left out of it, is added to this one; empty: there is none
    yet. None: nothing is added, and no residual is kept.
    """

    run: int
    round: int
    base: str
    digest: str
    transfer: Transfer = "float32"
    residual: str | None = None


Work: TypeAlias = Fetch | Merge | MergeSlice | FetchSlice | Assemble | WeighModels | Recheck | Carry | Release
"""Actions of some duration. Each is reported by an event when it ends, unless it is cancelled."""


class Cancel(_Frozen, frozen=True):
    """Stop this work: nothing needs its outcome any more."""

    work: Work


class Deliver(_Frozen, frozen=True):
    """Hand the model to the ML process and await `Evaluated`, or report `DeliveryFailed`; one at a time."""

    digest: str


class AnswerOpened(_Frozen, frozen=True):
    """Report to the ML process that its session is open."""


class AnswerSynced(_Frozen, frozen=True):
    """Let the ML process train on: batches until its next sync, and whether the swarm's training is over."""

    interval: int
    over: bool


class AnswerClosed(_Frozen, frozen=True):
    """Report to the ML process that training is over everywhere."""


class Fail(_Frozen, frozen=True):
    """End the training of the ML process; `text` gives the reason and what to do.

    `over`: it came after the end of the training, and another start changes nothing.
    """

    text: str
    over: bool = False


class SetTimer(_Frozen, frozen=True):
    """Report `TimerFired` after this many seconds."""

    timer: Timer
    seconds: float


class Keep(_Frozen, frozen=True):
    """These models are needed; all others may leave the store."""

    digests: tuple[str, ...]


class Finish(_Frozen, frozen=True):
    """Everybody holds the final model: this node's work is done."""


Action: TypeAlias = (
    Send
    | Fetch
    | Verify
    | Merge
    | MergeSlice
    | FetchSlice
    | Assemble
    | WeighModels
    | Recheck
    | Carry
    | Release
    | Cancel
    | Deliver
    | AnswerOpened
    | AnswerSynced
    | AnswerClosed
    | Fail
    | SetTimer
    | Keep
    | Finish
)
