"""Two chains beside each other: where they part, and which SN has sealed both."""

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.ledger.block import signed_header
from swarmlearning.ledger.bodies import Equivocation
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.transaction import MalformedError

KEPT = 64
"""Blocks that are compared, from the head down."""
ANSWER_SECONDS = 5.0


class _Seal(NamedTuple):
    hash: str
    sealer: str
    header: str


class Parting(NamedTuple):
    """The newest height at which both chains have the same block, -1 if it is not known, and its hash; the proof
    against an SN that has sealed a block of both above it, if there is one."""

    height: int
    hash: str
    proof: Equivocation | None


class Seals:
    """The seals of the newest blocks of a chain."""

    def __init__(self) -> None:
        self._seals: OrderedDict[int, _Seal] = OrderedDict()

    def add(self, raw: bytes) -> None:
        """Keeps the seal of the next block, which has been verified."""
        header, signed = signed_header(raw)
        self._seals[header.height] = _Seal(sha256(raw), header.sealer, signed)
        if len(self._seals) > KEPT:
            self._seals.popitem(last=False)

    async def parting(self, client: SnClient) -> Parting:
        """The comparison with the blocks of another SN, from the head down; its answers are not believed."""
        proof = None
        for height, mine in reversed(self._seals.items()):
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    raw = await client.block(height)
                if sha256(raw) == mine.hash:
                    return Parting(height, mine.hash, proof)
                header, signed = signed_header(raw)
            except Refusal:  # it does not have this one yet
                continue
            except (Unavailable, MalformedError, TimeoutError):
                break
            if (header.height, header.sealer) == (height, mine.sealer):
                proof = Equivocation(mine.header, signed)
        return Parting(-1, "", proof)
