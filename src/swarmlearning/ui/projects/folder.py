"""The projects of a UI: one folder each, whose files are only ever replaced as a whole.

Nothing in these folders is a secret: private keys are refused. Changes are made one at a time, by one process.
"""

import contextlib
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

import msgspec

from swarmlearning.files import make_private, open_plain, replace_file
from swarmlearning.ui.projects import deployed
from swarmlearning.ui.projects.checking import CheckedFile, Read, check_file, check_together, node_in
from swarmlearning.ui.projects.deployed import DeployedHost
from swarmlearning.ui.projects.keyfinder import CHUNK, MADE_THERE, holds_key, named_as_key
from swarmlearning.ui.projects.kinds import (
    KINDS,
    MACROS_IN,
    MOST_BYTES,
    MOST_PROJECTS,
    KindName,
    ProjectError,
    check_project_name,
    kind_of,
    path_of,
)
from swarmlearning.ui.projects.placing import Source
from swarmlearning.ui.projects.settings import ProjectSettings, check_settings
from swarmlearning.views.sizes import size_text

SETTINGS: Final = "project.json"
MOST_SETTINGS: Final = 1024 * 1024
CHECKED_BYTES: Final = 1024 * 1024
"""Of a file of a model; a larger one is not looked into."""
Change: TypeAlias = Callable[[ProjectSettings], ProjectSettings]
_TEMPORARY: Final = (".new-", ".gone-", ".upload-")


class StoredFile(msgspec.Struct, frozen=True):
    """A file of a project: `path` within it; size in bytes; `changed_ms`: Unix time."""

    path: str
    kind: KindName
    size: int
    changed_ms: int


