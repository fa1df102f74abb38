"""Models on disk: immutable files named by their digest, each with its chunk list.

    <digest>.safetensors    a held model
    <digest>.chunks         its chunk list (`ModelDigest.to_bytes`); written first, so it also serves a download
    <digest>.partial        a download that has not ended (`parts.py`)
    <digest>.here           which of its chunks are confirmed; they are checked again before they are used
    <name>.stated           what is known of the chunk list of a result that is merged in parts (`chunklists.py`)
    <anything>.tmp          work in progress, and spares (`spares.py`); removed at the next start

A model is *held* when its file is there and as long as its chunk list states. Anything else (lost, truncated, without
a list) is simply "not held" and can be fetched again; models are therefore never fsynced. A power loss may even leave
a file of the right length with wrong bytes: receivers check every chunk, and `verify` finds it here.

A model that is in use is *pinned* (`pinned`): `retain`, which removes what is not needed any more, leaves it alone, and
its unfinished download too.

Methods that only look are plain; those that read or remove much data are coroutines that work in a thread. `commit`,
`open_partial`, `pinned` and `writing` may be called in any thread.
"""

import asyncio
import contextlib
import errno
import logging
import os
import re
import shutil
import stat
import tempfile
import threading
from collections.abc import Awaitable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path
from typing import Final

from swarmlearning.errors import UserError
from swarmlearning.models.chunklists import ChunkLists
from swarmlearning.models.parts import Parts
from swarmlearning.models.pins import Pin, Pins
from swarmlearning.models.spares import Spares
from swarmlearning.tensors.digest import DigestError, Format, Layout, ModelDigest, digest_file, digest_laid_out

logger = logging.getLogger(__name__)

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SPARE_BYTES: Final = 2**30
_LEAST_SPARES: Final = 2  # a round needs at least a file for its own model and one for the result
_LENT: Final = 1  # lies where the next model is written, even while the others are needed here
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class StoreError(UserError):
    """A model cannot be stored or read; the message names the file and what to do."""


class NotHeldError(StoreError):
    """The store does not hold a model with this digest."""


