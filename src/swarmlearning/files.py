"""Files that are replaced as a whole: whoever reads one finds the content before or after, never half of it."""

import errno
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def replace_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Makes `data` the file's content, atomically and durably, with these permissions. Raises `OSError`.

    Several processes may replace the same file at once: each writes a temporary file of its own, and the last one wins.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # with mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def open_plain(path: Path) -> io.BufferedReader:
    """Opens a plain file for reading, where others may have put a link, a pipe or a device that never ends.

    Raises `OSError`.
    """
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    return file


def make_private(folder: Path) -> None:
    """Makes a folder, and those above it that are missing, for their owner only. Raises `OSError`."""
    for each in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
        each.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A private folder to fill, which becomes `target`, missing or empty until then, where the block does not fail.

    Raises `OSError`.
    """
    making = target.with_name(f".{target.name}.making")
    make_private(target.parent)
    shutil.rmtree(making, ignore_errors=True)  # what a process that was killed has left
    making.mkdir(mode=0o700)
    try:
        yield making
        if target.exists():
            target.rmdir()
        making.rename(target)
    finally:
        shutil.rmtree(making, ignore_errors=True)
