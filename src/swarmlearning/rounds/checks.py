"""The round machine's events and actions that concern checks of a result by this node."""

from typing import TypeAlias

import msgspec

from swarmlearning.ledger.contracts.training.slices import Recipe


class _Frozen(msgspec.Struct, frozen=True):
    """Base of all of them."""


class Piece(_Frozen, frozen=True):
    """A part of a slice, in units of `slices.UNITS`: from `start` to before `stop`."""

    slice: int
    start: int
    stop: int


# --- events ---------------------------------------------------------------------------------------------------------


class CheckWanted(_Frozen, frozen=True):
    """The operator wants this node to check this result."""

    result: str


class Rechecked(_Frozen, frozen=True):
    """This node's part of the result was merged again; in these slices the result has other bytes."""

    result: str
    wrong: tuple[int, ...]


class Uncheckable(_Frozen, frozen=True):
    """The part could not be merged again, for this reason."""

    result: str
    reason: str


CheckEvent: TypeAlias = CheckWanted | Rechecked | Uncheckable


# --- actions --------------------------------------------------------------------------------------------------------


class Recheck(_Frozen, frozen=True):
    """Fetch these pieces of the models of the recipe, merge them, and compare them with those of the result, which is
    in the local store; or where an outer step has made it, of what was `merged`. A contributor whose piece has not come
    within `seconds` is too slow."""

    result: str
    recipe: Recipe
    pieces: tuple[Piece, ...]
    seconds: float
    merged: str = ""
