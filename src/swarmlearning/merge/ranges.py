"""Merging a range of the models' data section, at a site that need not have more of them.

Ranges that lie side by side are together the whole merge, to the bit, wherever it is cut at multiples of 8 bytes: no
element depends on another one but by the coefficients. These are fixed before, and the same for every range. By `mean`
and `coordmedian` they are the weights. By `geomedian` they come from sums over all ranges (`geomedian.begin`, then
`gram_part` and `geomedian.settle`); influence, too, is made of such sums (`parts.total_influence`).

A contributor takes part in all ranges or in none. So nobody is left out here, as `merging.merge` does it by itself: the
faults are raised, for all ranges to be merged again without these models.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from swarmlearning.merge.arithmetic import GRID, NonFinite
from swarmlearning.merge.geomedian import Survey, measured
from swarmlearning.merge.mean import mean
from swarmlearning.merge.merging import MergeError, Source, UnmergeableError, blamed, built, check, opened
from swarmlearning.merge.methods import RANGED
from swarmlearning.merge.parts import GramPart, InfluencePart
from swarmlearning.merge.streaming import ALIGNMENT, Models, OnRead, Range, build_part, processors
from swarmlearning.tensors.file import Header, TensorFileError, require_mergeable

_ROUNDING: Final = 1e-6  # of the sum of a survey's shares


def merge_range(
    method: str,
    sources: Sequence[Source],
    previous: Path | None,
    out: Path,
    header: Header,
    part: Range,
    *,
    influence: bool = False,
    threads: int | None = None,
    on_read: OnRead = lambda size: None,
) -> InfluencePart | None:
    """Merge this range of the sources' files into its place in `out`, of which nothing else is written.

    The weights of `sources` are those of the merge; by `geomedian` its coefficients, of which some may be 0. So may be
    those of a mean: such models have no part in it, but must be finite. Of their files, and that of `previous`, only
    this range is read; `header` is theirs, whatever the files begin with. `out` has the place of a whole model
    (`tensors.file.allocate`); where there is none, it is made. When the merge fails, the range has any content. Returns
    the sums for `influence`, if that is requested.

    Raises Faulty for models that have to be left out, ModelUnreadable for a file that is too short or cannot be read,
    UnmergeableError, and MergeError for everything else, a full disk among it.
    """
    check(method, sources, previous, out)
    if method not in RANGED:
        raise MergeError(f"{method} merges whole models; ranges of them are merged by {', '.join(RANGED)}")
    for source in sources:
        if source.weight == 0 and RANGED[method] is not mean:
            raise MergeError(f"{source.uid} has weight 0; by {method} such a model is to be left out")
    try:
        with _opened(sources, previous, header, part, threads, on_read) as models:
            _, sums = built(method, RANGED[method], models, out, influence, build_part)
    except TensorFileError as error:
        raise MergeError(str(error)) from error
    if not influence:
        return None
    return InfluencePart(part, np.zeros((len(sources), 3)) if sums is None else sums)


def gram_part(
    sources: Sequence[Source],
    previous: Path | None,
    header: Header,
    part: Range,
    survey: Survey,
    *,
    threads: int | None = None,
    on_read: OnRead = lambda size: None,
) -> GramPart:
    """The statistics of this range in a survey (`geomedian.begin`, `settle`): the same numbers whenever this machine
    computes them.

    `sources`: those of the merge, with their weights. Raises as `merge_range` does.
    """
    if survey.about and not _are_shares(survey.about, len(sources)):
        raise MergeError(
            f"a survey about {survey.about[:3]}...: each of {len(sources)} models has a share, and they sum to 1"
        )
    with _opened(sources, previous, header, part, threads, on_read) as models:
        try:
            found = measured(models, survey)
        except NonFinite:
            found = None
        if found is None:
            raise blamed("geomedian", models)
    return GramPart(part, np.triu(found.gram) + np.triu(found.gram, 1).T, found.scaled)


def _are_shares(about: Sequence[float], models: int) -> bool:
    return len(about) == models and all(0 <= share <= 1 for share in about) and abs(sum(about) - 1) < _ROUNDING


@contextmanager
def _opened(
    sources: Sequence[Source],
    previous: Path | None,
    header: Header,
    part: Range,
    threads: int | None,
    on_read: OnRead,
) -> Iterator[Models]:
    """The models in UID order, once it is clear that this range of them can be merged."""
    total = sum(source.weight for source in sources)
    if not 0 < total <= GRID:
        raise MergeError(f"the weights sum to {total}; they have to sum to 1 at least and {GRID} at most")
    if not 0 <= part.start <= part.stop <= header.data_size:
        raise MergeError(f"bytes {part.start} to {part.stop} are no range of {header.data_size}")
    for at in part:
        if at % ALIGNMENT and at != header.data_size:
            raise MergeError(f"byte {at} may lie within an element: cut at multiples of {ALIGNMENT}")
    try:
        require_mergeable(header.specs)
    except TensorFileError as error:
        raise UnmergeableError(str(error)) from error
    ordered = sorted(sources, key=lambda source: source.uid)
    with opened(ordered, header, previous, threads or processors(), on_read, part) as models:
        yield models
