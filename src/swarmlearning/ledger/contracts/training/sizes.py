"""The bytes of a training's models, and those after which a leader's next report of progress is due.

Members state the sizes of their models. One that lies about its own changes nothing, and neither do the many sites of
one organisation: a size is the median over organisations of the median of each one's sites.
"""

from collections import defaultdict
from statistics import median_low

from swarmlearning.ledger.contracts.training.state import Round, Training

PARTS = 256
"""Into so many parts a leader divides all models at most, to report progress with each: 1 GB in steps of 4 MB."""


def model_size(state: Training, current: Round) -> int:
    """Bytes of a model of this round, as most organisations state it; 0 where no model with weight is in."""
    stated: defaultdict[str, list[int]] = defaultdict(list)
    for uid, entry in current.submissions.items():
        if entry.weight:
            stated[state.members[uid].organisation].append(entry.size)
    return median_low([median_low(sizes) for sizes in stated.values()]) if stated else 0


def size_of_all(current: Round, size: int) -> int:
    """Bytes of all models to merge, each of this `size`."""
    return size * sum(entry.weight > 0 for entry in current.submissions.values())


def next_report(state: Training, current: Round) -> int:
    """The least bytes moved with which the leader's next `Progress` is one; they grow with the models to merge.

    Any byte is progress where all merge slices: a leader moves few bytes itself while it waits for a thin link.
    """
    if any(each.round == current.number for each in state.slicings):
        return current.moved + 1 if current.reports else 0
    size = size_of_all(current, model_size(state, current))
    return current.moved + max(1, size // PARTS) if current.reports else 0
