"""This site's own check of what it has given, where others have left that out: whose fault is it?

The script's model is checked for NaN and infinity, and a coded change as all those check it who merge it: by its file,
and by the values that it gives with the round's base.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.ledger.contracts.training.transfers import transfer_in
from swarmlearning.merge.changes import Malformed
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.sl.checking import fault_of_change, fault_of_own
from swarmlearning.sl.codings import Codings, misfit
from swarmlearning.tensors.file import TensorFileError

logger = logging.getLogger("swarm.SL")

_JUDGED: Final = ("non-finite", "malformed", "structure")
"""Reasons to leave a model out that its bytes decide."""


class Verdict(NamedTuple):
    """`fault`: what is wrong, empty where nothing is found. `checked`: the values of the model that the script has
    handed over, or the coded change that was made of it, too; empty where nothing was, since the files are not here.
    `coding`: the script's values are as they should be, and the fault is in how they were coded."""

    fault: str = ""
    checked: Literal["", "values", "change"] = ""
    coding: bool = False


class OwnCheck:
    """Belongs to one event loop. `model`: the digest of what the script has handed over last; empty before that."""

    def __init__(self, uid: str, store: TensorStore, codings: Codings, model: Callable[[], str]) -> None:
        self._uid = uid
        self._store = store
        self._codings = codings
        self._model = model
        self._last: tuple[tuple[str, str, str], Verdict] | None = None

    async def verdict(self, state: Training) -> Verdict:
        """What this site finds of its model that the ledger shows as unusable; of any other one nothing is checked."""
        if (called := _called_unusable(state, self._uid)) is None:
            return Verdict()
        current, given = called
        key = (self._model(), given, current.base)
        if self._last is None or self._last[0] != key:
            self._last = key, await self._check(state, current, given)
        return self._last[1]

    async def _check(self, state: Training, current: Round, given: str) -> Verdict:
        model, base, bases = self._model(), current.base, sorted(filter(self._store.has, bases_of(state)))
        with self._store.pinned(*filter(None, (model, given)), *bases):
            try:
                verdict = Verdict()
                if model and self._store.has(model):
                    own, *known = (self._store.path(digest) for digest in (model, *bases))
                    verdict = Verdict(await asyncio.to_thread(fault_of_own, own, known), "values")
                is_change = given != base and transfer_in(state, base) != "float32"
                if is_change and not verdict.fault and self._store.has(given) and self._store.has(base):
                    return await asyncio.to_thread(self._of_change, state, base, given)
            except (StoreError, TensorFileError, OSError) as error:
                logger.warning("What this site has given cannot be checked: %s", error)
                return Verdict()
            else:
                return verdict

    def _of_change(self, state: Training, base: str, given: str) -> Verdict:
        """Blocks. Raises `StoreError`, OSError and `TensorFileError`."""
        coding = self._codings.of(transfer_in(state, base), self._store.digest_info(base))
        assert coding is not None
        if why := misfit(self._store.digest_info(given).layout, coding.layout(base)):
            return Verdict(why, "change", coding=True)
        try:
            return Verdict(fault_of_change(self._store.path(given), coding, self._store.path(base)), "change")
        except Malformed as error:
            return Verdict(str(error), "change", coding=not error.not_finite)


def bases_of(state: Training) -> set[str]:
    """The digests of the results that a model of the round in progress, or of the one before, was trained from."""
    bases = {state.round.base if state.round else "", state.result.closed.base if state.result else ""}
    return bases - {""}


def _called_unusable(state: Training, uid: str) -> tuple[Round, str] | None:
    """The round whose model of this site the ledger shows as unusable by its bytes, and what was given to that."""
    if state.round is not None and (barred := state.round.barred.get(uid)):
        return state.round, barred.digest
    if state.result is None:
        return None
    excluded = {entry.uid for entry in state.result.receipt.exclusions if entry.reason in _JUDGED}
    given = state.result.closed.submissions.get(uid)
    return (state.result.closed, given.digest) if uid in excluded and given else None
