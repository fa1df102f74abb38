"""The checkpoint in a node's data directory: written while the node follows the chain, read when it starts.

It only saves time. One that is missing, damaged or of another network is as good as none: the node replays the chain
from block 0. The file is replaced atomically, so that one that is being written when the power fails is not there yet.

A node without old blocks has a second one, its *base*: a signed checkpoint (`ledger/attested.py`), before which there
is nothing to be replayed.
"""

import asyncio
import logging
import threading
from pathlib import Path
from typing import Protocol

from swarmlearning.files import replace_file
from swarmlearning.ledger import attested
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.checkpoint import CheckpointError, decode, encode
from swarmlearning.node.errors import NodeError

logger = logging.getLogger("swarm.chain")

FILE = "checkpoint"
BASE_FILE = "base"
MOST_BYTES = 512 * 1024 * 1024
"""Of a signed checkpoint."""
EVERY = 256
"""Blocks between two checkpoints: what a node that is killed has to replay at most."""


class Source(Protocol):
    """A chain that grows: a follower's, or a miner's."""

    @property
    def chain(self) -> Chain:
        """The newest verified state."""
        ...

    async def reached(self, height: int) -> object:
        """Waits until the chain is at least at this height."""
        ...


class Checkpoints:
    """The one checkpoint of a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / FILE
        self._height = -1  # of the checkpoint there, as far as known
        self._discarded = False
        self._writing = threading.Lock()

    def read(self, network_id: str) -> Chain | None:
        """Returns the chain of the checkpoint, else of the base, None when there is none that can be used for this
        network. Raises `NodeError` for a base that cannot be used."""
        chain = self._own(network_id) or self.base(network_id)
        if chain is not None:
            self._height = chain.height
        return chain

    def _own(self, network_id: str) -> Chain | None:
        try:
            chain = decode(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, CheckpointError) as error:
            logger.warning("%s is not used (%s): the chain is replayed from %s", self.path, error, self._begin)
            return None
        if chain.network_id != network_id:
            logger.warning("%s is not used (another network's): the chain is replayed from %s", self.path, self._begin)
            return None
        return chain

    @property
    def _begin(self) -> str:
        return "its base" if self._base.exists() else "block 0"

    @property
    def _base(self) -> Path:
        return self.path.with_name(BASE_FILE)

    def base(self, network_id: str) -> Chain | None:
        """Returns the chain of the signed checkpoint before which this node has no blocks; None where it has all.

        Raises `NodeError` when the file cannot be used.
        """
        return read_signed(self._base, network_id).chain if self._base.exists() else None

    def read_any(self) -> Chain | None:
        """Returns the chain of the checkpoint, of whatever network; None when there is none that can be used."""
        try:
            return decode(self.path.read_bytes())
        except (OSError, CheckpointError):
            return None

    def write(self, chain: Chain) -> None:
        """Replaces the checkpoint, unless the head is a void slot. A disk that refuses is only reported."""
        if chain.height < 0 or chain.height in chain.voids:
            return
        data = encode(chain)
        try:
            with self._writing:  # the last one may come while the one before is still being written
                if not self._discarded:
                    replace_file(self.path, data)
        except OSError as error:
            logger.warning("%s cannot be written (%s): the next start may take longer", self.path, error.strerror)

    def discard(self) -> None:
        """Removes the checkpoint, and writes none any more: the next start replays the chain."""
        with self._writing:
            self._discarded = True
            self.path.unlink(missing_ok=True)

    async def keep(self, source: Source) -> None:
        """Writes a checkpoint after every `EVERY` blocks, and one when cancelled."""
        try:
            while True:
                await source.reached(self._height + EVERY)
                chain = source.chain
                await asyncio.to_thread(self.write, chain)
                self._height = chain.height
        finally:
            if source.chain.height != self._height:
                self.write(source.chain)


def read_signed(file: Path, network_id: str = "") -> attested.SignedCheckpoint:
    """The signed checkpoint in a file, of this network where it is known. Raises `NodeError` naming what is wrong."""
    try:
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise NodeError(f"{file}: {size} bytes; a signed checkpoint has {MOST_BYTES} at most")
        return attested.read(file.read_bytes(), network_id)
    except OSError as error:
        raise NodeError(f"{file}: cannot be read: {error.strerror}") from error
    except CheckpointError as error:
        raise NodeError(f"{file} is not used: {error}. Use another copy of this checkpoint") from error
