"""`swarm ui backup` and `restore`: the UI's whole folder as one archive, checked by its digests.

A backup is no secret: a folder that holds a private key is refused. Databases are copied as one consistent state while
the UI runs; each other file is replaced as a whole by whoever changes it. Whoever reads an archive trusts nothing in it
but what its list names.
"""

import contextlib
import gzip
import hashlib
import io
import os
import re
import sqlite3
import stat
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, Final, NamedTuple, cast

import msgspec

from swarmlearning.errors import UserError
from swarmlearning.files import make_private, open_plain, whole_folder
from swarmlearning.ui.hosts.models import FOLDER
from swarmlearning.ui.projects.keyfinder import CHUNK, holds_key, text_holds_key
from swarmlearning.ui.settings import BUNDLE

LIST: Final = "CONTENT.json"
MOST_KEY: Final = 64 * 1024
MOST_LIST: Final = 32 * 1024 * 1024
MOST_FILES: Final = 100_000
MOST_BYTES: Final = 64 * 2**30
BUSY_SECONDS: Final = 30.0

_SQLITE: Final = b"SQLite format 3\x00"
_BESIDE: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database; its state is in the copy."""
_LEFT_OUT: Final = (".lock", ".sock", ".pid")
_NOT_SAVED: Final = (BUNDLE, FOLDER, "diagnostics")
"""Folders of the UI that are large, and are no work of anybody: what hosts get, models from them, and archives of
logs. The UI's own key and certificate lie beside its folder, and are issued anew after a restore (page Set-up)."""
_OFFICE: Final = re.compile(r"office/ca/[^/]+-key\.pem")
"""The key of an organisation's authority, which is encrypted by a passphrase that is kept nowhere."""


class BackupError(UserError):
    """A backup cannot be made or restored; the message says why, and what to do."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of an archive: its path in the folder, size in bytes, and SHA-256 in hex."""

    path: str
    size: int
    sha256: str


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="swarm-ui-backup/1"):
    """What an archive holds. `made_ms`: Unix time; `version`: of the product that has made it."""

    made_ms: int
    version: str
    files: tuple[Entry, ...]


class Done(NamedTuple):
    """What a backup holds, or a restore has put in place; `left_out`: files of the folder that are in no backup."""

    content: Content
    left_out: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(each.size for each in self.content.files)


# --- backup ---------------------------------------------------------------------------------------------------------


def backup(folder: Path, archive: Path, version: str) -> Done:
    """Writes the archive, which must not exist, and not lie in the folder. Raises `BackupError`."""
    if not folder.is_dir():
        raise BackupError(f"{folder}: there is no such folder; name the UI's with --data-dir")
    if archive.resolve().is_relative_to(folder.resolve()):
        raise BackupError(f"{archive}: lies in the folder that is saved; choose a place outside of it")
    if archive.exists():
        raise BackupError(f"{archive}: exists; a backup never replaces another one")
    try:
        with tempfile.TemporaryDirectory(prefix=".swarm-ui-backup-", dir=archive.parent) as working:
            done = _write(folder, Path(working), Path(working) / "archive", version)
            with (Path(working) / "archive").open("rb+") as written:
                os.fsync(written.fileno())
            os.link(Path(working) / "archive", archive)  # fails where there is one by now
    except FileExistsError as error:
        raise BackupError(f"{archive}: exists; a backup never replaces another one") from error
    except sqlite3.Error as error:
        raise BackupError(f"a database in {folder} cannot be copied: {error}") from error
    except OSError as error:
        raise BackupError(f"{error.filename or archive}: {error.strerror}") from error
    return done


