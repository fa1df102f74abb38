"""The chain of a ledger in memory as the file that an SN has."""

from contextlib import closing
from pathlib import Path

from support.network import Ledger
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ordering.local import open_chain_file


def written(ledger: Ledger, path: Path) -> Path:
    """Writes it to `path`, and returns that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(open_chain_file(path)) as database:
        rows = [(height, sha256(raw), raw) for height, raw in enumerate(ledger.blocks)]
        database.executemany("INSERT INTO blocks VALUES (?, ?, ?)", rows)
    return path
