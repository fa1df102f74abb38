"""Addresses of Unix-domain sockets of any length.

The kernel keeps a socket's path in a fixed field (`sun_path`: 108 bytes on Linux, 104 on macOS, terminator included;
unix(7)). Run folders and test folders are easily deeper than that. On Linux a longer path is reached through an open
descriptor of its directory: `/proc/self/fd/N/<name>` is short whatever the directory is called.
"""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 107 if sys.platform == "linux" else 103  # bytes, without the terminator


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Yields a name for the socket at `path` that fits the kernel's field; valid inside the `with` block only.

    The same name serves `bind` and `connect`. A bound socket stays where it is after the block.
    Raises `OSError` when the directory is missing, or the path is too long and there is no way round it.
    """
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    if sys.platform != "linux":
        raise OSError(f"socket path {path} is longer than {LONGEST} bytes; choose a shorter directory")
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        short = f"/proc/self/fd/{directory}/{path.name}"
        if len(os.fsencode(short)) > LONGEST:
            raise OSError(f"socket name {path.name} is too long; choose a name under {LONGEST - 24} bytes")
        yield short
    finally:
        os.close(directory)


def connect(path: Path, timeout: float = 10.0) -> socket.socket:
    """Returns a blocking stream socket connected to the Unix socket at `path`.

    `timeout` (seconds) bounds the connecting alone: it can only wait while the listener's queue is full.
    Raises `OSError` (`FileNotFoundError`, `ConnectionRefusedError`, `TimeoutError`, …).
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        with short_path(path) as address:
            connection.connect(address)
        connection.settimeout(None)
    except BaseException:
        connection.close()
        raise
    return connection