class TensorStore:
    """The model files in one directory, which belongs to this object alone.

    `needed`: digests of the models that are not removed; `retain` replaces them, and more may be added in between.
    """

    def __init__(self, directory: Path) -> None:
        """Reads what an earlier process left: forgets files that do not fit their chunk list, removes temporaries.

        Raises `StoreError` when the directory cannot be used.
        """
        self._directory = directory
        self._renamed: dict[str, str] = {}
        self._held: dict[str, ModelDigest] = {}
        self._most_held = 0
        self._pins = Pins()
        self.needed: frozenset[str] = frozenset()
        self._spares = Spares(directory)
        self._lists = ChunkLists(directory, self._empty_file)
        self._parts: dict[str, Parts] = {}
        self._parts_lock = threading.Lock()
        with self.writing(directory, 0):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._take_up()

    def has(self, digest: str) -> bool:
        """Returns True if the model is held. Raises `StoreError` for what is no digest, as every method does."""
        info = self._held.get(_checked(digest))
        if info is None:
            return False
        if _size(self._model(digest)) != info.size:
            logger.warning("model %s: the file is gone or damaged, the model is not held any more", digest)
            self.forget(digest)
            return False
        return True

    def held(self) -> frozenset[str]:
        """Digests of all models held."""
        return frozenset(digest for digest in list(self._held) if self.has(digest))

    def digest_info(self, digest: str) -> ModelDigest:
        """Size and chunk list of a held model. Raises `NotHeldError`."""
        if not self.has(digest):
            raise NotHeldError(f"model {digest} is not held here")
        return self._held[digest]

    def layout_of(self, digest: str) -> Layout | None:
        """How a model is cut that is held; None where it is not."""
        return self._held[digest].layout if self.has(digest) else None

    def path(self, digest: str) -> Path:
        """The file of a held model, to be read only. Raises `NotHeldError`."""
        self.digest_info(digest)
        return self._model(digest)

    def open(self, digest: str) -> tuple[FileIO, ModelDigest]:
        """The file of a held model, open and unbuffered; it stays readable after `retain`. Raises `NotHeldError`."""
        info = self.digest_info(digest)
        try:
            return self._model(digest).open("rb", buffering=0), info
        except FileNotFoundError:
            raise NotHeldError(f"model {digest} is not held here") from None

    def pinned(self, *digests: str) -> AbstractContextManager[Pin]:
        """Keeps `retain` from removing these models, their downloads and what is added to the pin, inside the block."""
        return self._pins.hold(digests)

    async def adopt(self, path: Path, pin: Pin | None = None, format: Format = 1) -> ModelDigest:
        """Digests a complete model file and moves it into the store; the model is added to `pin`.

        `format`: that of its name. `path` is gone afterwards. Raises `StoreError` when it is not a regular file, cannot
        be read, or does not fit on the disk.
        """
        return await asyncio.to_thread(self._adopt, path, pin, format)

    def commit(self, path: Path, info: ModelDigest) -> Path:
        """Moves a model file whose bytes are known to be those of `info` into the store; returns its new path.

        Blocks only for renaming, or for a copy when `path` is on another file system.
        """
        digest = info.root
        with self.writing(path, info.size):
            self._lists.write(digest, info)
            self._move(path, self._model(digest))
        self.noted(digest).unlink(missing_ok=True)
        self._parts.pop(digest, None)
        self._held[digest] = info
        self._most_held = max(self._most_held, len(self._held))
        return self._model(digest)

    def temporary(self) -> Path:
        """A file in the store's directory for a model in the making, to be given to `commit`.

        It may hold old bytes, which are to be overwritten in place: that is faster than emptying it first.
        """
        return self._spares.take() or self._empty_file()

    def lend(self, path: Path) -> None:
        """Puts a spare file, if there is one, at `path`: for the process that writes the next model to `adopt`."""
        if not path.exists() and (spare := self._spares.take()) is not None:
            try:
                spare.replace(path)
            except OSError:  # another file system
                spare.unlink(missing_ok=True)

    def parts(self, name: str, info: ModelDigest | None = None) -> Parts | None:
        """The chunks of a model that is not held whole; None when nothing of it is here and its chunk list not given.

        `name`: its root, or that under which it is kept until its root is known. May be called in any thread.
        """
        with self._parts_lock:
            if _checked(name) not in self._parts:
                if (known := self.partial_info(name) or info) is None:
                    return None
                self._parts[name] = Parts(self, name, known)
            return self._parts[name]

    def open_part(self, name: str, chunks: range) -> tuple[FileIO, ModelDigest]:
        """A file that has these chunks of a model at their places, to be read, as `open` does of a whole one.

        Blocks while chunks of an earlier process are digested. Raises `NotHeldError` where one of them is not here.
        """
        if not self.has(name) and (parts := self.parts(name)) is not None:
            file = parts.opened_for_reading()
            if file is not None and parts.has(chunks):
                return file, parts.info
            if file is not None:
                file.close()
            if not self.has(name):
                raise NotHeldError(f"not all of the chunks {chunks.start} to {chunks.stop - 1} of {name} are here")
        return self.open(name)

    def commit_parts(self, parts: Parts) -> ModelDigest:
        """Makes a model of which all chunks are here one that is held, under its root. May be called in any thread.

        Raises `StoreError`, also when the model is not complete.
        """
        info = parts.info
        if not self.has(info.root):
            with parts.used(), self._parts_lock:
                if not self.has(info.root):
                    with self.writing(parts.path, info.size):
                        parts.finish()
                    self.commit(parts.path, info)
        if parts.name != info.root:
            self.forget(parts.name)
            self._renamed[parts.name] = info.root
        return info

    def name_of(self, name: str) -> str:
        """The root of the model that was kept under this name until all of it was here; else the name itself."""
        return self._renamed.get(name, name)

    def open_partial(self, info: ModelDigest, name: str = "") -> tuple[FileIO, bool]:
        """The partial file of a download, unbuffered, read and write, and whether it was begun before.

        `name`: that under which it is kept, where it is not its root. `commit` completes it. When it was not begun
        before, it may hold old bytes, but no more of them than the model has. Raises `StoreError` at once when the disk
        has no room for the rest of it.
        """
        path = self.partial(name or info.root)
        with self.writing(path, info.size):
            resumed = path.exists()
            if not resumed and (spare := self._spares.take()) is not None:
                spare.replace(path)
            self._require_room(info.size - (_size(path) or 0))
            self._lists.write(name or info.root, info)
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", buffering=0)
            if file.seek(0, os.SEEK_END) > info.size:
                file.truncate(info.size)
            return file, resumed

    def partial(self, digest: str) -> Path:
        """Returns the path of the unfinished download of a model, if there is one."""
        return self._directory / f"{_checked(digest)}.partial"

    def noted(self, digest: str) -> Path:
        """Returns the path of the note on which chunks of an unfinished download are confirmed."""
        return self._directory / f"{_checked(digest)}.here"

    def partial_info(self, digest: str) -> ModelDigest | None:
        """Size and chunk list of a model of which parts are here."""
        return self._lists.known(digest) if self.partial(digest).exists() else None

    def write_stated(self, name: str, info: ModelDigest) -> None:
        """Keeps what is known of the chunk list of a model that is kept under this name. Raises `StoreError`."""
        with self.writing(self.partial(name), 0):
            self._lists.write(name, info)

    def forget(self, digest: str) -> None:
        """Removes a model, or what there is of its download."""
        self._held.pop(_checked(digest), None)
        self._renamed = {name: root for name, root in self._renamed.items() if root != digest}
        self._parts.pop(digest, None)
        for path in (self._model(digest), self.partial(digest), self.noted(digest)):
            path.unlink(missing_ok=True)
        self._lists.forget(digest)

    async def verify(self, digest: str) -> bool:
        """Returns True if the model is held with the right bytes; one with wrong bytes is forgotten."""
        return await asyncio.to_thread(self._verify, digest)

    def retain(self, keep: AbstractSet[str]) -> Awaitable[None]:
        """Removes, once awaited, every model and download but those in `keep` and those pinned.

        The set counts from this call on, also for removals that are under way. A model that is being read stays
        readable.
        """
        self.needed = frozenset(keep)
        return asyncio.to_thread(self._remove_unneeded)

    @contextlib.contextmanager
    def writing(self, path: Path, needed: int) -> Iterator[None]:
        """Turns an `OSError` inside into a `StoreError` that names `path`, and the bytes needed if the disk is full."""
        try:
            yield
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise StoreError(f"cannot use {path}: {error.strerror}; check the data directory") from error
            raise StoreError(
                f"no room for {path}: the model needs {needed} bytes, the disk has {self._free()} free; "
                "free some space or move the data directory to a larger disk"
            ) from error

    def _model(self, digest: str) -> Path:
        return self._directory / f"{digest}.safetensors"

    def _take_up(self) -> None:
        for leftover in self._directory.glob("*.tmp"):
            leftover.unlink()
        for digest in self._known():
            info = self._lists.proven(digest)
            if info is not None and _size(self._model(digest)) == info.size:
                self._held[digest] = info
                continue
            self._model(digest).unlink(missing_ok=True)
            if self.partial_info(digest) is None:
                self.forget(digest)

    def _known(self) -> set[str]:
        """Every digest that some file in the directory is named by."""
        return {path.stem for path in self._directory.iterdir() if _DIGEST.fullmatch(path.stem)}

    def _adopt(self, path: Path, pin: Pin | None, format: Format) -> ModelDigest:
        try:
            # A link planted by the process that wrote it would make this node serve a file of its own.
            if not stat.S_ISREG(path.lstat().st_mode):
                raise StoreError(f"{path} is not a regular file; write the model itself there")
            info = digest_file(path, format=format)
        except (OSError, DigestError) as error:
            raise StoreError(f"cannot read the model file {path}: {error}") from error
        if pin is not None:
            pin.add(info.root)
        if self.has(info.root):
            path.unlink()
        else:
            self.commit(path, info)
        return info

    def _move(self, source: Path, target: Path) -> None:
        try:
            source.replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            copy = self._empty_file()
            try:
                shutil.copyfile(source, copy)
                copy.replace(target)
            finally:
                copy.unlink(missing_ok=True)
            source.unlink()

    def _empty_file(self) -> Path:
        with self.writing(self._directory, 0):
            handle, name = tempfile.mkstemp(suffix=".tmp", dir=self._directory)
            os.close(handle)
            return Path(name)

    def _require_room(self, size: int) -> None:
        if size > self._free():
            self._spares.clear()
        if size > self._free():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _free(self) -> int:
        return shutil.disk_usage(self._directory).free

    def _verify(self, digest: str) -> bool:
        try:
            path, info = self.path(digest), self._held[digest]
            if _size(path) == info.size and digest_laid_out(path, info.layout) == info:
                return True
            logger.warning("model %s: the bytes on disk have changed, the model is not held any more", digest)
        except NotHeldError:
            return False
        except (OSError, DigestError) as error:
            logger.warning("model %s cannot be read, it is not held any more: %s", digest, error)
        self.forget(digest)
        return False

    def _remove_unneeded(self) -> None:
        for digest in self._known() - self.needed:
            self._pins.unless_pinned(digest, self._remove)

    def _remove(self, digest: str) -> None:
        if digest not in self.needed:  # it may be needed by now
            self._recycle(digest)
            self.forget(digest)

    def _recycle(self, digest: str) -> None:
        """Makes the file of a held model a spare.

        Not when that would be more than each round needs or `_SPARE_BYTES`, or the disk is nearly full.
        """
        info = self._held.pop(digest, None)
        if info is None:
            return
        most = self._most_held - len(self._held) + _LENT
        enough = max(_LEAST_SPARES, min(most, _SPARE_BYTES // max(info.size, 1)))
        if len(self._spares) < enough and info.size < self._free():
            with contextlib.suppress(OSError):  # then it is removed
                self._spares.put(self._model(digest))


def _checked(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise StoreError(f"{digest[:80]!r} is not a model digest; one has 64 lower-case hex digits")
    return digest


def _size(path: Path) -> int | None:
    """The length of a regular file in bytes, None for anything else."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
