"""The leader's merge: from the submissions of a round to the stored result and its receipt. And a straggler's
`carry_over`.

`on_read` sees the progress of both, in bytes, from their threads.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from swarmlearning.choices import MergeMethod
from swarmlearning.ledger.bodies import Contribution, Exclusion, ExclusionReason, Receipt, remark
from swarmlearning.ledger.contracts.training import weighing
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.contracts.training.submissions import Submission
from swarmlearning.ledger.contracts.training.transfers import back_in, transfer_in
from swarmlearning.ledger.contracts.training.transitions import terms_of
from swarmlearning.merge import merging
from swarmlearning.merge.back import code_model
from swarmlearning.merge.carry import carry
from swarmlearning.merge.influence import Influence
from swarmlearning.merge.merging import MergeReceipt, Reason, Source, TooFewModels, merge
from swarmlearning.merge.streaming import OnRead
from swarmlearning.models.pins import Pin
from swarmlearning.models.store import TensorStore
from swarmlearning.rounds.events import Carry, Merge, Merged
from swarmlearning.sl.codings import Codings, misfit
from swarmlearning.tensors.digest import Format, ModelDigest, digest_laid_out
from swarmlearning.tensors.structure import NO_ROLES, Roles

logger = logging.getLogger("swarm.SL")

T = TypeVar("T")

_REASONS: dict[Reason, ExclusionReason] = {
    Reason.STRUCTURE: "structure",
    Reason.NON_FINITE: "non-finite",
    Reason.UNREADABLE: "unreachable",
    Reason.MALFORMED: "malformed",
}


async def merge_round(
    task: Merge,
    training: Training,
    store: TensorStore,
    on_read: OnRead,
    pin: Pin | None = None,
    format: Format = 1,
    codings: Codings | None = None,
    roles_in: Callable[[str], Roles] = lambda structure: NO_ROLES,
) -> Merged:
    """Merges the held models of a frozen round. The result is empty when fewer than `minPeers` were usable.

    Models of another structure than that of the session's terms are left out, whoever else has it. The result is added
    to `pin`, and named in this format. `roles_in`: the roles in the structure with a digest, as this site knows them.
    Where nobody gives another model than the previous result, that stands, and need not be held. Raises `MergeError`
    and `StoreError` when this node cannot do it (a full disk).
    """
    terms = terms_of(training)
    method, min_peers = terms.merge_method, terms.min_peers
    known = task.unusable
    silent = [entry for entry in task.submissions if entry.weight == 0]
    counted = min_peers - sum(entry.reason == "kept-back" for entry in known)
    if len(task.submissions) < counted:
        return _without_result(task, method, known)
    if {entry.digest for entry in task.submissions if entry.weight} <= {task.base}:
        return _unchanged(task, training, store)
    codings = codings or Codings(store)
    sources, misshapen = _sources(task, training, store, codings)
    known = (*known, *misshapen)
    previous = store.path(task.base) if task.base and store.has(task.base) else None
    out, minimum = store.temporary(), max(1, counted - len(silent))
    fitting = partial(merge, structure=terms.structure, roles=roles_in(terms.structure), minimum=minimum)
    try:
        if task.single:
            done = await in_thread(lambda read: _take_first(fitting, sources, out, read), on_read)
        else:
            weigh = partial(weighing.coefficients, training)
            merge_all = partial(fitting, method, sources, previous, out, weigh=weigh, influence=True)
            done = await in_thread(lambda read: merge_all(on_read=read), on_read)
        change = await _coded_back(task.base, training, store, codings, out, on_read, pin)
        info = await store.adopt(out, pin, format)
    except TooFewModels as failure:
        out.unlink(missing_ok=True)
        return _without_result(task, method, (*known, *_excluded(failure.excluded)))
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    receipt = _receipt(method, task.submissions, done, (*known, *_excluded(done.excluded)))
    return Merged(task.round, task.term, info.root, info.size, receipt, change=change)


async def carry_over(task: Carry, store: TensorStore, on_read: OnRead, pin: Pin | None = None) -> ModelDigest:
    """Makes and stores a straggler's model on the latest result, and adds it to `pin`; its name has the format of the
    trained one's.

    Raises `MergeError` and `StoreError`.
    """
    trained, base, onto = (store.path(digest) for digest in (task.digest, task.base, task.onto))
    out = store.temporary()
    try:
        await in_thread(lambda read: carry(trained, base, onto, out, task.missed, read), on_read)
        return await store.adopt(out, pin, store.digest_info(task.digest).layout.format)
    finally:
        out.unlink(missing_ok=True)


async def _coded_back(
    base: str, training: Training, store: TensorStore, codings: Codings, merged: Path, on_read: OnRead, pin: Pin | None
) -> str:
    """Where merges travel back as changes, stores the coded change of what was merged, and puts what that stands for in
    its place. The digest of the change; empty where there is none. Raises `MergeError` and `StoreError`."""
    back = back_in(training, base)
    if back == "float32":
        return ""
    coding = codings.of(back, store.digest_info(base))
    assert coding is not None
    change, before = store.temporary(), store.path(base)
    try:
        say_kept(await in_thread(lambda read: code_model(coding, before, merged, change, read), on_read))
        with store.writing(change, coding.size):
            info = await asyncio.to_thread(digest_laid_out, change, coding.layout(base))
        if pin is not None:
            pin.add(info.root)
        if not store.has(info.root):
            store.commit(change, info)
        return info.root
    finally:
        change.unlink(missing_ok=True)


def say_kept(blocks: int) -> None:
    """Tells people of blocks of values that could not be coded."""
    if blocks:
        logger.warning(
            "%d blocks of 64 merged values cannot be coded (not finite, or too large): there the model stays as it was",
            blocks,
        )


def _sources(
    task: Merge, training: Training, store: TensorStore, codings: Codings
) -> tuple[list[Source], list[Exclusion]]:
    """The models that have weight, the same for all where one of them is chosen; and who is left out since what it
    gives is not what this round merges: a change of the base, coded as the contract says, or a model."""
    transfer, sources, misshapen = transfer_in(training, task.base), list[Source](), list[Exclusion]()
    coding = codings.of(transfer, store.digest_info(task.base)) if transfer != "float32" else None
    for entry in task.submissions:
        if entry.weight > 0:
            changed = coding if entry.digest != task.base else None
            due = changed.layout(task.base) if changed else None
            if why := misfit(store.digest_info(entry.digest).layout, due):
                misshapen.append(Exclusion(entry.uid, "structure", why))
            else:
                weight = 1 if task.single else entry.weight
                sources.append(Source(entry.uid, weight, store.path(entry.digest), changed))
    return sources, misshapen


async def in_thread(work: Callable[[OnRead], T], on_read: OnRead) -> T:
    """Runs `work` in a thread, which ends soon when this is cancelled: a stopping node would wait for a whole merge."""
    unwanted = threading.Event()

    def read(size: int) -> None:
        if unwanted.is_set():
            raise _Unwanted
        on_read(size)

    try:
        return await asyncio.to_thread(work, read)
    except asyncio.CancelledError:
        unwanted.set()
        raise


class _Unwanted(Exception):
    """Nobody waits for the result any more."""


def _take_first(
    fitting: Callable[..., MergeReceipt], sources: Sequence[Source], out: Path, on_read: OnRead
) -> MergeReceipt:
    """The model of the first contributor, by UID, among those that `fitting`, which merges them, has merged.

    Raises as `merge` does.
    """
    usable = fitting("mean", sources, None, out, on_read=on_read)
    first = usable.contributors[0]
    chosen = next(source for source in sources if source.uid == first)
    merge("mean", [chosen], chosen.path, out, on_read=on_read)
    coefficients = tuple(int(uid == first) for uid in usable.contributors)
    return MergeReceipt("mean", usable.contributors, coefficients, usable.excluded)


def _receipt(
    method: MergeMethod,
    submissions: tuple[Submission, ...],
    done: MergeReceipt | None,
    exclusions: tuple[Exclusion, ...],
) -> Receipt:
    """`done`: what was merged, None when nothing was. Methods without coefficients have 1 for each contributor."""
    merged = done.contributors if done else ()
    coefficients = dict(zip(merged, (done and done.coefficients) or (1,) * len(merged), strict=True))
    influences = dict(zip(merged, done.influences, strict=False)) if done else {}
    left_out = {entry.uid for entry in exclusions}
    contributions = (
        Contribution(
            entry.uid,
            entry.digest,
            entry.weight,
            coefficients.get(entry.uid, 0),
            *influences.get(entry.uid, (None, None)),
        )
        for entry in submissions
        if entry.uid not in left_out
    )
    return Receipt(method, tuple(contributions), exclusions)


def _unchanged(task: Merge, training: Training, store: TensorStore) -> Merged:
    """The previous result stands: no model has weight, or all that have it are this one."""
    weights = {entry.uid: entry.weight for entry in task.submissions if entry.weight}
    method = terms_of(training).merge_method
    shares = weighing.coefficients(training, weights)
    coefficients = tuple(shares[uid] for uid in weights) if method == "mean" else ()
    done = MergeReceipt(method, tuple(weights), coefficients, (), (Influence(0.0, None),) * len(weights))
    receipt = _receipt(method, task.submissions, done, task.unusable)
    return Merged(task.round, task.term, task.base, _size(store, task.base), receipt)


def _without_result(task: Merge, method: MergeMethod, exclusions: tuple[Exclusion, ...]) -> Merged:
    return Merged(task.round, task.term, "", 0, _receipt(method, task.submissions, None, exclusions))


def _excluded(found: tuple[merging.Exclusion, ...]) -> tuple[Exclusion, ...]:
    """The exclusions that the merge itself made; weight 0 is none, such a member took part without weight."""
    return tuple(
        Exclusion(uid, _REASONS[reason], remark(detail)) for uid, reason, detail in found if reason in _REASONS
    )


def _size(store: TensorStore, digest: str) -> int:
    return store.digest_info(digest).size if store.has(digest) else 0
