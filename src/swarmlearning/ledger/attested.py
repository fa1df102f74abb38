"""A signed checkpoint: a state that a majority of a network's SNs has signed, so that a node starts without what is
before it.

    {"format":1,"network":…,"height":…,"block":…,"state":…,"signatures":[{"jws":…,"uid":…}, …]}
    the two lines of a checkpoint (`checkpoint.py`)
    the blocks up to its head whose hashes it has, the head last, one a line

What the SNs sign is only which block of their chain is at that height, and the hash of the state that they came to
after it. The rest follows: the state has that hash, the head's header has it too, and the blocks before are linked to
it by their hashes. Who may sign is read from the state itself, so a whole world of false SNs could sign itself:
whoever uses a checkpoint has to know the network, and should compare the head with an SN of another organisation.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

import msgspec

from swarmlearning.identity.signing import SignatureError, verify
from swarmlearning.ledger import checkpoint
from swarmlearning.ledger.admission import check_trusted, leaf
from swarmlearning.ledger.block import follows
from swarmlearning.ledger.canonical import canonical, sha256
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.checkpoint import CheckpointError, is_head
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.fields import Count, Digest

FORMAT = 1
MOST_HEADER = 4 * 1024 * 1024
MOST_SIGNATURES = 1024
NAMED = 5
"""SNs that an error names."""

Jws = Annotated[str, msgspec.Meta(max_length=4096)]


class Statement(msgspec.Struct, frozen=True):
    """What an SN signs: at this height of this network's chain is this block, and this is the hash of the state."""

    network: str
    height: int
    block: str
    state: str
    says: Literal["checkpoint"] = "checkpoint"

    @classmethod
    def of(cls, chain: Chain) -> "Statement":
        """That of a chain's head."""
        return cls(chain.network_id, chain.height, chain.hash, chain.world.state_hash())

    @property
    def signed_bytes(self) -> bytes:
        """The exact bytes; they are those of nothing else that an SN signs."""
        return canonical(self)


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    uid: Annotated[str, msgspec.Meta(max_length=64)]
    jws: Jws


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    network: Digest
    height: Count
    block: Digest
    state: Digest
    signatures: Annotated[tuple[_Signature, ...], msgspec.Meta(max_length=MOST_SIGNATURES)]


class SignedCheckpoint(NamedTuple):
    """A verified chain, its newest blocks (all whose hashes it has, the head last), and signatures by the SN's UID."""

    chain: Chain
    blocks: tuple[bytes, ...]
    signatures: Mapping[str, str]

    def encode(self) -> bytes:
        """The bytes of its file."""
        made = Statement.of(self.chain)
        signed = tuple(_Signature(uid, jws) for uid, jws in sorted(self.signatures.items()))
        header = _Header(FORMAT, made.network, made.height, made.block, made.state, signed)
        return b"\n".join((msgspec.json.encode(header), checkpoint.encode(self.chain), *self.blocks)) + b"\n"


def read(data: bytes, expected_network: str = "") -> SignedCheckpoint:
    """The checkpoint in a file, once a majority of its SNs has signed it. Raises `CheckpointError` naming the fault."""
    first, _, rest = data.partition(b"\n")
    header = _read_header(first)
    if expected_network and header.network != expected_network:
        raise CheckpointError(f"it is of another network, {header.network[:16]}, not of {expected_network[:16]}")
    digest, _, rest = rest.partition(b"\n")
    document, _, rest = rest.partition(b"\n")
    chain = checkpoint.decode(digest + b"\n" + document)
    _check_said(header, chain)
    blocks = tuple(rest.removesuffix(b"\n").split(b"\n"))
    _check_blocks(blocks, chain)
    found = SignedCheckpoint(chain, blocks, {each.uid: each.jws for each in header.signatures})
    return found._replace(signatures=require_majority(found))


def require_majority(found: SignedCheckpoint) -> Mapping[str, str]:
    """The signatures that hold, by the SN's UID: whoever passes a checkpoint on may have added others. Raises
    `CheckpointError` unless they are of more than half of the SNs that the state admits."""
    admitted = network.admitted(found.chain.world)
    expected = Statement.of(found.chain).signed_bytes
    faults = {sn.uid: signature_fault(found.chain, sn.uid, found.signatures.get(sn.uid), expected) for sn in admitted}
    signed = {uid: found.signatures[uid] for uid, fault in faults.items() if not fault}
    needed = len(admitted) // 2 + 1
    if len(signed) < needed:
        missing = [f"{sn.name} {faults[sn.uid]}" for sn in admitted if faults[sn.uid]]
        more = f", and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise CheckpointError(
            f"{len(signed)} of {len(admitted)} SNs have signed it, {needed} have to: {', '.join(missing[:NAMED])}{more}"
        )
    return signed


def signature_fault(chain: Chain, uid: str, jws: str | None, expected: bytes) -> str:
    """What is wrong with an SN's signature under the statement; empty if nothing is."""
    if jws is None:
        return "has not"
    try:
        if verify(jws, leaf(check_trusted(chain.world, uid, chain.time_ms).pem)) == expected:
            return ""
    except Rejection as error:
        return f"is not trusted ({error.detail})"
    except SignatureError as error:
        return f"has signed amiss ({error})"
    return "has signed something else"


def _read_header(line: bytes) -> _Header:
    if len(line) > MOST_HEADER:
        raise CheckpointError(f"its first line has {len(line)} bytes; {MOST_HEADER} at most")
    try:
        header = msgspec.json.decode(line, type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(f"it is no signed checkpoint: {error}") from error
    if header.format != FORMAT:
        raise CheckpointError(f"it has format {header.format}; this release knows {FORMAT}")
    return header


def _check_said(header: _Header, chain: Chain) -> None:
    """The first line is about this state, whose hash is computed here."""
    said = Statement(header.network, header.height, header.block, header.state)
    if said != Statement.of(chain):
        raise CheckpointError("its first line is not about the state in it: it has been altered")


def _check_blocks(blocks: tuple[bytes, ...], chain: Chain) -> None:
    """The blocks lead to the head, and are those whose hashes the state has: none of them is signed by itself."""
    heights = sorted(chain.hashes)
    if len(blocks) != len(heights):
        raise CheckpointError(f"it has {len(blocks)} blocks beside the state, not the {len(heights)} up to its head")
    for height, raw in zip(heights, blocks, strict=True):
        if sha256(raw) != chain.hashes[height]:
            raise CheckpointError(f"block {height} in it is not the one whose hash it has")
    if not is_head(chain, blocks[-1]):
        raise CheckpointError("the block at its head does not lead to its state")
    _check_links(blocks, heights)


def _check_links(blocks: tuple[bytes, ...], heights: list[int]) -> None:
    for height, before, raw in zip(heights[1:], blocks, blocks[1:], strict=False):
        if not follows(raw, height, sha256(before)):
            raise CheckpointError(f"block {height} in it does not follow the one before")


def signers(found: SignedCheckpoint) -> list[str]:
    """The names of the SNs that have signed it."""
    return sorted(sn.name for sn in network.admitted(found.chain.world) if sn.uid in found.signatures)
