"""A site's privacy lock at work: what it gives of a model, what that costs, and which models it lets others have.

Nothing is submitted, and so nothing can be fetched, before the record of what was given is on disk. A script has no
part in this: it hands a model over, and the lock decides what leaves the site. What a script has handed over is served
to nobody, whatever the ledger calls by its digest: a leader that learned it from the script could publish it as a
result.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from swarmlearning.ledger.bodies import Privacy
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.bodies import Withheld
from swarmlearning.ledger.contracts.training.serving import is_served, stated_by
from swarmlearning.ledger.contracts.training.slices import change_name
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.models.pins import Pin
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.privacy.accounting import composed_epsilon
from swarmlearning.privacy.gaussian import Noise
from swarmlearning.privacy.policy import Lock
from swarmlearning.privacy.record import Line, Record, RecordError
from swarmlearning.privacy.release import Clipping, ReleaseError, release
from swarmlearning.rounds.events import Release, Released
from swarmlearning.sl.changes import Changes
from swarmlearning.sl.lockmemory import LockMemory
from swarmlearning.tensors.digest import DigestError, ModelDigest, digest_file

logger = logging.getLogger("swarm.SL")

_ROUNDING = 1e-9
"""Relative error that two computations of the same ε may have."""


class SiteLock:
    """The lock of one SL. `release` may run several times at once: the record decides.

    `warn` and `tell` may be set to functions that are called, in any thread, with what the site's user has to know;
    `tell` with what says something about the model that was handed over: that is for the script alone, and for no log.
    """

    def __init__(self, lock: Lock, record: Record, memory: LockMemory, store: TensorStore) -> None:
        self.lock = lock
        self.warn: Callable[[str], None] = logger.warning
        self.tell: Callable[[str], None] = lambda text: None
        self._record = record
        self._memory = memory
        self._store = store
        self._given: set[str] = set()
        self.changes: Changes | None = None
        """Where the contract has changes coded, what is given is one."""

    def open(self) -> str:
        """Reads the record; returns the state of the budget, for people. Blocks.

        Raises `RecordError`, and `AccountingError` where the library for noise is missing.
        """
        lines = self._record.lines()
        self._given = {line.result for line in lines}
        if not self.lock.noise:
            return f"{len(lines)} models were given, without a bound on ε; recorded in {self._record.path}"
        composed_epsilon([self.lock.noise], self.lock.delta)
        spent = self._epsilon(lines)
        return (
            f"ε = {spent:.4g} of {self.lock.epsilon:g} is spent at δ = {self.lock.delta:g} by {len(lines)} models; "
            f"recorded in {self._record.path}"
        )

    def released(self, contract: str) -> tuple[Released, ...]:
        """What was given to a contract before this node was started."""
        return self._memory.released(contract)

    # --- giving -----------------------------------------------------------------------------------------------------

    async def release(self, task: Release, chain: Chain, contract: str, uid: str, pin: Pin) -> Released:
        """What the lock gives of a model; the result is in the store, and added to `pin`.

        The same as before for the same task, as long as the store has it. Raises `StoreError` when this node cannot
        make it (a full disk).
        """
        for done in self._memory.released(contract):
            if done.release == task and self._store.has(done.result):
                pin.add(done.result)
                return done
        if task.digest in self.lock.initial and not task.base:
            privacy = msgspec.structs.replace(self.lock.statement(), contributors=1)
            return Released(task, task.digest, self._store.digest_info(task.digest).size, privacy)
        if not task.base:
            self.tell(
                "The privacy lock gives no model to a round without a base: this site takes the others' start. To give "
                f"this one, name it in the policy: initialModels: [{task.digest}]"
            )
            return self._withheld(task, "no-base")
        stated = _stated(state_of(chain.world, contract), uid)
        return await asyncio.to_thread(self._release, task, chain.network_id, contract, stated, pin)

    def _release(self, task: Release, network: str, contract: str, stated: float, pin: Pin) -> Released:
        try:
            lines = self._record.lines()
            if self._epsilon(lines) < stated * (1 - _ROUNDING):
                raise RecordError(
                    f"{self._record.path}: the ledger says that ε = {stated:.6g} is spent, and the record that it is "
                    f"{self._epsilon(lines):.6g}: restore the record from its newest backup"
                )
            if not self._is_within([*lines, self._line(task, network, contract, task.digest)]):
                return self._spent(task, lines)
            out, info = self._make(task)
            try:
                after = self._record.add(self._line(task, network, contract, info.root), self._is_within)
                if after is None:
                    return self._spent(task, lines)
                self._given.add(info.root)
                size = self._store.digest_info(task.digest).size
                done = Released(task, info.root, size, self._statement(after))
                self._memory.add(contract, done)
                pin.add(info.root)
                if not self._store.has(info.root):
                    self._store.commit(out, info)
            finally:
                out.unlink(missing_ok=True)
        except RecordError as error:
            self.warn(f"The privacy lock gives nothing: {error}")
            return self._withheld(task, "record")
        except OSError as error:
            raise StoreError(f"the privacy lock cannot write what it gives: {error}") from error
        return done

    def _make(self, task: Release) -> tuple[Path, ModelDigest]:
        model, base, out = self._store.path(task.digest), self._store.path(task.base), self._store.temporary()
        noise = (Noise(), self.lock.norm * self.lock.noise) if self.lock.noise else None
        try:
            if not release(model, base, out, Clipping(self.lock.norm, noise), lambda size: None):
                self.tell(
                    "The model of this site has NaN or infinity, or is far beyond all bounds: the privacy lock counts "
                    "it as no change. Check the learning rate and the data"
                )
            if task.transfer != "float32":
                return self._coded(task, out)
            return out, digest_file(out, format=self._store.digest_info(task.digest).layout.format)
        except (ReleaseError, DigestError) as error:
            out.unlink(missing_ok=True)
            raise StoreError(f"the privacy lock cannot make what it gives: {error}") from error
        except BaseException:
            out.unlink(missing_ok=True)
            raise

    def _coded(self, task: Release, locked: Path) -> tuple[Path, ModelDigest]:
        """The change to what the lock has made of the model: without noise no longer than the norm, as it is decoded.
        Raises `StoreError`."""
        assert self.changes is not None
        made = self.changes.make(task, locked, None if self.lock.noise else self.lock.norm)
        locked.unlink(missing_ok=True)
        return made.path, made.info

    def _line(self, task: Release, network: str, contract: str, result: str) -> Line:
        now = int(1000 * time.time())
        return Line(network, contract, task.run, task.round, task.base, result, self.lock.norm, self.lock.noise, now)

    # --- what it costs ----------------------------------------------------------------------------------------------

    def _epsilon(self, lines: Sequence[Line]) -> float:
        """0 without noise, where there is no bound. Raises `RecordError` where the record has models without noise."""
        if not self.lock.noise:
            return 0.0
        if any(not line.noise for line in lines):
            raise RecordError(
                f"{self._record.path} has models that were given without noise, so no ε bounds what was given; with "
                "noise choose another record, for data of which nothing was given"
            )
        return composed_epsilon([line.noise for line in lines], self.lock.delta)

    def _is_within(self, lines: Sequence[Line]) -> bool:
        return self._epsilon(lines) <= self.lock.epsilon if self.lock.noise else True

    def _statement(self, lines: tuple[Line, ...]) -> Privacy:
        return self.lock.statement(self._epsilon(lines), len(lines) if self.lock.noise else 0)

    def _spent(self, task: Release, lines: tuple[Line, ...]) -> Released:
        spent = self._epsilon(lines)
        self.warn(
            f"The privacy budget of this site is spent: ε = {spent:.4g} of {self.lock.epsilon:g}, and one more model "
            "would exceed it. From now on this site gives none; it goes on taking the merged models"
        )
        return self._withheld(task, "budget", self._statement(lines))

    def _withheld(self, task: Release, reason: Withheld, statement: Privacy | None = None) -> Released:
        privacy = msgspec.structs.replace(statement or self.lock.statement(), withheld=reason)
        return Released(task, "", 0, privacy)

    # --- serving ----------------------------------------------------------------------------------------------------

    async def made_public(self, digest: str) -> None:
        """Notes a model that this node has fetched from others, or merged of what they can have."""
        try:
            await asyncio.to_thread(self._memory.add_public, digest)
        except OSError as error:
            logger.warning("Model %s is not served to others after a restart: %s", digest[:16], error)

    def serves(self, chain: Chain, uid: str, digest: str) -> bool:
        """True if others may have this model, as far as the lock is concerned: see `readers`. Slices that are merged
        are of several sites' models, and named by their recipe."""
        if digest in self.lock.initial or self._memory.is_public(digest):
            return True
        if digest not in self._given:
            slicings = (each for state in _trainings(chain, uid) for each in state.slicings)
            return any(digest in (each.recipe, change_name(each.recipe)) for each in slicings)
        return any(is_served(state, uid, digest) for state in _trainings(chain, uid))


def _trainings(chain: Chain, uid: str) -> list[Training]:
    return [state for state in chain.world.area("training/", Training) if uid in state.members]


def _stated(state: Training, uid: str) -> float:
    """The largest ε that the ledger shows as spent by this site."""
    return max((entry.privacy.epsilon for entry in stated_by(state, uid) if entry.privacy), default=0.0)
