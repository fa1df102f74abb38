"""The round machine's events and actions that concern slices of a round's model."""

from typing import TypeAlias

import msgspec

from swarmlearning.choices import TransferBack
from swarmlearning.ledger.bodies import Exclusion
from swarmlearning.ledger.contracts.training.outer import Step
from swarmlearning.ledger.contracts.training.slices import Recipe


class _Frozen(msgspec.Struct, frozen=True):
    """Base of all of them."""


# --- events ---------------------------------------------------------------------------------------------------------


class SliceMerged(_Frozen, frozen=True):
    """The slice is merged and in the local store. `root`: the digest of its chunks' digests; in a survey, that of its
    statistics. `change`: that of the chunks of the coded change that it is, where merges travel so."""

    recipe: str
    slice: int
    root: str
    change: str = ""


class SliceUnmergeable(_Frozen, frozen=True):
    """The slice cannot be merged here: the model of this contributor cannot be fetched, or merged."""

    recipe: str
    slice: int
    exclusion: Exclusion


class SliceFetched(_Frozen, frozen=True):
    """The slice that others have merged is in the local store; or their statistics of it are here."""

    recipe: str
    slice: int
    root: str


class SliceMissing(_Frozen, frozen=True):
    """None of the nodes in a `FetchSlice` provided the slice."""

    recipe: str
    slice: int
    reason: str


class Assembled(_Frozen, frozen=True):
    """All slices are in the local store, as model `result`. `influences`: of each contributor, in the order of the
    recipe; empty where they are not known. `step`: how the result was made of the model of all slices, where an outer
    step is due; what that names is in the store, too."""

    recipe: str
    result: str
    size: int
    influences: tuple[tuple[float | None, float | None], ...] = ()
    step: Step | None = None


class Weighed(_Frozen, frozen=True):
    """The `coefficients` of the contributors follow from the statistics of all slices; `again`: they are those of a
    mean about which one more survey is needed."""

    recipe: str
    coefficients: tuple[int, ...]
    again: bool


class SlicesLost(_Frozen, frozen=True):
    """Slices of this recipe that were believed to be in the local store are not there, or not whole; or the statistics
    of them is not here."""

    recipe: str


class LinkMeasured(_Frozen, frozen=True):
    """This node's link: bytes a second that it sends and receives, 0 where that is not known yet. `merges`: whether
    others can connect to it, so that it can merge slices. `limits`, up and down: what its operator lets models use, 0
    for as much as there is now; None: never less than that."""

    up: int
    down: int
    merges: bool
    limits: tuple[int | None, int | None] = (None, None)


SliceEvent: TypeAlias = (
    SliceMerged | SliceUnmergeable | SliceFetched | SliceMissing | Assembled | Weighed | SlicesLost | LinkMeasured
)


# --- actions --------------------------------------------------------------------------------------------------------


class MergeSlice(_Frozen, frozen=True):
    """Fetch this slice of the models of the recipe, but for those that are here, and merge it, or survey it.
    `start` and `stop`: its place, in units of `slices.UNITS`. A contributor whose part has not come within `seconds` is
    too slow."""

    recipe: Recipe
    slice: int
    start: int
    stop: int
    seconds: float


class Coded(_Frozen, frozen=True):
    """The chunks of the coded change that a slice is of this base: their digest, and how they are coded."""

    change: str
    base: str
    back: TransferBack


class FetchSlice(_Frozen, frozen=True):
    """Fetch this slice, which others have merged, from one of these members, the likeliest first. `root`: its digest.
    `statistics_of`: fetch only their statistics of it, of so many models; 0: the slice. `coded`: the change that the
    slice can be made of instead, where its base is here. `others`: members that may have it though none of them states
    so; they are asked first, since those that do were not heard of when they were asked."""

    recipe: str
    slice: int
    start: int
    stop: int
    root: str
    holders: tuple[str, ...]
    statistics_of: int = 0
    coded: Coded | None = None
    others: tuple[str, ...] = ()


class Assemble(_Frozen, frozen=True):
    """Make a model of the slices in the local store; `roots` are theirs, in order. `base`: where an outer step is due,
    that of the round, which is in the store, too; the result is that of the step."""

    recipe: str
    roots: tuple[str, ...]
    base: str = ""


class WeighModels(_Frozen, frozen=True):
    """Find the coefficients of the recipe's contributors, of these `weights`, from the statistics of its slices;
    `roots` are the digests of that, in order."""

    recipe: Recipe
    weights: tuple[int, ...]
    roots: tuple[str, ...]
