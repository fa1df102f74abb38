"""The bodies of transactions on experiments; the contract that a transaction names is the training contract."""

from typing import Annotated, TypeAlias

import msgspec

from swarmlearning.ledger.fields import INVISIBLE, Body, Positive

MAX_TAGS = 16
"""Tags that one organisation gives to a run."""

_NO_TEXT = INVISIBLE.replace(r"\x00-\x1f", r"\x00-\x09\x0b-\x1f")

Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=2000, pattern=rf"^[^{_NO_TEXT}]*\Z")]
"""What people write about a run; it may have several lines."""
Tag: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=40, pattern=rf"^(?! )[^,{INVISIBLE}]+(?<! )\Z")]
"""A tag: no comma, so that several stand in one line, and no space at its ends."""
Tags: TypeAlias = Annotated[tuple[Tag, ...], msgspec.Meta(max_length=MAX_TAGS)]


class AnnotateRun(Body, frozen=True):
    """Sets what the sender's organisation notes about a run of the contract; an empty text removes it."""

    run: Positive
    text: Text


class TagRun(Body, frozen=True, omit_defaults=True):
    """Gives tags of the sender's organisation to a run of the contract, and takes others away."""

    run: Positive
    add: Tags = ()
    remove: Tags = ()


class HideRun(Body, frozen=True):
    """The sender's organisation does not want to see a run of the contract in lists, or wants to again."""

    run: Positive
    hidden: bool
