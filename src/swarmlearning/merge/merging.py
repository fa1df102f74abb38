"""The entrance to this room: model files and weights in, the merged model file and a receipt out.

The result is the same to the bit for any order of the sources, number of threads and machine, given the
coefficients of the receipt. A source that cannot take part is left out and named with the reason; whether
enough are left is the caller's to say (`minimum`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from swarmlearning.merge.arithmetic import GRID, NonFinite
from swarmlearning.merge.influence import Influence, influences, tally
from swarmlearning.merge.methods import METHODS
from swarmlearning.merge.streaming import Models, ModelUnreadable, OnRead, Plan, build, find_non_finite, processors
from swarmlearning.tensors.file import Header, TensorFileError, read_header, require_mergeable
from swarmlearning.tensors.structure import describe_difference


class MergeError(Exception):
    """Nothing was merged; the text says why. `out` is as it was, or empty."""


class NothingToMerge(MergeError):
    """No source has a weight: the previous model stands."""


class Exclusion(NamedTuple):
    """A source left out; `reason` begins with `weight`, `unreadable`, `structure` or `non-finite`, and a colon."""

    uid: str
    reason: str


class UnmergeableError(MergeError):
    """Models of this structure cannot be merged at all; no later attempt can succeed."""


class TooFewModels(MergeError):
    """Fewer sources than the caller's minimum could be merged."""

    def __init__(self, left: int, minimum: int, excluded: tuple[Exclusion, ...]) -> None:
        reasons = "; ".join(f"{uid}: {reason}" for uid, reason in excluded) or "none was left out"
        super().__init__(f"{left} models can be merged, {minimum} are needed ({reasons})")
        self.excluded = excluded


class _NonFiniteModels(Exception):
    """`tensors`: UID -> the first tensor with NaN or infinity, of each model that has one."""

    def __init__(self, tensors: dict[str, str]) -> None:
        super().__init__(tensors)
        self.tensors = tensors


@dataclass(frozen=True)
class Source:
    """One node's model; weight 0 means that it is left out."""

    uid: str
    weight: int
    path: Path


@dataclass(frozen=True)
class MergeReceipt:
    """What was merged: UIDs in order; the coefficient of each, unless the method has none; and who was left out.
    `influences`, one a contributor, are empty unless they were asked for.

    Each element of the result is Σ kᵢ·xᵢ / Σ kᵢ in that order (see `arithmetic`), where there are coefficients.
    """

    method: str
    contributors: tuple[str, ...]
    coefficients: tuple[int, ...]
    excluded: tuple[Exclusion, ...]
    influences: tuple[Influence, ...] = ()


def merge(
    method: str,
    sources: Sequence[Source],
    previous: Path | None,
    out: Path,
    *,
    minimum: int = 1,
    influence: bool = False,
    threads: int | None = None,
    on_read: OnRead = lambda size: None,
) -> MergeReceipt:
    """Merge the sources' files into `out`, which is overwritten in place if it exists and must not be one of them.

    `previous`: the last merged model, None in the first round; its structure is what is expected (otherwise the
    most common one among the sources), and influence is measured from it. `minimum`: how many models must be merged
    (never less than one); those of weight 0 do not count. `influence`: whether to measure that too. `threads`: None
    for as many as pay here. Memory stays below 256 MB for any number and size of models. `on_read` sees progress.

    Raises NothingToMerge, TooFewModels, and MergeError for everything else, a full disk among it.
    """
    _check(method, sources)
    if out.resolve() in {path.resolve() for path in (previous, *(source.path for source in sources)) if path}:
        raise MergeError(f"{out}: the result would overwrite a model that it is merged from")
    weighted = sorted((source for source in sources if source.weight), key=lambda source: source.uid)
    if not weighted:
        raise NothingToMerge(f"none of the {len(sources)} models has a weight; the previous model stands")
    excluded = {source.uid: "weight: 0" for source in sources if not source.weight}
    try:
        header, unusable = _common_header(weighted, previous)
        excluded |= unusable
        while True:
            left = [source for source in weighted if source.uid not in excluded]
            if header is None or len(left) < max(minimum, 1):
                raise TooFewModels(len(left), minimum, _listed(excluded))
            try:
                with opened(left, header, previous, threads or processors(), on_read) as models:
                    plan, measured = _built(method, models, out, influence)
            except ModelUnreadable as error:
                if error.uid is None:
                    raise MergeError(f"{previous}: cannot be read: {error.reason}") from error
                excluded[error.uid] = f"unreadable: {error.reason}"
            except _NonFiniteModels as error:
                excluded |= {uid: f"non-finite: {tensor}" for uid, tensor in error.tensors.items()}
            else:
                return MergeReceipt(method, models.uids, plan.coefficients, _listed(excluded), measured)
    except TensorFileError as error:
        raise MergeError(str(error)) from error


