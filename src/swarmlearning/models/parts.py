"""The chunks of a model that are here already, while the others still come: perhaps from several sources at once.

The partial file has the place of every chunk, and a note beside it says which of them are confirmed: of what lies in
the file nothing else counts. After a restart each chunk that the note names is digested once more.

Each source has a *claim*, a run of chunks that it alone may write; the first of them is on its way. Where no chunk is
left without a claim, a source that is free takes over the second half of the longest one, in the end the last chunk of
a source that needs far longer for it. So every source gives what it can, in one request each time, and none has to be
told apart as slow beforehand.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Final

from swarmlearning.models.store import TensorStore
from swarmlearning.tensors.digest import DigestError, Layout, ModelDigest, digest_chunk
from swarmlearning.tensors.file import write_at

SLOWER: Final = 2.0
"""A chunk is taken over from a source that has needed so many times as long for it as the other would."""


class WrongChunk(Exception):
    """The bytes are not those of the model; the text names the chunk, which is to be fetched once more."""


class Overtaken(Exception):
    """Another source brings the chunk."""


@dataclass(eq=False)
class Claim:
    """Chunks from `first`, which is on its way since then (`time.monotonic`), to before `end`."""

    first: int
    end: int
    since: float = field(default_factory=time.monotonic)


class Parts:
    """Any thread may call; the file belongs to this object until `close` or `commit`."""

    def __init__(self, store: TensorStore, info: ModelDigest) -> None:
        """Goes on with the chunks of an earlier attempt, as far as they are right. Raises `StoreError`."""
        self.info = info
        self.layout: Layout = info.layout
        self.held = 0
        """Bytes of the chunks that are confirmed."""
        self._store = store
        self._path = store.partial(info.root)
        self._here = bytearray(self.layout.count)
        self._claims: list[Claim] = []
        self._lock = Lock()
        self._file, resumed = store.open_partial(info)
        if resumed:
            self._take_up(store.noted(info.root))

    @property
    def complete(self) -> bool:
        return self.held == self.info.size

    def claim(self, seconds: float = 0.0) -> Claim | None:
        """Chunks for a source that is free, None where there are none for it; `seconds`: what it needs for one."""
        with self._lock:
            found = self._unclaimed() or self._shared() or self._overdue(seconds)
            if found is not None:
                self._claims.append(found)
            return found

    def release(self, claim: Claim) -> None:
        """What the source has not brought is free for others."""
        with self._lock:
            self._claims.remove(claim)

    def write(self, claim: Claim, piece: memoryview, offset: int) -> None:
        """Puts bytes of the chunk that is on its way into the file. Raises `Overtaken`, and `StoreError`."""
        with self._lock, self._store.writing(self._path, self.info.size):
            if claim.first >= claim.end:
                raise Overtaken
            write_at(self._file.fileno(), piece, offset)

    def confirm(self, claim: Claim, digest: bytes) -> None:
        """The chunk that was on its way is written, with this digest. Raises `WrongChunk` and `Overtaken`."""
        with self._lock:
            if claim.first >= claim.end:
                raise Overtaken
            if digest != self.info.chunks[claim.first]:
                raise WrongChunk(f"chunk {claim.first}: the bytes are not those that the digest names")
            self._add(claim.first)
            claim.first, claim.since = claim.first + 1, time.monotonic()

    def note(self) -> None:
        """Writes down which chunks are confirmed, for whoever goes on after a crash. Raises `StoreError`."""
        with self._store.writing(self._path, self.info.size):
            self._store.noted(self.info.root).write_bytes(self._here)

    def commit(self) -> Path:
        """Moves the complete model into the store; returns its path there. Raises `StoreError`."""
        self._file.close()
        return self._store.commit(self._path, self.info)

    def close(self) -> None:
        """Keeps what has come, for the next attempt. Raises `StoreError`."""
        if not self._file.closed:
            self._file.close()
            self.note()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _take_up(self, note: Path) -> None:
        try:
            noted = note.read_bytes()
        except OSError:
            return
        for index, here in enumerate(noted[: self.layout.count]):
            try:
                if here and digest_chunk(self._file.fileno(), self.layout, index) == self.info.chunks[index]:
                    self._add(index)
            except (OSError, DigestError):
                continue

    def _add(self, index: int) -> None:
        start, end = self.layout.bounds(index)
        self._here[index] = 1
        self.held += end - start

    def _unclaimed(self) -> Claim | None:
        """The first run of chunks that nobody has or fetches."""
        taken = bytearray(self._here)
        for claim in self._claims:
            taken[claim.first : claim.end] = b"\x01" * (claim.end - claim.first)
        first = taken.find(0)
        if first < 0:
            return None
        end = taken.find(1, first)
        return Claim(first, end if end >= 0 else len(taken))

    def _shared(self) -> Claim | None:
        """The second half of the longest run that a source has not come to yet."""
        longest = max(self._claims, key=lambda claim: claim.end - claim.first, default=None)
        if longest is None or longest.end - longest.first < 2:
            return None
        middle = longest.first + 1 + (longest.end - longest.first - 1) // 2
        found = Claim(middle, longest.end)
        longest.end = middle
        return found

    def _overdue(self, seconds: float) -> Claim | None:
        """The chunk of whoever has needed longest for one, and far longer than this source would."""
        open_claims: Sequence[Claim] = [claim for claim in self._claims if claim.first < claim.end]
        oldest = min(open_claims, key=lambda claim: claim.since, default=None)
        if oldest is None or not seconds or time.monotonic() - oldest.since < SLOWER * seconds:
            return None
        oldest.end = oldest.first
        return Claim(oldest.first, oldest.first + 1)
