"""The answers of an SN as its clients read them: every field is checked, and what is not known here is left out.

An SN belongs to another organisation. Whoever uses an answer can rely on its fields and types, not on its truth.
"""

from typing import Annotated, TypeAlias

import msgspec

from swarmlearning.ledger.fields import Count
from swarmlearning.views.training import TrainingProgress, Waiting
from swarmlearning.views.vitals import Vitals

Height: TypeAlias = Annotated[int, msgspec.Meta(ge=-1, lt=2**53)]
Time: TypeAlias = Annotated[int, msgspec.Meta(gt=-(2**53), lt=2**53)]
"""Unix time in milliseconds."""


class Acceptance(msgspec.Struct, frozen=True):
    """The height of the block that holds a transaction."""

    height: Height


class Ordered(msgspec.Struct, frozen=True):
    """The new head of the log."""

    height: Height
    hash: str


class BlockState(msgspec.Struct, frozen=True):
    """The hash of a block, and that of the state after it."""

    height: Height
    hash: str
    state_hash: str


class Attestation(msgspec.Struct, frozen=True):
    """What an SN has signed for a checkpoint."""

    jws: Annotated[str, msgspec.Meta(max_length=4096)]


class Stance(msgspec.Struct, frozen=True):
    """The block (its hash) that an SN has at a height, or holds, with the signature of its objection if it objects."""

    block: Annotated[str, msgspec.Meta(max_length=64)]
    objection: Annotated[str, msgspec.Meta(max_length=16384)]


class Health(msgspec.Struct, frozen=True):
    """The SN's own clock: Unix time in milliseconds."""

    time_ms: Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class ClusterMember(msgspec.Struct, frozen=True):
    """A member of the etcd cluster; `name` is the SN's UID, empty until its member has started once."""

    id: int
    name: str
    peer_url: str
    learner: bool


class NodeStatus(msgspec.Struct, frozen=True):
    """A registered node; `progress`, `vitals`, `expires_ms`: see the SN's `NodeStatus`."""

    uid: str
    type: str
    name: str
    incarnation: Count
    alive: bool
    left: bool
    state: str
    version: str
    addresses: dict[str, str]
    training: TrainingProgress | None
    progress: Count | None = None
    same_user: bool = False
    vitals: Vitals | None = None
    expires_ms: Time | None = None


class TrainingStatus(msgspec.Struct, frozen=True):
    """A training contract in short."""

    name: str
    rounds: Count
    over: bool
    min_peers: Count | None
    members: list[str]
    leader: str | None
    waiting_for: list[str]
    text: str
    waiting: Waiting
    activities: dict[str, str] = {}
    taken_ms: list[Count] = []
    missed: dict[str, Count] = {}
    agreed: str = ""


class VoterStatus(msgspec.Struct, frozen=True):
    """An SN's part in ordering."""

    uid: str
    name: str
    part: str
    founder: bool
    witness: bool
    height: Height | None
    lag: Count | None
    present: bool | None


class RecoveryStatus(msgspec.Struct, frozen=True):
    """A restart of the network from the SN `by` without `lost` (UIDs)."""

    height: Height
    by: str
    lost: list[str]


class ExpiryStatus(msgspec.Struct, frozen=True):
    """The end of a certificate."""

    of: str
    expires_ms: Time
    organisation: str = ""
    last: bool = False


class AlertStatus(msgspec.Struct, frozen=True):
    """What an operator should know or do."""

    code: str
    severity: str
    subject: str
    text: str
    remedy: str
    nodes: list[str] = []
    since_ms: Time | None = None


class Status(msgspec.Struct, frozen=True):
    """The network as an SN sees it; the SN's side, `sn.status`, describes the fields.

    `alerts` is null of an SN of an earlier release, which finds none.
    """

    network: str
    network_id: str
    sn: str
    version: str
    height: Height
    hash: str
    ordering: str
    votes: bool
    majority: bool | None
    fault_tolerance: str
    bears: str
    alarms: list[str]
    sns: list[VoterStatus]
    nodes: list[NodeStatus]
    trainings: list[TrainingStatus]
    recoveries: list[RecoveryStatus]
    expiries: list[ExpiryStatus]
    alerts: list[AlertStatus] | None = None
    time_ms: Time | None = None
    chain_bytes: Count = 0
    founded_ms: Time = 0