def _check(method: str, sources: Sequence[Source]) -> None:
    if method not in METHODS:
        raise MergeError(f"unknown merge method {method!r}; there are {', '.join(METHODS)}")
    for uid, count in Counter(source.uid for source in sources).items():
        if count > 1:
            raise MergeError(f"{uid} is given {count} times; a node has one model in a merge")
    for source in sources:
        if source.weight < 0:
            raise MergeError(f"{source.uid} has weight {source.weight}; weights are not negative")
    if sum(source.weight for source in sources) > GRID:
        raise MergeError(f"the weights sum to more than {GRID}; only their proportions matter: use smaller ones")


def _common_header(sources: Sequence[Source], previous: Path | None) -> tuple[Header | None, dict[str, str]]:
    """The header that all models to merge have (None: no model is readable), and who lacks it, with the reason."""
    headers: dict[str, Header] = {}
    unusable: dict[str, str] = {}
    for source in sources:
        try:
            headers[source.uid] = read_header(source.path)
        except TensorFileError as error:
            # The reason goes on the ledger, a path on this machine does not.
            unusable[source.uid] = "unreadable: " + str(error).removeprefix(f"{source.path}: ")
    if previous is not None:
        common = read_header(previous)
    elif headers:
        common = Counter(headers.values()).most_common(1)[0][0]
    else:
        return None, unusable
    try:
        require_mergeable(common.specs)
    except TensorFileError as error:
        raise UnmergeableError(str(error)) from error
    for uid, header in headers.items():
        if header != common:
            unusable[uid] = "structure: " + describe_difference(common.specs, header.specs)
    return common, unusable


def _built(method: str, models: Models, out: Path, influence: bool) -> tuple[Plan, tuple[Influence, ...]]:
    """Merge these into `out`. Raises _NonFiniteModels and ModelUnreadable: those have to be left out."""
    try:
        plan = METHODS[method](models)
        sums = build(models, plan.combine, out, partial(tally, models) if influence else None)
        return plan, () if sums is None else influences(sums)
    except NonFinite:
        tensors = find_non_finite(models)
    if tensors:
        raise _NonFiniteModels(tensors)
    raise MergeError(f"{method}: float64 overflows, though all models are finite; their values are too large")


@contextmanager
def opened(
    sources: Sequence[Source], header: Header, previous: Path | None, threads: int, on_read: OnRead
) -> Iterator[Models]:
    """The files, open for one or more passes; all have this header. Raises ModelUnreadable."""
    with ExitStack() as stack:

        def descriptor(uid: str | None, path: Path) -> int:
            try:
                return stack.enter_context(path.open("rb", buffering=0)).fileno()
            except OSError as error:
                raise ModelUnreadable(uid, f"{error.strerror}") from error

        yield Models(
            uids=tuple(source.uid for source in sources),
            weights=tuple(source.weight for source in sources),
            header=header,
            files=tuple(descriptor(source.uid, source.path) for source in sources),
            previous=None if previous is None else descriptor(None, previous),
            threads=threads,
            on_read=on_read,
        )


def _listed(excluded: dict[str, str]) -> tuple[Exclusion, ...]:
    return tuple(Exclusion(uid, excluded[uid]) for uid in sorted(excluded))
