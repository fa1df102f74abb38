"""Chain files as commands read them: several that follow each other as one chain, and signed checkpoints beside."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from swarmlearning.cli.runfolder import RunFolder
from swarmlearning.ledger.attested import SignedCheckpoint, signers
from swarmlearning.ledger.chain import Chain, Step
from swarmlearning.ledger.history import BrokenChainError, Replay
from swarmlearning.node.checkpoints import BASE_FILE, read_signed
from swarmlearning.ordering.local import extent, iterate_chain_file
from swarmlearning.ordering.protocols import OrderingError
from swarmlearning.views.names import displayed

CHAIN_FILE = "chain.sqlite"
CHECKPOINT = ".checkpoint"


def chain_file(path: Path) -> Path:
    """The chain file that `path` leads to."""
    if not path.is_dir():
        return path
    inside = RunFolder(path).chain
    return inside if inside.exists() and not (path / CHAIN_FILE).exists() else path / CHAIN_FILE


def signed_by(checkpoint: SignedCheckpoint) -> str:
    """Who has signed a checkpoint, safe to show: each organisation names its SNs as it likes."""
    return ", ".join(map(displayed, signers(checkpoint)))


class Chains:
    """The chain of an SN's data directory, files of archived blocks, and signed checkpoints, given in any order.

    Without the files of the oldest blocks it begins after the oldest checkpoint. `begin` is where.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises `OrderingError` or `NodeError` naming what cannot be read."""
        files = [chain_file(path) for path in paths if path.suffix != CHECKPOINT]
        if not files:
            raise OrderingError("name a chain too: an SN's data directory, a run folder or a file of blocks")
        found = [(extent(file), file) for file in files]
        self._files = sorted(found, key=lambda each: (each[0].start, each[0].stop))
        beside = [file.with_name(BASE_FILE) for file in files if file.with_name(BASE_FILE).exists()]
        named = [path for path in paths if path.suffix == CHECKPOINT]
        signed = [read_signed(path) for path in (*named, *beside)]
        self.checkpoints = sorted(signed, key=lambda each: each.chain.height)
        whole = self._files[0][0].start == 0
        self.begin: SignedCheckpoint | None = None if whole or not signed else self.checkpoints[0]

    @property
    def source(self) -> str:
        """What a chain is verified from, as text; empty for block 0."""
        if self.begin is None:
            return ""
        return f"from block {self.begin.chain.height + 1} on, after the state that {signed_by(self.begin)} have signed"

    def steps(self) -> Iterator[Step]:
        """Verifies block by block, and that the signed states are those that the blocks lead to.

        Raises `BrokenChainError` at the first that cannot be, or `OrderingError`.
        """
        replay = Replay(self.begin.chain if self.begin else Chain())
        for heights, file in self._files:
            if heights.start > replay.chain.height + 1:
                missing = f"{replay.chain.height + 1} to {heights.start - 1}"
                raise OrderingError(f"{file}: blocks {missing} are missing: name the file to which they were archived")
            for raw in iterate_chain_file(file, replay.chain.height + 1):
                yield replay.append(raw)
                self._compare(replay.chain)

    def _compare(self, chain: Chain) -> None:
        for signed in self.checkpoints:
            if signed.chain.height != chain.height:
                continue
            if (signed.chain.hash, signed.chain.world.state_hash()) != (chain.hash, chain.world.state_hash()):
                raise BrokenChainError(chain.height, "it is not the one of the signed checkpoint of this height")
