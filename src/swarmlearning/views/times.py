"""How a site has spent a round, as its own node states it: the records of its diary, and what it is doing now.

Another organisation's node writes them: everything is bounded, and nothing follows from them but what people are told.
"""

from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from swarmlearning.choices import Transfer

MOST_SPANS: Final = 512
"""Of one record; a leader of 64 sites, each fetched from twice, has less than half of it."""

Phase: TypeAlias = Literal["training", "hand-over", "transfer", "merge", "ledger"]
What: TypeAlias = Literal[
    "train", "take-over", "check", "load", "carry", "privacy", "fetch", "merge", "session", "submit", "publish", "send"
]
"""`take-over`: a script's model is moved into the store; `check`: a result is checked; `load`: a script loads and
evaluates a result; `carry`: a late model is carried over; `privacy`: the privacy lock is at work; `session`, `submit`,
`publish`: a transaction of this kind is on its way to a block, `send`: one of another kind."""
Fault: TypeAlias = Literal["", "unreachable", "not-held", "invalid", "too-slow", "misshapen", "failed"]
"""Why a fetch ended without the model; `failed`: this node could not do the work itself."""

PHASES: Final[dict[What, Phase]] = {
    "train": "training",
    "take-over": "hand-over",
    "check": "hand-over",
    "load": "hand-over",
    "carry": "hand-over",
    "privacy": "hand-over",
    "fetch": "transfer",
    "merge": "merge",
    "session": "ledger",
    "submit": "ledger",
    "publish": "ledger",
    "send": "ledger",
}

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Offset: TypeAlias = Annotated[int, msgspec.Meta(gt=-(2**53), lt=2**53)]
Short: TypeAlias = Annotated[str, msgspec.Meta(max_length=256)]
Length: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e300)]
Rate: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e15)]


class Span(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of work, in milliseconds from the beginning of its record; it may have begun before that.

    `end`: None while it goes on. `uid`: the node that a model is fetched from. `bytes`: of the model, as far as it has
    come, and of those that are merged. `behind`: it is fetched through the relay of an SN.
    """

    what: What
    begin: Offset
    end: Offset | None = None
    uid: Short = ""
    bytes: Count = 0
    fault: Fault = ""
    behind: bool = False

    @property
    def phase(self) -> Phase:
        """The phase of a round that this is a part of."""
        return PHASES[self.what]


class Coded(msgspec.Struct, frozen=True, omit_defaults=True):
    """The coded change that a site gives to a round: its `bytes` in place of those of the `whole` model; the lengths of
    the change and of the `residual` that coding has left out so far. None: not finite. `dropped`: the residual was
    longer than what was trained for several changes in a row."""

    transfer: Transfer
    bytes: Count
    whole: Count
    change: Length | None = None
    residual: Length | None = None
    dropped: bool = False


class RoundTimes(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one node has spent a round: from when it saw it open, for the first one from when its script came.

    `begun_ms`: that moment by this node's clock (Unix time); `opened`: when the first round opened, in milliseconds
    from then, else 0; None while it has not. `ended`: when this node saw it closed; None while it is in progress.
    `dropped`: pieces of work that had no room. `restarted`: the node began in the middle of the round. `coded`: the
    change that it has made for it; None where it gives a whole model, and under a privacy lock.
    """

    contract: Short
    run: Count
    round: Count
    begun_ms: Count
    spans: Annotated[tuple[Span, ...], msgspec.Meta(max_length=MOST_SPANS)] = ()
    opened: Offset | None = 0
    ended: Offset | None = None
    dropped: Count = 0
    restarted: bool = False
    coded: Coded | None = None


class Script(msgspec.Struct, frozen=True, omit_defaults=True):
    """A site's training script, as its SL sees it: batches trained (`steps`), milliseconds since the last one was seen
    or since it may train, batches until it hands its model over (None: not known, as for clients that do not count)."""

    steps: Count = 0
    idle_ms: Count = 0
    left: Count | None = None
    batches_per_second: Rate | None = None


class Times(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node's answer about its times: the round in progress, its script, and the records that were asked for.

    `now_ms`: by its clock. `script`: None while none is connected.
    """

    now_ms: Count
    now: RoundTimes | None = None
    script: Script | None = None
    rounds: Annotated[tuple[RoundTimes, ...], msgspec.Meta(max_length=64)] = ()
