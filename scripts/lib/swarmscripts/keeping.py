"""Keeps what a node in the background prints, in files of bounded size: `python -m swarmscripts.keeping LOG`.

It reads the node's output from its standard input, and ends with the last process that has this for its output.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing, suppress
from pathlib import Path

from swarmscripts.rolling import RollingFile

MOST = 16 * 2**20
"""Bytes of `LOG`, and of `LOG.1`, the part before it."""


def keep(source: int, path: Path) -> None:
    """Appends all that comes; what a full disk does not take is lost, and the node goes on."""
    with closing(RollingFile(path, MOST)) as file:
        while data := os.read(source, 2**16):
            with suppress(OSError):
                file.write(data)


if __name__ == "__main__":
    keep(0, Path(sys.argv[1]))
