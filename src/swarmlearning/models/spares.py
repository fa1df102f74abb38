"""Model files that are no longer needed, kept to be overwritten by the next ones.

Writing into pages that the page cache already has costs a third to a tenth of writing a new file
(docs/performance.md), and each round makes as many model files as it leaves behind.

A file that is still being read is never given out: the file server may be sending it, the training process loading
it. The kernel knows: it grants a write lease only to the one who alone has a file open. Where it grants none (not
Linux, some file systems) there are simply no spares.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from threading import Lock


class Spares:
    """Spares of one directory. Any thread may call."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._paths: list[Path] = []
        self._made = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._paths)

    def put(self, path: Path) -> None:
        """Makes a file a spare. Raises OSError."""
        with self._lock:
            spare = self._directory / f"spare-{self._made}.tmp"
            self._made += 1
            path.replace(spare)
            self._paths.append(spare)

    def take(self) -> Path | None:
        """Returns a file that only the caller uses, with old bytes, its name ending in `.tmp`; None without spares."""
        while True:
            with self._lock:
                if not self._paths:
                    return None
                spare = self._paths.pop()
            if _unused(spare):
                return spare
            spare.unlink(missing_ok=True)

    def clear(self) -> None:
        """Removes all spares from the disk."""
        with self._lock:
            while self._paths:
                self._paths.pop().unlink(missing_ok=True)


def _unused(path: Path) -> bool:
    """Returns True if no process has the file open and no other link leads to it."""
    with contextlib.suppress(OSError, AttributeError), path.open("r+b", buffering=0) as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return os.fstat(file.fileno()).st_nlink == 1
    return False
