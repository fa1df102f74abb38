"""This site's coded changes, and their residuals: what coding has left out of each, for a later one.

A residual lies in the data directory, named by its change, and never leaves it; so does the list of what was made, by
which a restarted node goes on. A residual that is lost (a new disk) is as one of zeros, and said in the log.
"""

import asyncio
import logging
import threading
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from swarmlearning.files import replace_file
from swarmlearning.merge.encoding import EncodingError, Lengths, Residual, encode_change
from swarmlearning.models.pins import Pin
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.rounds.events import Release, Released
from swarmlearning.sl.codings import Codings
from swarmlearning.tensors.digest import DigestError, ModelDigest, digest_laid_out
from swarmlearning.views.times import Coded

logger = logging.getLogger("swarm.SL")

FOLDER: Final = "residuals"
FILE: Final = "changes.json"
REMEMBERED: Final = 16
"""Changes of a contract that a restarted node knows."""
KEPT: Final = 4
"""Residuals: of the change under way, of the one before, and of those in their place while a result is void."""
GROWING: Final = 3
"""Changes in a row whose residual is larger than what was trained, until it is dropped."""


_LONGEST: Final = 1e300


class Made(NamedTuple):
    """A coded change, not in the store yet, and the length of its residual."""

    path: Path
    info: ModelDigest
    residual: float


class Changes:
    """One site's. Its methods may be called in any thread, `make` for one change at a time."""

    def __init__(self, directory: Path, store: TensorStore, codings: Codings) -> None:
        """Reads what an earlier process left; a list that cannot be read counts as none. Raises `OSError`."""
        self._store = store
        self.codings = codings
        self.last: Coded | None = None  # what the change is like that was made last
        self._folder = directory / FOLDER
        self._file = directory / FILE
        self._turn = threading.Lock()
        self._grown = 0
        try:
            self._made = msgspec.json.decode(self._file.read_bytes(), type=dict[str, list[Released]])
        except (FileNotFoundError, msgspec.DecodeError):
            self._made = {}

    def released(self, contract: str) -> tuple[Released, ...]:
        """The changes made for this contract before, the newest last."""
        return tuple(self._made.get(contract, ()))

    async def release(self, task: Release, contract: str, pin: Pin) -> Released:
        """The change from the round's base to a model, in the store and added to `pin`: the same as before for the same
        task, as long as the store has it. Raises `StoreError`."""
        for done in self.released(contract):
            if done.release == task and self._store.has(done.result):
                pin.add(done.result)
                return done
        return await asyncio.to_thread(self._release, task, contract, pin)

    def _release(self, task: Release, contract: str, pin: Pin) -> Released:
        made = self.make(task, self._store.path(task.digest))
        done = Released(task, made.info.root, self._store.digest_info(task.digest).size, None)
        try:
            self.remember(contract, done)
            pin.add(made.info.root)
            if not self._store.has(made.info.root):
                self._store.commit(made.path, made.info)
        except OSError as error:
            raise StoreError(f"{self._file} cannot be written: {error.strerror}") from error
        finally:
            made.path.unlink(missing_ok=True)
        return done

    def make(self, task: Release, model: Path, norm: float | None = None) -> Made:
        """Codes the change to this model, with the residual that the task names. Its own is on disk before it returns.

        `norm`: the largest length of the change. Blocks. Raises `StoreError`.
        """
        base, out = self._store.path(task.base), self._store.temporary()
        after = self._folder / "new"
        try:
            coding = self.codings.of(task.transfer, self._store.digest_info(task.base))
            assert coding is not None
            with self._turn:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                residuals = None
                if task.residual is not None:
                    residuals = Residual(self._residual(task.residual, coding.residual_size), after)
                lengths = encode_change(coding, model, base, out, residual=residuals, norm=norm)
                info = digest_laid_out(out, coding.layout(task.base))
                dropped = residuals is not None and self._keep(task, info.root, after, lengths)
            change, residual = _stated(lengths.change), _stated(lengths.residual)
            self.last = Coded(task.transfer, info.size, coding.header.file_size, change, residual, dropped)
        except (EncodingError, DigestError, OSError) as error:
            out.unlink(missing_ok=True)
            raise StoreError(f"the change of this site cannot be coded: {error}") from error
        except BaseException:
            out.unlink(missing_ok=True)
            raise
        return Made(out, info, lengths.residual)

    def remember(self, contract: str, done: Released) -> None:
        """Adds to what was made. Raises `OSError`."""
        with self._turn:
            earlier = [each for each in self.released(contract) if each.release != done.release]
            self._made[contract] = [*earlier, done][-REMEMBERED:]
            replace_file(self._file, msgspec.json.encode(self._made))

    def _residual(self, change: str, size: int) -> Path | None:
        """The file of what was left out of this change, None where nothing counts. Raises OSError."""
        path = self._folder / change
        found = path.stat().st_size if change and path.exists() else 0
        if found == size:
            return path if change else None
        if change and (found or not path.exists()):
            logger.warning("What coding had left out of change %s is lost: the next one begins without it", change[:16])
        return None

    def _keep(self, task: Release, root: str, after: Path, lengths: Lengths) -> bool:
        """Keeps the residual of the new change, unless they grow for ever; and removes those that are of no use now.
        Returns whether it was dropped.

        The change has been made with the residual before it: what is dropped is the new one.
        """
        self._grown = self._grown + 1 if lengths.residual > lengths.change else 0
        logger.debug("A change of length %.3g leaves %.3g out", lengths.change, lengths.residual)
        after.replace(self._folder / root)
        if dropped := self._grown >= GROWING:
            logger.warning(
                "What coding leaves out (%.3g) was more than what was trained (%.3g) for %d rounds: it is dropped. "
                "Train longer between rounds (syncFrequency), or choose another transfer",
                lengths.residual,
                lengths.change,
                GROWING,
            )
            self._grown = 0
            (self._folder / root).write_bytes(b"")
        residuals = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in [path for path in residuals if path.name not in (task.residual, root)][KEPT - 2 :]:
            path.unlink()
        return dropped


def _stated(length: float) -> float | None:
    return float(f"{length:.3g}") if length <= _LONGEST else None
