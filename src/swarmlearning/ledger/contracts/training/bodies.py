"""The bodies of transactions of a training contract."""

from typing import Annotated, Literal, TypeAlias

import msgspec

from swarmlearning.choices import CheckinMode, MergeMethod, Transfer, TransferBack
from swarmlearning.ledger.contracts.network.bodies import MAX_ORGANISATIONS
from swarmlearning.ledger.contracts.training.outer import OuterOptimizer, Step
from swarmlearning.ledger.fields import Body, Count, Digest, Name, OrganisationId, Positive, Remark, Uid

SubmissionKind: TypeAlias = Literal["trained", "carried", "inactive", "snapshot", "active", "withheld"]
InitialSync: TypeAlias = Literal["merged", "one"]
ExclusionReason: TypeAlias = Literal["unreachable", "too-slow", "non-finite", "structure", "kept-back", "malformed"]
"""Since rules version 3 `malformed`: a change that is coded as none can be."""
Withheld: TypeAlias = Literal["", "no-base", "budget", "record"]
"""Why a site's privacy lock gives nothing to a round: there is no base from which a change could be bounded, its budget
is spent, or its record of what was given is not usable."""

Bound: TypeAlias = Annotated[float, msgspec.Meta(ge=1e-12, le=1e300)]
NotNegative: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e300)]
Measure: TypeAlias = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
"""Bounded so that an exact sum over all members cannot overflow; non-finite is no report."""

Distance: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e300)]
Cosine: TypeAlias = Annotated[float, msgspec.Meta(ge=-1, le=1)]
Thousandths: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1000)]
Weights: TypeAlias = Literal["own", "equal", "samples"]
Organisations: TypeAlias = Annotated[tuple[OrganisationId, ...], msgspec.Meta(max_length=MAX_ORGANISATIONS)]
BaseDigest: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?\Z")]


class CreateContract(Body, frozen=True, omit_defaults=True):
    """An operator creates a training contract, which its organisation owns.

    `members` may train, and their operators read results; no member named: every organisation may. `observers` may look
    on: they read its state, results where `observers_read_results`, never what one site contributes.

    `min_organisations`: sites of so many organisations have to contribute to a round; 0: a majority of three or more
    members, else one. `weights`: each site's own `nodeWeightage`, equal, or the number of training samples that it
    states. `max_organisation_weight`: the largest share of a merge, in thousandths, that the sites of one organisation
    have together; 0: no limit. Method, minPeers and structure are left to the first session where they are empty or 0,
    and so is the outer optimizer, where none is named here.

    `shared`: the contract is of all organisations; the one that has created it has no rights of its own there.

    `transfer`, since rules version 3: how values travel to those who merge, in rounds that have a base. Other than
    `float32`, sites give coded changes of the base (`merge/changes.py`) in place of models. `transfer_back`: how what
    was merged travels to all; other than `float32`, it is a coded change of the base, too.
    """

    members: Organisations = ()
    observers: Organisations = ()
    observers_read_results: bool = False
    min_organisations: Annotated[int, msgspec.Meta(ge=0, le=MAX_ORGANISATIONS)] = 0
    weights: Weights = "own"
    max_organisation_weight: Thousandths = 0
    merge_method: MergeMethod | None = None
    min_peers: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0
    structure: BaseDigest = ""
    shared: bool = False
    transfer: Transfer = "float32"
    outer: OuterOptimizer | None = None
    transfer_back: TransferBack = "float32"


