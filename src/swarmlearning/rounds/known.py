"""What one node knows of the slices of one recipe."""

from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass, field

from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.assigning import passed_on
from swarmlearning.ledger.contracts.training.slices import Slice, Slicing, change_name
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.rounds.slices import Assembled, FetchSlice, MergeSlice, SliceUnmergeable, Weighed


@dataclass
class Progress:
    """Of one recipe: the roots of the slices that are `here`, and of those that this node has `merged` itself (in a
    survey: the digests of their statistics), with those of the `changes` that they are; faults that it has `found` by
    slice; of slices to fetch the holders that were `tried`, how often another one was first (`turns`), and how often
    none has given it (`missed`); the `result` that was made of all, with these `roots`, or the coefficients that follow
    from a survey (`weighed`). `in_vain`: something has failed since the result stands. `unresponsive`: the
    members that have not given what they were asked for."""

    here: dict[int, str] = field(default_factory=dict)
    merged: dict[int, str] = field(default_factory=dict)
    changes: dict[int, str] = field(default_factory=dict)
    found: dict[int, SliceUnmergeable] = field(default_factory=dict)
    turns: dict[int, int] = field(default_factory=dict)
    tried: dict[int, Set[str]] = field(default_factory=dict)
    missed: Counter[int] = field(default_factory=Counter)
    result: Assembled | None = None
    roots: tuple[str, ...] = ()
    weighed: Weighed | None = None
    in_vain: bool = False
    unresponsive: set[str] = field(default_factory=set)


def is_here(known: Progress, index: int, found: Slice) -> bool:
    """True if the slice is here with the root that counts; in a survey, a merger's statistics of it."""
    here = known.here.get(index, "")
    return here != "" and (here == found.root or here in found.statistics.values())


def names_of(training: Training, recipes: Iterable[str]) -> set[str]:
    """The names under which slices are kept: of their recipes, and where merges travel as changes of these."""
    back = training.charter is not None and training.charter.transfer_back != "float32"
    kept = set(recipes)
    return kept | {change_name(recipe) for recipe in kept if back}


def slice_of(work: MergeSlice | FetchSlice) -> tuple[str, int]:
    """The recipe's name, and the slice."""
    return (work.recipe if isinstance(work, FetchSlice) else work.recipe.name), work.slice


def subject(kind: type[MergeSlice | FetchSlice], recipe: str, index: int) -> str:
    """Of pauses: while nobody serves a slice it is merged all the same."""
    return f"{recipe}/{index}/{kind.__name__}"


def waited_for(recipe: str, index: int, found: Slice) -> str:
    """Of timers: what should have come, of whom, and which of the digests that contradict each other."""
    which = f"/{found.ruled}/{found.passed}" if found.ruled else ""
    return f"{recipe}/{index}/{found.merger}{which}"


def can_be_passed_on(training: Training, slicing: Slicing, leader: str, term: int, index: int) -> bool:
    """True if the word of this leader changes who merges this slice, or which digest of it counts."""
    try:
        return passed_on(training, slicing, index, leader, term) != slicing
    except Rejection:
        return False
