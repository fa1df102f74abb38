"""The interface of this room: model files and weights in, the merged model file and a receipt out.

The result is the same to the bit for any order of the sources, number of threads and machine, given the
coefficients of the receipt. A source that cannot take part is left out and named with the reason; whether
enough are left is the caller's to decide (`minimum`).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

from swarmlearning.merge.arithmetic import GRID, Combine, Float64, NonFinite
from swarmlearning.merge.changes import Coding
from swarmlearning.merge.faults import Faulty, find_faults
from swarmlearning.merge.influence import Influence, influences, tally
from swarmlearning.merge.methods import METHODS, Method
from swarmlearning.merge.streaming import (
    ModelMalformed,
    Models,
    ModelUnreadable,
    OnRead,
    Plan,
    Range,
    Tally,
    build,
    processors,
)
from swarmlearning.tensors.file import Header, TensorFileError, first_bytes, read_header, require_mergeable
from swarmlearning.tensors.structure import NO_ROLES, Roles, describe_difference, structure_digest


class MergeError(Exception):
    """Nothing was merged; the text says why. `out` is as it was, or empty."""


class NothingToMerge(MergeError):
    """No source has a weight: the previous model stands."""


class Reason(StrEnum):
    """Reasons to leave a source out."""

    WEIGHT = "weight"
    UNREADABLE = "unreadable"
    STRUCTURE = "structure"
    NON_FINITE = "non-finite"
    MALFORMED = "malformed"


class Exclusion(NamedTuple):
    """A source left out. `detail`: which tensors differ or are at fault, or why the file is unreadable."""

    uid: str
    reason: Reason
    detail: str = ""


class UnmergeableError(MergeError):
    """Models of this structure cannot be merged at all; no later attempt can succeed."""


class TooFewModels(MergeError):
    """Fewer sources than the caller's minimum could be merged."""

    def __init__(self, left: int, minimum: int, excluded: tuple[Exclusion, ...]) -> None:
        reasons = "; ".join(f"{uid}: {reason}, {detail}" for uid, reason, detail in excluded) or "none was left out"
        super().__init__(f"{left} models can be merged, {minimum} are needed ({reasons})")
        self.excluded = excluded


Write: TypeAlias = Callable[[Models, Combine, Path, Tally | None], Float64 | None]
"""`streaming.build`, or `build_part`."""

Weigh: TypeAlias = Callable[[Mapping[str, int]], Mapping[str, int]]
"""Returns the weights in a merge of exactly these sources, from UID -> weight; both positive."""


@dataclass(frozen=True)
class Source:
    """One node's model; weight 0 means that it is left out. `coding`: the file is a change of the previous result,
    coded so; None: it is the model itself."""

    uid: str
    weight: int
    path: Path
    coding: Coding | None = None