class ChangeMembers(Body, frozen=True, omit_defaults=True):
    """From now on the contract has these members and observers; no member named: every organisation may train."""

    members: Organisations = ()
    observers: Organisations = ()
    observers_read_results: bool = False


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The task for which a SWOP has started a site: its digest, and the taskrunner's assignment and attempt. The site
    states it, for people; nothing follows from it."""

    taskrunner: Name
    digest: Digest
    serial: Positive
    attempt: Positive


class OpenSession(Body, frozen=True, omit_defaults=True):
    """A member joins the training. Method, minPeers, structure and `initial` are the contract's from its first
    session on. `initial`: all start from the merged model of round 0, or from that of one contributor.

    `outer`: the outer optimizer that all use; None: results are what was merged.

    `samples`: the number of its training samples, 0 where it is not stated.

    `origin`: the task for which a SWOP has started this site.

    `frozen`, `classes`, `features`: digests of what is not merged but has to be the same at all sites (tensors that are
    not trained, and what the positions in the model's tensors stand for); empty where a site has or states none."""

    merge_method: MergeMethod
    min_peers: Positive
    structure: Digest
    weightage: Annotated[int, msgspec.Meta(ge=1, le=100)]
    sync_frequency: Positive
    checkin: CheckinMode
    epochs: Count
    adaptive: bool
    may_lead: bool
    initial: InitialSync = "merged"
    frozen: BaseDigest = ""
    classes: BaseDigest = ""
    features: BaseDigest = ""
    samples: Count = 0
    origin: Origin | None = None
    outer: OuterOptimizer | None = None


class Privacy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A site's statement about its own privacy lock, with each model that it gives or withholds.

    `norm`: the largest L2 norm of its change, which is what it gives less the round's base, before the noise. `noise`:
    the standard deviation of the Gaussian noise on each value, as a multiple of `norm`; 0: none. Of all that the lock
    has given with noise so far, this included, `releases` is the number and `epsilon` what it composes to, at `delta`.
    `contributors`: it serves the model only once the contributors of the round are fixed and so many.
    """

    norm: Bound
    noise: NotNegative = 0.0
    delta: NotNegative = 0.0
    epsilon: NotNegative = 0.0
    releases: Count = 0
    contributors: Positive = 1
    withheld: Withheld = ""
    protects: Literal["the site's whole change of a round"] = "the site's whole change of a round"
    outside: Literal["losses, metrics and weights"] = "losses, metrics and weights"


class Submit(Body, frozen=True, omit_defaults=True):
    """Parameters for a round. `base` is the result they build on, empty in round 0: `trained` from it, or a
    straggler's work since an earlier one, `carried` over to it.

    `privacy`: the statement of a site with a privacy lock. `withheld`: the lock gives no model; the digest is that of
    the base, or of nothing (`NO_MODEL`), and has no weight."""

    round: Count
    base: BaseDigest
    submission: SubmissionKind
    digest: Digest
    size: Count
    weight: Count
    privacy: Privacy | None = None


class Freeze(Body, frozen=True, omit_defaults=True):
    """The leader has waited long enough: the contributors are those that have submitted. `stragglers`: who was waited
    for in vain. `reached`: contributors that could not be fetched from before, and whose models the leader has now."""

    round: Count
    term: Count
    stragglers: tuple[Uid, ...] = ()
    reached: tuple[Uid, ...] = ()


class Progress(Body, frozen=True):
    """The leader of (`round`, `term`) is at work; `moved`: the bytes that its node has fetched and merged."""

    round: Count
    term: Count
    moved: Count


class Contribution(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One model of a merge and the integer coefficient it had in it (see `merge/`).

    `distance` of the model from the result and `cosine` of its update with the merged one (`merge/influence.py`) are
    the leader's statements, for people; None is not stated. Nothing follows from them.
    """

    uid: Uid
    digest: Digest
    weight: Count
    coefficient: Count
    distance: Distance | None = None
    cosine: Cosine | None = None


class Exclusion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One submitted model that is not in the merge, and why."""

    uid: Uid
    reason: ExclusionReason
    detail: Remark

    @property
    def why(self) -> str:
        """Reason and detail, once where both are the same."""
        return self.reason if self.detail in ("", self.reason) else f"{self.reason}: {self.detail}"


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The making of a result; enough for anyone who holds the models to make it again."""

    method: MergeMethod
    contributions: tuple[Contribution, ...]
    exclusions: tuple[Exclusion, ...]


class Publish(Body, frozen=True, omit_defaults=True):
    """The leader's merged model. `result` is empty when too few models were usable to merge.

    `step`: how the result was made of the merge, where an outer step is due. `change`: the coded change of the base
    that the merge is, where merges travel so and one leader has made this one."""

    round: Count
    term: Count
    result: BaseDigest
    size: Count
    receipt: Receipt
    step: Step | None = None
    change: BaseDigest = ""


class ReportPerformance(Body, frozen=True, omit_defaults=True):
    """The member holds the result of `round`; loss and metric on its own validation data, null without.

    `loaded`: its ML process goes on from it, or begins with it; one that still trains from an older result does not.
    """

    round: Count
    loss: Measure | None
    metric: Measure | None
    epochs: Count
    total_epochs: Count
    loaded: bool = True


class Depose(Body, frozen=True):
    """The leader of (`round`, `term`) is to be replaced: its lease is gone; it makes no `progress`, and `seen_height`
    is when the sender last saw any; or it is `overdue`, since it takes far longer than leaders have taken before."""

    round: Count
    term: Count
    incarnation: Positive
    seen_height: Count
    cause: Literal["lease", "progress", "overdue"]


class Missing(Body, frozen=True, omit_defaults=True):
    """The member can get the result of `round` from nobody. `lasting`: it has tried for long and given up;
    `slow`: it comes, but far more slowly than results before it."""

    round: Count
    lasting: bool = False
    slow: bool = False


class Void(Body, frozen=True):
    """Too few hold the result of `round` to go on: it is made again, or done without where it is the base."""

    round: Count


class Settle(Body, frozen=True):
    """Training is over and every live member holds its result, that of `round`: it cannot be void any more. Sent by a
    member: it holds the result, and has waited long enough for those who do not."""

    round: Count


class CloseSession(Body, frozen=True):
    """Local training has ended; the member goes on contributing by this check-in mode."""

    checkin: CheckinMode


class Stop(Body, frozen=True):
    """An operator ends the training with the result of the round in progress."""


class Reset(Body, frozen=True):
    """Empties the contract for a new training; `forced` while one is not over."""

    forced: bool


class StateLink(Body, frozen=True, omit_defaults=True):
    """The member's link: bytes a second that it can send and receive, 0 where it does not know; two significant digits
    are enough. `merges`: whether it merges slices of rounds; a site that nobody can connect to does not."""

    up: Count
    down: Count
    merges: bool = True


class Sliced(Body, frozen=True, omit_defaults=True):
    """The sender has merged this slice by the recipe, and serves it. `root`: the digest of its chunks' digests;
    `change`: that of the chunks of the coded change that it is of the base, where merges travel so."""

    round: Count
    recipe: Digest
    slice: Count
    root: Digest
    change: BaseDigest = ""


class Held(Body, frozen=True):
    """The sender holds copies of these slices. `roots`: the digest of the digests that count of them, in this order
    (`slices.roots_of`): mergers may contradict each other, and what counts may change."""

    round: Count
    recipe: Digest
    slices: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1, max_length=128)]
    roots: Digest


