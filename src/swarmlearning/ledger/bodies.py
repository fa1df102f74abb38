"""What a transaction can say, one structure a kind. The contracts decide who may say it and what it changes.

Times are Unix milliseconds, digests lower-case hex, certificates PEM (leaf first), weights integers 0..100.
"""

import re
from typing import Annotated, Literal, TypeAlias

import msgspec

from swarmlearning.choices import CheckinMode, MergeMethod

Digest: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
BaseDigest: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?\Z")]

Uid: TypeAlias = Annotated[str, msgspec.Meta(max_length=36, pattern=r"^[0-9a-z][0-9a-z-]*\Z")]
"""A node's UID: a UUID where the node made it itself. Never text that could be mistaken for something else."""

_INVISIBLE = r"\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
"""Control characters, line separators, and what changes the direction of text or hides in it."""

Name: TypeAlias = Annotated[str, msgspec.Meta(max_length=160, pattern=rf"^[^{_INVISIBLE}]+\Z")]
Remark: TypeAlias = Annotated[str, msgspec.Meta(max_length=300, pattern=rf"^[^{_INVISIBLE}]*\Z")]
"""A sentence for people, in one line."""

_NOT_IN_A_REMARK = re.compile(rf"[{_INVISIBLE}\ud800-\udfff]")

Pem: TypeAlias = Annotated[str, msgspec.Meta(max_length=64 * 1024)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Positive: TypeAlias = Annotated[int, msgspec.Meta(ge=1, lt=2**31)]
Weight: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=100)]

Measure: TypeAlias = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
"""Bounded so that an exact sum over all members cannot overflow; non-finite is no report."""

Distance: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e300)]
Cosine: TypeAlias = Annotated[float, msgspec.Meta(ge=-1, le=1)]

NodeType: TypeAlias = Literal["SN", "SL", "SWOP", "SWCI", "UI"]
SubmissionKind: TypeAlias = Literal["trained", "carried", "inactive", "snapshot", "active"]
InitialSync: TypeAlias = Literal["merged", "one"]
ExclusionReason: TypeAlias = Literal["unreachable", "too-slow", "non-finite", "structure"]


def remark(text: str) -> str:
    """`text` as a `Remark`: cut, and with question marks for characters that must not be in one."""
    return _NOT_IN_A_REMARK.sub("?", text[:300])


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag=True):
    """Base of all bodies; on the wire `{"kind": "<class name>", ...}`."""


# --- the network and its nodes (contract `network`) -----------------------------------------------------------------


class Genesis(Body, frozen=True):
    """Founds a network; the only transaction of block 0."""

    network_name: Name
    founder_name: Name
    authorities: tuple[Pem, ...]
    certificate: Pem
    version: Name
    rules_version: int
    created_ms: Count


class Register(Body, frozen=True):
    """A node starts: it states its certificate and raises its incarnation.

    `certificate` is empty when the signing certificate is on the chain already.
    """

    node_type: NodeType
    name: Name
    certificate: Pem
    version: Name


class Announce(Body, frozen=True):
    """Where a node can be reached: service (`api`, `p2p`, `fs`) to `host:port`."""

    addresses: dict[Name, Name]


class AddAuthority(Body, frozen=True):
    """Trust one more certificate authority from this height on."""

    certificate: Pem


class RetireAuthority(Body, frozen=True):
    """Stop trusting an authority from this height on; what it vouched for before stays valid history."""

    thumbprint: Digest


class Revoke(Body, frozen=True):
    """Stop trusting one node certificate from this height on."""

    thumbprint: Digest


class SwitchRules(Body, frozen=True):
    """From the next block on the given version of the rules holds; nodes that do not know it stop and say so."""

    rules_version: Positive


class Leave(Body, frozen=True):
    """The sender leaves the network for good; registering again brings it back."""


class Recover(Body, frozen=True):
    """An operator has restarted the network from one SN: the others are taken as having left."""

    lost: tuple[Uid, ...]


class Lost(Body, frozen=True):
    """A node's lease is gone, or (said by the node itself) its ML process is: it is not waited for."""

    uid: Uid
    incarnation: Positive


class Back(Body, frozen=True):
    """A lost node's lease is there again; it is waited for once it holds the latest model."""

    uid: Uid
    incarnation: Positive


# --- the training contract ------------------------------------------------------------------------------------------


class OpenSession(Body, frozen=True, omit_defaults=True):
    """A member joins the training. Method, minPeers, structure and `initial` are the contract's from its first
    session on. `initial`: all start from the merged model of round 0, or from that of one contributor.

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


class Submit(Body, frozen=True):
    """Parameters for a round. `base` is the result they build on, empty in round 0: `trained` from it, or a
    straggler's work since an earlier one, `carried` over to it."""

    round: Count
    base: BaseDigest
    submission: SubmissionKind
    digest: Digest
    size: Count
    weight: Weight


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
    the leader's statements, for people; None is not said. Nothing follows from them.
    """

    uid: Uid
    digest: Digest
    weight: Weight
    coefficient: Count
    distance: Distance | None = None
    cosine: Cosine | None = None


class Exclusion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One submitted model that is not in the merge, and why."""

    uid: Uid
    reason: ExclusionReason
    detail: Remark


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a result was made; enough for anyone who holds the models to make it again."""

    method: MergeMethod
    contributions: tuple[Contribution, ...]
    exclusions: tuple[Exclusion, ...]


class Publish(Body, frozen=True):
    """The leader's merged model. `result` is empty when too few models were usable to merge."""

    round: Count
    term: Count
    result: BaseDigest
    size: Count
    receipt: Receipt


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
    """The member can get the result of `round` from nobody. `lasting`: it has tried for long, and no byte has come."""

    round: Count
    lasting: bool = False


class Void(Body, frozen=True):
    """Too few hold the result of `round` to go on: it is made again, or done without where it is the base."""

    round: Count


class Settle(Body, frozen=True):
    """Training is over and every live member holds its result, that of `round`: it cannot be void any more."""

    round: Count


class CloseSession(Body, frozen=True):
    """Local training has ended; the member goes on contributing by this check-in mode."""

    checkin: CheckinMode


class Stop(Body, frozen=True):
    """An operator ends the training with the result of the round in progress."""


class Reset(Body, frozen=True):
    """Empties the contract for a new training; `forced` while one is not over."""

    forced: bool


NetworkBody: TypeAlias = (
    Genesis
    | Register
    | Announce
    | Leave
    | Recover
    | AddAuthority
    | RetireAuthority
    | Revoke
    | SwitchRules
    | Lost
    | Back
)
TrainingBody: TypeAlias = (
    OpenSession
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
)