class Projects:
    """All projects below one folder. Its methods block for as long as the disk takes: call them in a thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._changing = threading.RLock()

    def names(self) -> list[str]:
        """The projects there are, by name."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(each.name for each in self.root.iterdir() if (each / SETTINGS).is_file() and _is_own(each))
        return []

    def create(self, name: str, author: str, description: str = "") -> ProjectSettings:
        """Makes an empty project. Raises `ProjectError`."""
        check_project_name(name)
        settings = ProjectSettings(author, time.time_ns() // 1_000_000, description)
        check_settings(settings)
        with self._changing, _explained(name):
            self._clean()
            known = self.names()
            if same := next((each for each in known if each.lower() == name.lower()), None):
                raise ProjectError(f"there is a project {same} already; choose another name")
            if len(known) >= MOST_PROJECTS:
                raise ProjectError(f"there are {len(known)} projects; remove one of them first")
            new = self.root / f"{_TEMPORARY[0]}{name}"
            make_private(new)
            for kind in KINDS.values():
                (new / kind.folder).mkdir(mode=0o700, exist_ok=True)
            replace_file(new / SETTINGS, msgspec.json.encode(settings))
            new.rename(self.root / name)
        return settings

    def remove(self, name: str) -> None:
        """Removes a project with all its files; what is deployed stays on its hosts. Raises `ProjectError`."""
        with self._changing, _explained(name):
            gone = self.root / f"{_TEMPORARY[1]}{name}"
            shutil.rmtree(gone, ignore_errors=True)
            self._folder(name).rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def settings(self, name: str) -> ProjectSettings:
        """The settings of a project. Raises `ProjectError`."""
        path = self._folder(name) / SETTINGS
        with _explained(name), open_plain(path) as file:
            try:
                return msgspec.json.decode(file.read(MOST_SETTINGS + 1), type=ProjectSettings)
            except msgspec.DecodeError as error:
                raise ProjectError(f"{path}: damaged ({error}); restore it from a backup of the UI's folder") from error

    def alter(self, name: str, change: Change) -> ProjectSettings:
        """Gives a project the settings that `change` makes of the present ones. Raises `ProjectError`, and what
        `change` raises; then they are as they were."""
        with self._changing, _explained(name):
            settings = change(self.settings(name))
            check_settings(settings)
            replace_file(self._folder(name) / SETTINGS, msgspec.json.encode(settings))
        return settings

    def files(self, name: str) -> list[StoredFile]:
        """The files of a project, by path. Raises `ProjectError`."""
        folder = self._folder(name)
        with _explained(name):
            return sorted(_stored(folder), key=lambda each: each.path)

    def put(self, name: str, kind: KindName, file_name: str, source: BinaryIO) -> StoredFile:
        """Keeps a file that was uploaded, in place of one of the same name. Raises `ProjectError`; then all is as it
        was."""
        path, rules = path_of(kind, file_name), KINDS[kind]
        if kind != "model" and named_as_key(file_name):
            raise ProjectError(f"{file_name}: the name is that of a private key. {MADE_THERE}")
        with self._changing, _explained(name):
            folder = self._folder(name)
            others = [each for each in _stored(folder) if each.path != path]
            if sum(each.kind == kind for each in others) >= rules.most_files and kind != "readme":
                raise ProjectError(f"the project has {rules.most_files} files of kind {kind}, the most there can be")
            room = MOST_BYTES - sum(each.size for each in others)
            new = folder / f"{_TEMPORARY[2]}{hashlib.sha256(path.encode()).hexdigest()[:16]}"
            try:
                _write(new, source, min(rules.most_bytes, room), file_name)
                with new.open("rb") as written:
                    if holds_key(written):
                        raise ProjectError(f"{file_name}: it holds a private key. {MADE_THERE}")
                _put_in_place(new, folder, path)
            finally:
                new.unlink(missing_ok=True)
            if kind == "readme":
                for each in (each for each in others if each.kind == "readme"):
                    (folder / each.path).unlink(missing_ok=True)
            return _one(folder, path, kind)

    def drop(self, name: str, path: str) -> None:
        """Removes a file. Raises `ProjectError` where there is none."""
        with self._changing, _explained(name):
            found = self._file(name, path)
            found.unlink()
            for parent in found.parents:
                if parent.parent == self._folder(name):
                    break
                with contextlib.suppress(OSError):
                    parent.rmdir()

    def open(self, name: str, path: str) -> BinaryIO:
        """A file of a project, to be read. Raises `ProjectError` where there is none."""
        with _explained(name):
            return open_plain(self._file(name, path))

    def read(self, name: str, path: str, most: int = CHECKED_BYTES) -> bytes:
        """The first `most` bytes of a file. Raises `ProjectError`."""
        with _explained(name), self.open(name, path) as file:
            return file.read(most)

    def read_all(self, name: str) -> list[Read]:
        """Each file with what a reader makes of it. Raises `ProjectError`."""
        values = self.settings(name).values
        return [
            check_file(each.kind, each.path, self.read(name, each.path), values)
            if each.kind != "model" or each.size <= CHECKED_BYTES
            else Read(CheckedFile(each.path, each.kind, each.size, "file"))
            for each in self.files(name)
        ]

    def sources(self, name: str) -> list[Source]:
        """The files as a plan needs them. Raises `ProjectError`."""
        folder, nodes = (
            self._folder(name),
            {each.result.path: node_in(each.certificates) for each in self.read_all(name)},
        )
        found = []
        for each in self.files(name):
            text = self.read(name, each.path).decode("utf-8-sig", "replace") if each.kind in MACROS_IN else ""
            digest = _digest(folder / each.path, each.size, each.changed_ms)
            found.append(Source(each.path, digest, each.size, text, nodes.get(each.path, "")))
        return found

    def check(self, name: str) -> list[CheckedFile]:
        """What is wrong with each file, alone and beside the others. Raises `ProjectError`."""
        return check_together(self.read_all(name))

    def path(self, name: str, path: str) -> Path:
        """Where a file of a project lies. Raises `ProjectError` where there is none."""
        return self._file(name, path)

    def deployed(self, name: str) -> dict[str, DeployedHost]:
        """What was deployed of a project, by host. Raises `ProjectError`."""
        return deployed.read(self._folder(name))

    def set_deployed(self, name: str, host: str, done: DeployedHost | None) -> None:
        """Keeps what was deployed on a host; None: nothing is there any more. Raises `ProjectError`."""
        with self._changing, _explained(name):
            folder = self._folder(name)
            others = {key: each for key, each in deployed.read(folder).items() if key != host}
            deployed.write(folder, {**others, host: done} if done else others)

    def _folder(self, name: str) -> Path:
        check_project_name(name)
        if not (self.root / name / SETTINGS).is_file():
            raise ProjectError(f"there is no project {name}")
        return self.root / name

    def _file(self, name: str, path: str) -> Path:
        kind = kind_of(path)
        if kind is not None:
            inner = path if kind == "readme" else path.removeprefix(f"{KINDS[kind].folder}/")
            found = self._folder(name) / path_of(kind, inner)
            if found.is_file() and not found.is_symlink():
                return found
        raise ProjectError(f"project {name} has no file {path[:200]!r}")

    def _clean(self) -> None:
        """Removes what an end in the middle of a change has left."""
        if self.root.is_dir():
            for each in self.root.iterdir():
                if each.name.startswith(_TEMPORARY):
                    shutil.rmtree(each, ignore_errors=True)


@lru_cache(maxsize=4096)
def _digest(path: Path, size: int, changed_ms: int) -> str:
    """SHA-256 of a file, read again once its size or time is another one."""
    with _explained(path.name), open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_own(folder: Path) -> bool:
    return not folder.name.startswith(_TEMPORARY) and not folder.is_symlink()


def _stored(folder: Path) -> Iterator[StoredFile]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for each in names:
            path = (Path(parent) / each).relative_to(folder).as_posix()
            kind = kind_of(path)
            if kind is not None and (Path(parent) / each).is_file():
                yield _one(folder, path, kind)


def _one(folder: Path, path: str, kind: KindName) -> StoredFile:
    found = (folder / path).stat()
    return StoredFile(path, kind, found.st_size, found.st_mtime_ns // 1_000_000)


def _write(path: Path, source: BinaryIO, most: int, name: str) -> None:
    """Copies what was uploaded. Raises `ProjectError` for more than so many bytes."""
    size = 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while chunk := source.read(CHUNK):
            size += len(chunk)
            if size > most:
                raise ProjectError(f"{name}: more than {size_text(most)}, the most that there is room for here")
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(new: Path, folder: Path, path: str) -> None:
    target = folder / path
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.replace(target)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ProjectError(f"{path}: a file and a folder would have the same name; remove the other one") from error


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ProjectError(f"project {name}: {error.filename}: {error.strerror}") from error