class ReportFault(Body, frozen=True):
    """The sender cannot merge its slice: the model of this contributor cannot be had from its site, or be merged."""

    round: Count
    recipe: Digest
    slice: Count
    exclusion: Exclusion


class Reassign(Body, frozen=True):
    """The leader takes slices from mergers that are far too slow, or do not serve them. Who merges them then is not its
    choice: whoever merges a slice reads it of all models."""

    round: Count
    term: Count
    recipe: Digest
    slices: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1, max_length=128)]


class Check(Body, frozen=True):
    """The sender checks its part of the result of `round`, which was merged in slices: from now on it may read that
    part of the contributions."""

    round: Count
    result: Digest


class Checked(Body, frozen=True, omit_defaults=True):
    """The sender has merged its part of the result again. `wrong`: the slices in which the result has other bytes, in
    order; none: all of it is right."""

    round: Count
    result: Digest
    wrong: Annotated[tuple[Count, ...], msgspec.Meta(max_length=128)] = ()


class Weigh(Body, frozen=True, omit_defaults=True):
    """The leader has gathered the mergers' statistics of all slices, in the survey of this recipe. `coefficients`: of
    its contributors, in order; they sum to 2^29 (`weighing.WHOLE`). `again`: one more survey is needed, about the mean
    with these; else all merge with them."""

    round: Count
    term: Count
    recipe: Digest
    coefficients: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1, max_length=64)]
    again: bool = False


TrainingBody: TypeAlias = (
    CreateContract
    | ChangeMembers
    | OpenSession
    | Submit
    | Freeze
    | Progress
    | Publish
    | ReportPerformance
    | Depose
    | Missing
    | Void
    | Settle
    | CloseSession
    | Stop
    | Reset
    | StateLink
    | Sliced
    | Held
    | ReportFault
    | Reassign
    | Check
    | Checked
    | Weigh
)
