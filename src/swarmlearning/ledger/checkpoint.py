"""A checkpoint: a verified chain as bytes, so that a node starts where it ended instead of at block 0.

Nothing new is trusted. The bytes begin with their own digest, so damage is found. And a checkpoint counts only beside
the block that is its head: the state has to be the one whose hash an SN sealed into that block (`is_head`), and the
block is compared with the chain that the node continues. Whoever finds a checkpoint unusable replays the chain instead.
"""

from typing import Any

import msgspec

from swarmlearning.ledger.block import read_header
from swarmlearning.ledger.canonical import canonical, sha256
from swarmlearning.ledger.chain import RULES_VERSION, Chain, is_sealed
from swarmlearning.ledger.rules import RULES
from swarmlearning.ledger.transaction import WINDOW, MalformedError
from swarmlearning.ledger.world import World

FORMAT = 1


class CheckpointError(Exception):
    """These bytes are no checkpoint that this program can start from."""


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`rules` is the newest version that the program which wrote this knew."""

    format: int
    rules: int
    network_id: str
    height: int
    hash: str
    time_ms: int
    hashes: dict[int, str]
    voids: tuple[int, ...]
    entries: dict[str, msgspec.Raw]


_document = msgspec.json.Decoder(_Document)


def encode(chain: Chain) -> bytes:
    """Returns the bytes of a checkpoint: the SHA-256 of the second line as hex, then a JSON document."""
    document = _Document(
        format=FORMAT,
        rules=RULES_VERSION,
        network_id=chain.network_id,
        height=chain.height,
        hash=chain.hash,
        time_ms=chain.time_ms,
        hashes=dict(chain.hashes),
        voids=tuple(sorted(chain.voids)),
        entries={key: msgspec.Raw(canonical(entry)) for key, entry in chain.world.entries.items()},
    )
    text = msgspec.json.encode(document)
    return sha256(text).encode() + b"\n" + text


def decode(data: bytes) -> Chain:
    """Returns the chain that was encoded. Raises `CheckpointError` for any other bytes, and those of other rules."""
    digest, _, text = data.partition(b"\n")
    if sha256(text).encode() != digest:
        raise CheckpointError("it is damaged")
    try:
        document = _document.decode(text)
        if (document.format, document.rules) != (FORMAT, RULES_VERSION):
            raise CheckpointError(f"it has format {document.format} and rules version {document.rules}")
        if document.hashes.keys() != set(range(max(0, document.height - WINDOW), document.height + 1)):
            raise CheckpointError("it was written by another version of this program: it lacks recent blocks")
        if any(not 0 <= each <= document.height for each in document.voids):
            raise CheckpointError("it calls blocks void that it does not have")
        entries = {key: _entry(key, raw) for key, raw in document.entries.items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError) as error:
        raise CheckpointError(f"another version of this program wrote it: {error}") from error
    return Chain(
        network_id=document.network_id,
        height=document.height,
        hash=document.hash,
        time_ms=document.time_ms,
        world=World().with_entries(entries),
        hashes=document.hashes,
        voids=frozenset(document.voids),
    )


def _entry(key: str, raw: msgspec.Raw) -> msgspec.Struct:
    entry: Any = msgspec.json.decode(raw, type=RULES[RULES_VERSION].entries[key.partition("/")[0]])
    assert isinstance(entry, msgspec.Struct)
    return entry


def is_head(chain: Chain, raw: bytes) -> bool:
    """Returns True if this block is the chain's head, and its sealer came to the same state as the chain has."""
    if sha256(raw) != chain.hash or chain.height in chain.voids:
        return False
    try:
        rules = chain.rulebook.get(read_header(raw).rules_version)
        if rules is None:
            return False
        block = rules.read(raw)
    except MalformedError:
        return False
    header = block.header
    return (
        (header.height, header.time_ms) == (chain.height, chain.time_ms)
        and (header.network or chain.hash) == chain.network_id
        and header.state_hash == chain.world.state_hash()
        and is_sealed(block, chain.world)
    )
