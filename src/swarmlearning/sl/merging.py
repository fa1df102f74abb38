"""The leader's merge: from the submissions of a round to the stored result and its receipt."""

import asyncio

from swarmlearning.ledger.bodies import Contribution, Exclusion, ExclusionReason, MergeMethod, Receipt
from swarmlearning.ledger.contracts.training import Submission
from swarmlearning.merge.merging import NothingToMerge, Source, TooFewModels, merge
from swarmlearning.rounds.events import Merge, Merged
from swarmlearning.sl.store import TensorStore

_REASONS: dict[str, ExclusionReason] = {
    "structure": "structure",
    "non-finite": "non-finite",
    "unreadable": "unreachable",
}


async def merge_round(task: Merge, method: MergeMethod, min_peers: int, store: TensorStore) -> Merged:
    """Merges the held models of a frozen round. The result is empty when fewer than `min_peers` were usable.

    Raises `MergeError` and `StoreError` when this node cannot do it (a full disk).
    """
    known = tuple(Exclusion(uid, "unreachable", detail[:300]) for uid, detail in task.unusable)
    silent = [entry for entry in task.submissions if entry.weight == 0]
    sources = [
        Source(entry.uid, entry.weight, store.path(entry.digest)) for entry in task.submissions if entry.weight > 0
    ]
    previous = store.path(task.base) if task.base and store.has(task.base) else None
    if len(task.submissions) < min_peers:
        return _without_result(task, method, known)
    out = store.temporary()
    try:
        done = await asyncio.to_thread(merge, method, sources, previous, out, minimum=max(1, min_peers - len(silent)))
        info = await store.adopt(out)
    except NothingToMerge:
        out.unlink(missing_ok=True)
        receipt = _receipt(method, task.submissions, {}, known)
        return Merged(task.round, task.term, task.base, _size(store, task.base), receipt)
    except TooFewModels as failure:
        out.unlink(missing_ok=True)
        return _without_result(task, method, (*known, *_excluded(failure.excluded)))
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    coefficients = done.coefficients or tuple(1 for _ in done.contributors)
    found = (*known, *_excluded(done.excluded))
    receipt = _receipt(method, task.submissions, dict(zip(done.contributors, coefficients, strict=True)), found)
    return Merged(task.round, task.term, info.root, info.size, receipt)


def _receipt(
    method: MergeMethod,
    submissions: tuple[Submission, ...],
    coefficients: dict[str, int],
    exclusions: tuple[Exclusion, ...],
) -> Receipt:
    left_out = {entry.uid for entry in exclusions}
    contributions = tuple(
        Contribution(entry.uid, entry.digest, entry.weight, coefficients.get(entry.uid, 0))
        for entry in submissions
        if entry.uid not in left_out
    )
    return Receipt(method, contributions, exclusions)


def _without_result(task: Merge, method: MergeMethod, exclusions: tuple[Exclusion, ...]) -> Merged:
    return Merged(task.round, task.term, "", 0, _receipt(method, task.submissions, {}, exclusions))


def _excluded(found: tuple[tuple[str, str], ...]) -> tuple[Exclusion, ...]:
    """The exclusions that the merge itself made; weight 0 is none, such a member took part without weight."""
    split = [(uid, *text.partition(": ")[::2]) for uid, text in found]
    return tuple(Exclusion(uid, _REASONS[reason], detail[:300]) for uid, reason, detail in split if reason in _REASONS)


def _size(store: TensorStore, digest: str) -> int:
    return store.digest_info(digest).size if store.has(digest) else 0
