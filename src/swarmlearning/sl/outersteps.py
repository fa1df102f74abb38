"""An SL's outer steps: from what was merged to the model that training goes on from, and the momentum for the next one.

Whoever merges steps at once, and states both with the result. All others have base and momentum, fetch what was merged
and make the same: so only one model travels. Who lacks base or momentum (a newcomer, a site with a lost disk) fetches
both results of the step. What a site makes itself is compared with what the ledger states before it is used.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple, TypeAlias

import msgspec

from swarmlearning.errors import UserError
from swarmlearning.ledger.bodies import remark
from swarmlearning.ledger.contracts.training.outer import Step
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.contracts.training.steps import made_of, momentum_of
from swarmlearning.ledger.contracts.training.transitions import terms_of
from swarmlearning.merge.merging import MergeError
from swarmlearning.merge.outer import Outer, momentum_specs
from swarmlearning.merge.selfcheck import differences, features
from swarmlearning.merge.stepping import take_step
from swarmlearning.merge.streaming import OnRead
from swarmlearning.models.pins import Pin
from swarmlearning.models.store import NotHeldError, StoreError, TensorStore
from swarmlearning.models.transfer import TransferError
from swarmlearning.rounds.events import Dropped, Event, LocalFailure, Merged
from swarmlearning.rounds.slices import Assemble, Assembled
from swarmlearning.sl.merging import in_thread
from swarmlearning.tensors.file import file_size, read_header
from swarmlearning.views.names import escaped

logger = logging.getLogger("swarm.SL")

Get: TypeAlias = Callable[[str, int | None], Awaitable[object]]
"""Fetches a model, of this size where it is known, unless it is here. Raises `TransferError` and `StoreError`."""


class Stepped(NamedTuple):
    """The model after a step and its bytes; `step` as the ledger states it, None where the model is the base."""

    result: str
    size: int
    step: Step | None


class DifferentStep(UserError):
    """This node comes to another model than the ledger states, of the same bytes. `own`: it is this node that computes
    wrongly, as the golden vectors show; else it cannot be told who is wrong, and the result is not used here."""

    def __init__(self, number: int, made: str, stated: str) -> None:
        found = "; ".join(differences())
        self.own = bool(found)
        why = f"This node computes wrongly: {found}" if found else "The golden vectors are right here"
        super().__init__(
            f"the outer step of round {number} gives {made[:16]} here, and the ledger states {stated[:16]}. {why}; "
            f"processor features: {features() or 'none'}"
        )


class OuterSteps:
    """Belongs to one event loop, in which `emit` is called. `parameters`: the tensors that are stepped of models of the
    structure with a digest, empty where this site does not know them. `on_read` sees progress."""

    def __init__(
        self,
        store: TensorStore,
        emit: Callable[[Event], None],
        parameters: Callable[[str], frozenset[str]],
        on_read: OnRead,
    ) -> None:
        self._store = store
        self._emit = emit
        self._known = parameters
        self._on_read = on_read

    def needed(self, training: Training, base: str) -> list[str]:
        """What a step from this base begins with."""
        return [digest for digest in (base, momentum_of(training, base)) if digest]

    async def stepped(self, training: Training, merged: Merged, base: str, pin: Pin) -> Merged:
        """The outcome of a merge, with the step from its base. Raises as `take` does."""
        made = await self.take(training, base, merged.result, pin)
        return msgspec.structs.replace(merged, result=made.result, size=made.size, step=made.step)

    async def of_slices(
        self, training: Training, task: Assemble, merged: Assembled, pin: Pin
    ) -> Assembled | LocalFailure:
        """The same for a model of slices."""
        try:
            made = await self.take(training, task.base, merged.result, pin)
        except NotHeldError as error:
            for digest in self.needed(training, task.base):
                if not self._store.has(digest):
                    self._emit(Dropped(digest))
            return LocalFailure(task, str(error))
        except (MergeError, StoreError) as error:
            logger.warning("The outer step of %s fails here: %s", merged.result[:16], error)
            return LocalFailure(task, str(error))
        return msgspec.structs.replace(merged, result=made.result, size=made.size, step=made.step)

    async def take(self, training: Training, base: str, merged: str, pin: Pin) -> Stepped:
        """Steps from `base`, with its momentum, towards what was merged, and adds to `pin` what is stored.

        Raises `NotHeldError` where a model is not here, and `MergeError` and `StoreError`.
        """
        store, info, momentum = self._store, self._store.digest_info(merged), momentum_of(training, base)
        format, out, kept = info.layout.format, store.temporary(), store.temporary()
        try:
            work = partial(
                take_step,
                _outer(training),
                store.path(base),
                store.path(momentum) if momentum else None,
                store.path(merged),
                self._parameters(training),
                out,
                kept,
            )
            if fault := await in_thread(lambda read: work(on_read=read), self._on_read):
                logger.warning(
                    "The outer step towards %s is not finite: %s. The merge stands, and the momentum begins anew",
                    merged[:16],
                    escaped(fault),
                )
                return Stepped(merged, info.size, Step(merged, fault=remark(fault)))
            result, left = await store.adopt(out, pin, format), await store.adopt(kept, pin, format)
        finally:
            out.unlink(missing_ok=True)
            kept.unlink(missing_ok=True)
        if result.root == base:
            return Stepped(base, info.size, None)
        return Stepped(result.root, result.size, Step(merged, left.root))

    async def obtain(self, training: Training, result: str, get: Get, pin: Pin) -> None:
        """Fetches a model. A result of a step and its momentum are made here, or both fetched, whatever is not here.

        Raises `TransferError`, `MergeError`, `StoreError`; `DifferentStep` where what is made here is something else.
        """
        step = training.steps.get(result)
        if step is None:
            await get(result, None)
            return
        for digest in made_of(step):
            pin.add(digest)
        if await self._can_be_made(training, result, step, get) and await self._make(training, result, step, get, pin):
            return
        await get(result, None)
        if step.momentum and not self._store.has(step.momentum):
            specs = read_header(self._store.path(result)).specs
            await get(step.momentum, file_size(momentum_specs(_outer(training), specs, self._parameters(training))))

    async def _can_be_made(self, training: Training, result: str, step: Step, get: Get) -> bool:
        """Whether all is here that the result is made of: what was merged is fetched."""
        if self._store.has(result) and (not step.momentum or self._store.has(step.momentum)):
            return False
        if training.result is None or training.result.digest != result:
            return False  # a base: of what it was made nobody knows any more
        base = training.result.closed.base
        momentum = momentum_of(training, base)
        if not self._store.has(base) or (momentum and not self._store.has(momentum)):
            return False
        if self._store.has(step.merged):
            return True
        if self._store.has(result):
            return False  # only the momentum is to be fetched
        try:
            await get(step.merged, None)
        except TransferError as error:
            logger.info("What was merged cannot be fetched, so the result of its step is: %s", error)
            return False
        return True

    async def _make(self, training: Training, result: str, step: Step, get: Get, pin: Pin) -> bool:
        """Steps, and compares; False where a file that this began with turns out to be damaged."""
        assert training.result is not None
        base = training.result.closed.base
        made = await self.take(training, base, step.merged, pin)
        if made.result == result and (made.step or step).momentum == step.momentum:
            return True
        for digest in {made.result, *made_of(made.step)} - {result, base, *made_of(step)}:
            self._store.forget(digest)
        whole = [await self._store.verify(digest) for digest in (step.merged, *self.needed(training, base))]
        if not all(whole):
            for digest in self.needed(training, base):
                if not self._store.has(digest):
                    self._emit(Dropped(digest))
            return False
        raise DifferentStep(training.result.closed.number, made.result, result)

    def _parameters(self, training: Training) -> frozenset[str]:
        """Raises `MergeError` where this node does not know them."""
        if not (found := self._known(terms_of(training).structure)):
            raise MergeError("which tensors are parameters is not known here: no script of this training has run yet")
        return found


def _outer(training: Training) -> Outer:
    outer = terms_of(training).outer
    assert outer is not None
    return Outer(outer.method, float(outer.rate), float(outer.momentum))
