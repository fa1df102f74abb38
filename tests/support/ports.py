"""Ports that no other test process of this machine can get: each process locks blocks of them for itself.

The kernel frees a lock when its process ends, however it ends.
"""

import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

LOCKS = Path(tempfile.gettempdir(), "swarmlearning-test-ports")
BLOCKS = range(20_000, 30_000, 50)
"""The first ports of the blocks, below the range from which the kernel assigns the ports of outgoing connections."""


def fixed_port() -> int:
    """A free port that stays free until a test's server listens on it, and while that server is restarted.

    No client connection can occupy it meanwhile, and no other call returns it, in this process or in another.
    """
    for port in _ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"all ports from {BLOCKS.start} to {BLOCKS.stop} are taken by tests: see {LOCKS}")


def _reserved() -> Iterator[int]:
    """The ports of one block after another that this process has locked."""
    LOCKS.mkdir(exist_ok=True)
    locks = []  # an unreferenced lock would be released
    for first in random.SystemRandom().sample(BLOCKS, len(BLOCKS)):
        lock = FileLock(LOCKS / str(first))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        locks.append(lock)
        yield from range(first, first + BLOCKS.step)


_ports = _reserved()