@dataclass(frozen=True)
class MergeReceipt:
    """The record of a merge: UIDs in order; the coefficient of each, unless the method has none; and who was left out.
    `influences`, one a contributor, are empty unless they were requested.

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
    structure: str = "",
    roles: Roles = NO_ROLES,
    minimum: int = 1,
    weigh: Weigh = dict,
    influence: bool = False,
    threads: int | None = None,
    on_read: OnRead = lambda size: None,
) -> MergeReceipt:
    """Merge the sources' files into `out`, which is overwritten in place if it exists and must not be one of them.

    `previous`: the last merged model, None in the first round; influence is measured from it, and what is infinite or
    NaN in it is no model's fault (see `constants`). `structure`: the `structure_digest` with these `roles` that is
    expected; else that of `previous`, else the most common one. `minimum`: how many models must be merged (at least
    one); those of weight 0 do not count. `weigh`: weights that depend on who is left. `influence`: whether to measure
    it. `threads`: None for as many as pay here. Memory stays below 256 MB for all models. `on_read` sees progress.

    Raises NothingToMerge, TooFewModels, and MergeError for everything else, a full disk among it.
    """
    check(method, sources, previous, out)
    weighted = sorted((source for source in sources if source.weight), key=lambda source: source.uid)
    if not weighted:
        raise NothingToMerge(f"none of the {len(sources)} models has a weight; the previous model stands")
    excluded = {source.uid: Exclusion(source.uid, Reason.WEIGHT) for source in sources if not source.weight}
    try:
        header, unusable = _common_header(weighted, previous, structure, roles)
        excluded |= unusable
        while True:
            left = [source for source in weighted if source.uid not in excluded]
            if header is None or len(left) < max(minimum, 1):
                raise TooFewModels(len(left), minimum, _listed(excluded))
            try:
                with opened(_weighed(left, weigh), header, previous, threads or processors(), on_read) as models:
                    plan, sums = built(method, METHODS[method], models, out, influence)
            except ModelUnreadable as error:
                if error.uid is None:
                    raise MergeError(f"{previous}: cannot be read: {error.reason}") from error
                excluded[error.uid] = Exclusion(error.uid, _reason(error), error.reason)
            except Faulty as error:
                excluded |= {uid: Exclusion(uid, Reason.NON_FINITE, it.text) for uid, it in error.faults.items()}
            else:
                measured = () if sums is None else influences(sums)
                return MergeReceipt(method, models.uids, plan.coefficients, _listed(excluded), measured)
    except TensorFileError as error:
        raise MergeError(str(error)) from error


def _reason(error: ModelUnreadable) -> Reason:
    if isinstance(error, ModelMalformed):
        return Reason.NON_FINITE if error.not_finite else Reason.MALFORMED
    return Reason.UNREADABLE


def check(method: str, sources: Sequence[Source], previous: Path | None, out: Path) -> None:
    """Raises MergeError when this cannot be meant."""
    if method not in METHODS:
        raise MergeError(f"unknown merge method {method!r}; there are {', '.join(METHODS)}")
    for uid, count in Counter(source.uid for source in sources).items():
        if count > 1:
            raise MergeError(f"{uid} is given {count} times; a node has one model in a merge")
    for source in sources:
        if source.weight < 0:
            raise MergeError(f"{source.uid} has weight {source.weight}; weights are not negative")
    if previous is None and (changes := [source.uid for source in sources if source.coding]):
        raise MergeError(f"{changes[0]} gives a change, and there is no previous result that it changes")
    if out.resolve() in {path.resolve() for path in (previous, *(source.path for source in sources)) if path}:
        raise MergeError(f"{out}: the result would overwrite a model that it is merged from")


def _weighed(sources: Sequence[Source], weigh: Weigh) -> list[Source]:
    """The sources with the weights that they have when exactly these are merged."""
    weights = weigh({source.uid: source.weight for source in sources})
    if sum(weights.values()) > GRID:
        raise MergeError(f"the weights sum to more than {GRID}; only their proportions matter: use smaller ones")
    return [replace(source, weight=weights[source.uid]) for source in sources]


def _common_header(
    sources: Sequence[Source], previous: Path | None, structure: str, roles: Roles
) -> tuple[Header | None, dict[str, Exclusion]]:
    """The header that all models to merge have (None: no model has it), and the models to leave out for lack of it."""
    headers: dict[str, Header] = {}
    unusable: dict[str, Exclusion] = {}
    coding = next((source.coding for source in sources if source.coding), None)
    base_header = first_bytes(previous, coding.header.data_start) if previous and coding else b""
    for source in sources:
        try:
            if source.coding is None:
                headers[source.uid] = read_header(source.path)
            elif first_bytes(source.path, len(base_header)) == base_header:
                headers[source.uid] = source.coding.header
            else:  # it is left out where rounds are merged in slices, too
                text = "its header differs from that of the model that it changes"
                unusable[source.uid] = Exclusion(source.uid, Reason.STRUCTURE, text)
        except TensorFileError as error:
            # The reason goes on the ledger, a path on this machine does not.
            text = str(error).removeprefix(f"{source.path}: ")
            unusable[source.uid] = Exclusion(source.uid, Reason.UNREADABLE, text)
    common = _expected(list(headers.values()), previous, structure, roles)
    try:
        require_mergeable(common.specs if common else ())
    except TensorFileError as error:
        raise UnmergeableError(str(error)) from error
    for uid, header in headers.items():
        if header != common:
            text = describe_difference(common.specs, header.specs) if common else "not that of this training"
            unusable[uid] = Exclusion(uid, Reason.STRUCTURE, text)
    return common, unusable


def _expected(headers: list[Header], previous: Path | None, structure: str, roles: Roles) -> Header | None:
    """The header of the expected structure; None when there is no model of it."""
    if structure:
        return next((header for header in headers if structure_digest(header.specs, roles) == structure), None)
    if previous is not None:
        return read_header(previous)
    return Counter(headers).most_common(1)[0][0] if headers else None


def built(
    name: str, method: Method, models: Models, out: Path, influence: bool, write: Write = build
) -> tuple[Plan, Float64 | None]:
    """Merge these into `out`, and give the sums for their influence, if that is wanted.

    Raises Faulty, ModelUnreadable and UnmergeableError.
    """
    combine: Combine | None = None
    try:
        plan = method(models)
        combine = plan.combine
        return plan, write(models, plan.combine, out, partial(tally, models) if influence else None)
    except NonFinite:
        pass  # with its blocks
    raise blamed(name, models, combine)


def blamed(name: str, models: Models, combine: Combine | None = None) -> Faulty | UnmergeableError:
    """The error of a merge that is not finite: who has to be left out. `combine`: None where there is no plan yet."""
    faults = find_faults(models, combine)
    if faults:
        return Faulty(faults)
    return UnmergeableError(f"{name}: the result is not finite, though none of the models is at fault")


@contextmanager
def opened(
    sources: Sequence[Source],
    header: Header,
    previous: Path | None,
    threads: int,
    on_read: OnRead,
    part: Range | None = None,
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
            part=part,
            coded={source.uid: source.coding for source in sources if source.coding},
        )


def _listed(excluded: dict[str, Exclusion]) -> tuple[Exclusion, ...]:
    return tuple(excluded[uid] for uid in sorted(excluded))