def _write(folder: Path, working: Path, archive: Path, version: str) -> Done:
    entries, left_out = list[Entry](), list[str]()
    descriptor = os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with (
        os.fdopen(descriptor, "wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=3) as packed,
        tarfile.open(fileobj=cast(IO[bytes], packed), mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in _files(folder, left_out):
            name = path.relative_to(folder).as_posix()
            with _opened(path, working) as file:
                entries.append(_add(tar, name, file, folder))
        content = Content(time.time_ns() // 1_000_000, version, tuple(entries))
        _add_bytes(tar, LIST, msgspec.json.encode(content))
    return Done(content, tuple(left_out))


def _files(folder: Path, left_out: list[str]) -> Iterator[Path]:
    """The files to save, in the order of their paths; links, sockets, locks, and what is not saved are left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not (Path(parent) / each).is_symlink())
        if Path(parent) == folder:
            left_out += [f"{each}/" for each in _NOT_SAVED if each in folders]
            folders[:] = [each for each in folders if each not in _NOT_SAVED]
        for name in sorted(names):
            path = Path(parent) / name
            try:
                plain = stat.S_ISREG(path.lstat().st_mode)
            except FileNotFoundError:
                continue
            if plain and not name.endswith((*_BESIDE, *_LEFT_OUT)):
                yield path
            elif not name.endswith(_BESIDE):
                left_out.append(path.relative_to(folder).as_posix())


@contextlib.contextmanager
def _opened(path: Path, working: Path) -> Iterator[BinaryIO]:
    """The content to save: of a database a copy of its state."""
    with open_plain(path) as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            file.seek(0)
            yield file
            return
    copy = working / "database"
    own = f"{path.absolute().as_uri()}?mode=ro"
    with (
        closing(sqlite3.connect(own, uri=True, timeout=BUSY_SECONDS)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")
        _forget_sessions(target)
        _check_values(target, path)
    with copy.open("rb") as saved:
        yield saved
    copy.unlink()


def _forget_sessions(database: sqlite3.Connection) -> None:
    """Nobody is logged in by a restore: a session that has ended since the backup would begin again."""
    if database.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'sessions'").fetchone():
        database.execute("PRAGMA secure_delete=ON")
        database.execute("DELETE FROM sessions")
        database.commit()


def _check_values(database: sqlite3.Connection, path: Path) -> None:
    """Raises `BackupError` for a database in which somebody has kept a private key."""
    tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        quoted = table.replace('"', '""')
        for row in database.execute(f'SELECT * FROM "{quoted}"'):
            if any(text_holds_key(_bytes(value)) for value in row):
                raise _refused(path, f" (table {table})")


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else value.encode(errors="replace") if isinstance(value, str) else b""


def _refused(path: Path, where: str = "") -> BackupError:
    return BackupError(
        f"{path}{where} holds a private key: a backup has no secrets that can be used. Move it out of this folder, "
        "and name it by its option"
    )


def _add(tar: tarfile.TarFile, name: str, file: BinaryIO, folder: Path) -> Entry:
    if holds_key(file) and not (_OFFICE.fullmatch(name) and _is_encrypted(file)):
        raise _refused(folder / name)
    file.seek(0, os.SEEK_END)
    size = file.tell()
    file.seek(0)
    reader = _Hashing(file)
    tar.addfile(_header(name, size), cast(IO[bytes], reader))
    return Entry(name, size, reader.digest.hexdigest())


def _is_encrypted(file: BinaryIO) -> bool:
    """Whether it holds one key in PEM form, and that one is encrypted."""
    file.seek(0)
    text = file.read(MOST_KEY + 1)
    return len(text) <= MOST_KEY and text.count(b"PRIVATE KEY-----") == 2 == text.count(b" ENCRYPTED PRIVATE KEY-----")


def _add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    tar.addfile(_header(name, len(data)), io.BytesIO(data))


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = size, 0o600, int(time.time())
    return header


class _Hashing:
    """Digests what is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


# --- restore --------------------------------------------------------------------------------------------------------


def restore(archive: Path, folder: Path) -> Done:
    """Puts a backup into a folder that is empty or not there, once all of it is verified. Raises `BackupError`."""
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise BackupError(
            f"{folder}: is not empty; a backup is restored into an empty folder only: move what is there away first"
        )
    try:
        with whole_folder(folder) as working:
            content = _unpack(archive, working)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, ValueError) as error:
        raise BackupError(f"{archive}: no backup that can be read: {error}") from error
    except OSError as error:
        raise BackupError(f"{error.filename or archive}: {error.strerror}") from error
    return Done(content)


def _unpack(archive: Path, working: Path) -> Content:
    """Writes the files of the archive, and returns its list, which comes last and names exactly these."""
    written, listed, total = dict[str, Entry](), None, 0
    with open_plain(archive) as raw, tarfile.open(fileobj=raw, mode="r|gz") as tar:
        for header in tar:
            if not header.isreg() or listed is not None:
                raise BackupError(
                    f"{archive}: no backup of `swarm ui backup`: {header.name[:200]!r} is unexpected in it"
                )
            total += header.size
            if len(written) >= MOST_FILES or total > MOST_BYTES:
                raise BackupError(f"{archive}: more than {MOST_FILES:,} files or {MOST_BYTES:,} bytes are in it")
            source = tar.extractfile(header)
            assert source is not None
            if header.name == LIST:
                listed = _list(source, archive)
                continue
            path = _inner(header.name, archive)
            if path.as_posix() in written:
                raise BackupError(f"{archive}: {header.name[:200]!r} is in it twice")
            written[path.as_posix()] = _extract(source, working / path, path.as_posix())
    if listed is None:
        raise BackupError(f"{archive}: its list is missing, so it is cut off or no backup of `swarm ui backup`")
    if differing := set(listed.files).symmetric_difference(written.values()):
        named = ", ".join(sorted({each.path for each in differing})[:5])
        raise BackupError(f"{archive}: it is damaged: what it lists and what it holds differ in {named}")
    return listed


def _list(source: IO[bytes], archive: Path) -> Content:
    try:
        return msgspec.json.decode(source.read(MOST_LIST + 1), type=Content)
    except msgspec.DecodeError as error:
        raise BackupError(f"{archive}: its list cannot be read ({error})") from error


def _inner(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if not name or name.startswith("/") or ".." in path.parts or "\x00" in name or path.as_posix() != name:
        raise BackupError(f"{archive}: it has a file with the path {name[:200]!r}, which leads out of the folder")
    return path


def _extract(source: IO[bytes], target: Path, name: str) -> Entry:
    make_private(target.parent)
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return Entry(name, size, digest.hexdigest())
