"""What the ledger has of outer steps (`merge/outer.py`): the optimizer that all agree on, and what a step has made."""

from typing import Annotated, TypeAlias

import msgspec

from swarmlearning.choices import OuterMethod
from swarmlearning.ledger.fields import Digest, Remark

Rate: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^(?!0\Z)(0|[1-9][0-9]{0,2})(\.[0-9]{0,5}[1-9])?\Z")]
"""A decimal above 0 and below 1000, written in one way only: no zeros at its end."""
Share: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^0(\.[0-9]{0,5}[1-9])?\Z")]
"""A decimal from 0 to below 1, written in one way only."""


class OuterOptimizer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The outer optimizer and its learning rate and momentum, as decimals."""

    method: OuterMethod
    rate: Rate
    momentum: Share

    def __str__(self) -> str:
        return f"{self.method} ({self.rate}, {self.momentum})"


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a result was made by an outer step: of the model that was `merged`, from the round's base.

    `momentum` is the digest of what the step has left for the next one. `fault`: the step was not finite, of this
    tensor: the result is what was merged, and there is no momentum.
    """

    merged: Digest
    momentum: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""
    fault: Remark = ""


class TakenStep(msgspec.Struct, frozen=True):
    """The step that has made this result."""

    result: Digest
    step: Step
