"""What the round machine is told, and what it asks for."""

from typing import TypeAlias

import msgspec

from swarmlearning.ledger.bodies import Lost, OpenSession, Receipt, TrainingBody
from swarmlearning.ledger.contracts.training import Submission, Training


class _Frozen(msgspec.Struct, frozen=True):
    """Base of all events and actions."""


# --- events ---------------------------------------------------------------------------------------------------------


class ChainAdvanced(_Frozen, frozen=True):
    """The training contract after one more verified block."""

    training: Training
    height: int


class SessionAsked(_Frozen, frozen=True):
    """The ML process opened its channel and states its parameters."""

    session: OpenSession


class ParametersHanded(_Frozen, frozen=True):
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


class MLLeft(_Frozen, frozen=True):
    """The ML process is gone; `well` when it said good-bye."""

    well: bool


class Fetched(_Frozen, frozen=True):
    """The model is in the local store."""

    digest: str


class FetchFailed(_Frozen, frozen=True):
    """Nobody who was asked could give the model."""

    digest: str
    reason: str


class Dropped(_Frozen, frozen=True):
    """A model believed to be in the local store is not there, or not whole."""

    digest: str


class Merged(_Frozen, frozen=True):
    """The merge of (round, term) is in the local store; `result` is empty when too few models were usable."""

    round: int
    term: int
    result: str
    size: int
    receipt: Receipt


class GraceOver(_Frozen, frozen=True):
    """The leader has waited for all members long enough."""

    round: int
    term: int


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
    | SessionAsked
    | ParametersHanded
    | Evaluated
    | MLLeft
    | Fetched
    | FetchFailed
    | Dropped
    | Merged
    | GraceOver
    | Accepted
    | Refused
)


# --- actions --------------------------------------------------------------------------------------------------------


class Send(_Frozen, frozen=True):
    """Sign this and submit it to the ledger."""

    body: TrainingBody | Lost


class Fetch(_Frozen, frozen=True):
    """Get the model from one of these members, the likeliest first; after a failure, pause before saying so.

    The pause is the doer's, growing: a result that nobody can give now is asked for again at once. `size` is 0 when
    it is not known.
    """

    digest: str
    size: int
    holders: tuple[str, ...]


class Merge(_Frozen, frozen=True):
    """Merge these models, those with weight all held; `unusable` are contributors whose model could not be had, why."""

    round: int
    term: int
    base: str
    submissions: tuple[Submission, ...]
    unusable: tuple[tuple[str, str], ...]


class Deliver(_Frozen, frozen=True):
    """Hand the model to the ML process and await `Evaluated`."""

    digest: str


class AnswerOpened(_Frozen, frozen=True):
    """Tell the ML process that its session is open."""


class AnswerSynced(_Frozen, frozen=True):
    """Let the ML process train on: batches until its next sync, and whether the swarm's training is over."""

    interval: int
    over: bool


class AnswerClosed(_Frozen, frozen=True):
    """Tell the ML process that training is over everywhere."""


class Fail(_Frozen, frozen=True):
    """The ML process cannot go on; `text` says why and what to do."""

    text: str


class StartGrace(_Frozen, frozen=True):
    """Begin to wait for the members that are not in yet."""

    round: int
    term: int


class Keep(_Frozen, frozen=True):
    """These models are needed; all others may leave the store."""

    digests: tuple[str, ...]


class Finish(_Frozen, frozen=True):
    """Everybody holds the final model: this node's work is done."""


Action: TypeAlias = (
    Send | Fetch | Merge | Deliver | AnswerOpened | AnswerSynced | AnswerClosed | Fail | StartGrace | Keep | Finish
)
