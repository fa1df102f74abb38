"""The model of the best round of a training, kept beside the last one (`SL_KEEP_BEST`).

    results/<contract>-run<N>-best.safetensors    the model; a link: no second copy of the bytes while the store has it
    results/<contract>-run<N>-best.json           the round and its means (`BestRound`)
    results/.<contract>-run<N>-round<K>.candidate the result of a round whose means are not known yet

A round's means are known once the next result stands, when the store needs its model no more: so a result is a
candidate from the moment this site holds it.
"""

import threading
from pathlib import Path
from typing import Final

import msgspec

from swarmlearning.files import replace_file
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.sl.results import FOLDER, link_file
from swarmlearning.views.curves import RoundMean

MOST_CANDIDATES: Final = 4


class BestRound(msgspec.Struct, frozen=True):
    """The best round so far. `model` is the digest of its result, `size` its bytes."""

    mean: RoundMean
    model: str
    size: int


class BestModel:
    """The best model of one run in an SL's data directory. Its methods block, and may be called in any thread."""

    def __init__(self, directory: Path, stem: str, store: TensorStore) -> None:
        """Reads what an earlier process left. Raises `OSError`."""
        self._folder = directory / FOLDER
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._stem = stem
        self._store = store
        self._turn = threading.Lock()
        self._candidates: dict[int, tuple[str, int]] = {}
        for path in self._folder.glob(f".{stem}-round*.candidate"):
            path.unlink()
        try:
            self.kept: BestRound | None = msgspec.json.decode(self._record.read_bytes(), type=BestRound)
        except (FileNotFoundError, msgspec.DecodeError):
            self.kept = None

    @property
    def path(self) -> Path:
        """The kept model."""
        return self._folder / f"{self._stem}-best.safetensors"

    def stands(self, number: int, digest: str) -> None:
        """The result of this round stands: it is a candidate if this site holds it. Raises `OSError`."""
        if self._candidates.get(number, ("", 0))[0] == digest or not self._store.has(digest):
            return
        try:
            source, size = self._store.path(digest), self._store.digest_info(digest).size
        except StoreError:
            return
        with self._turn:
            link_file(source, self._candidate(number))
            self._candidates[number] = (digest, size)
            for old in sorted(self._candidates)[:-MOST_CANDIDATES]:
                self._drop(old)

    def keep(self, best: RoundMean) -> bool:
        """Keeps this round's model; False if it is kept already, or this site never held it. Raises `OSError`."""
        with self._turn:
            if best.round not in self._candidates or (self.kept and self.kept.mean.round == best.round):
                return False
            digest, size = self._candidates[best.round]
            self.kept = BestRound(best, digest, size)
            link_file(self._candidate(best.round), self.path)
            replace_file(self._record, msgspec.json.format(msgspec.json.encode(self.kept), indent=2) + b"\n")
            return True

    def close(self) -> None:
        """Removes the candidates. Raises `OSError`."""
        for number in list(self._candidates):
            self._drop(number)

    @property
    def _record(self) -> Path:
        return self.path.with_suffix(".json")

    def _candidate(self, number: int) -> Path:
        return self._folder / f".{self._stem}-round{number}.candidate"

    def _drop(self, number: int) -> None:
        del self._candidates[number]
        self._candidate(number).unlink(missing_ok=True)
