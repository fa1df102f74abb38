"""Blocks whose time is ahead of this SN's clock: they are held until the SNs have decided about them.

One clock decides nothing. An SN that finds a block far ahead does not act on it: it signs an objection and collects
those of the others. With those of more than half of the SNs that count the block is refused, and another one has its
height. Where that can happen no more this SN acts on the block, if most of them do or its own clock has come near.

An SN has one opinion of a block, whatever comes later: it objects, or agrees to it. So no two decisions contradict. A
file keeps what it has objected to last, since another start finds the block less far ahead.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from swarmlearning.api.answers import Stance
from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.files import replace_file
from swarmlearning.identity.signing import Signers
from swarmlearning.ledger.bodies import Objection, RefuseBlock
from swarmlearning.ledger.chain import Chain, Step
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.objecting import Disputed, check_objection, decide, statement
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import SignedTransaction
from swarmlearning.node.sender import Author
from swarmlearning.node.signers import registered_signer
from swarmlearning.sn.remote import Others
from swarmlearning.views.names import name_of, node_names

logger = logging.getLogger("swarm.SN")

OBJECTION_FILE = "objection"
"""The file in the data directory with the hash of the newest block that this SN has objected to."""
ANSWER_SECONDS = 2.0
Verdict = Literal["wait", "accept"] | SignedTransaction
"""What to do with a block that is held; a transaction with the objections: another block has its height."""


class Held(NamedTuple):
    """A block that is held, and this SN's objection to it; None where it agrees."""

    step: Step
    disputed: Disputed
    objection: Objection | None


class Holding:
    """The block that this SN holds, if it holds one; `now_ms` is the time of its clock.

    The file `kept` has what it has objected to for later starts of this SN, if it is given.
    """

    def __init__(
        self, author: Author, signers: Signers, others: Others, now_ms: Callable[[], int], kept: Path | None = None
    ) -> None:
        self._author = author
        self._uid = author.uid
        self._signers = signers
        self._others = others
        self._now_ms = now_ms
        self._accepted = ""
        self._kept = kept
        self._objected_to = kept.read_text("ascii", "replace") if kept is not None and kept.is_file() else ""
        self.held: Held | None = None
        self.alarm = ""

    def holds(self, chain: Chain, step: Step) -> bool:
        """True if the next block is ahead of the clock, so that it is held now. A void one has no time."""
        header = step.block.header
        ahead_ms = chain.ahead_ms(header.time_ms, self._now_ms())
        if step.void is not None or step.block.hash == self._accepted or ahead_ms <= network.DOUBT_MS:
            return False
        if self.held is not None and self.held.step.block.hash == step.block.hash:
            return True
        disputed = Disputed(chain.network_id, header.height, step.block.hash, header.sealer)
        objects = ahead_ms > network.AHEAD_MS or step.block.hash == self._objected_to
        objection = self._object(chain, disputed) if objects else None
        self.held = Held(step, disputed, objection)
        sealer = name_of(node_names(chain.world), header.sealer)
        self.alarm = (
            f"block {header.height}, sealed by SN {sealer}, is {ahead_ms / 1000:.0f} s ahead of this SN's clock: it is "
            "held until the SNs have decided"
        )
        logger.error("%s", self.alarm)
        return True

    def _object(self, chain: Chain, disputed: Disputed) -> Objection:
        """Signs an objection to the block; it is kept before anybody sees it."""
        self._objected_to = disputed.block
        if self._kept is not None:
            try:
                replace_file(self._kept, disputed.block.encode())
            except OSError as error:
                logger.warning("%s: cannot keep an objection, which holds until this SN ends: %s", self._kept, error)
        signer = registered_signer(self._signers, chain.world, self._uid)
        return Objection(self._uid, signer.sign(statement(disputed)))

    def release(self, *, accepted: bool = False) -> None:
        """Holds the block no longer."""
        self._accepted = self.held.step.block.hash if accepted and self.held is not None else ""
        self.held, self.alarm = None, ""

    def stance(self, height: int) -> Stance | None:
        """This SN's opinion of the block of this height that it holds; None where it holds none."""
        if self.held is None or self.held.disputed.height != height:
            return None
        objection = self.held.objection
        return Stance(self.held.disputed.block, objection.signature if objection is not None else "")

    async def decision(self, chain: Chain, held: Held) -> Verdict:
        """The decision about the block that is held, by the SNs that answer."""
        clients = self._others()
        by_address = {sn.addresses.get("api"): sn.uid for sn in network.counting(chain.world)}
        stances = await asyncio.gather(*(_stance(client, held.disputed.height) for client in clients))
        agreeing, objections = set[str](), {self._uid: held.objection} if held.objection is not None else {}
        if held.objection is None:
            agreeing.add(self._uid)
        for client, stance in zip(clients, stances, strict=True):
            uid = by_address.get(client.address)
            if uid is None or stance is None or stance.block != held.disputed.block:
                continue
            if not stance.objection:
                agreeing.add(uid)
            elif _is_valid(chain, held, objection := Objection(uid, stance.objection)):
                objections[uid] = objection
        ahead_ms = chain.ahead_ms(held.step.block.header.time_ms, self._now_ms())
        sealer, agrees = held.disputed.sealer, held.objection is None
        decision = decide(chain.world, sealer, agreeing, set(objections), ahead_ms, agrees=agrees)
        if decision != "refuse":
            return decision
        body = RefuseBlock(held.disputed.height, held.disputed.block, sealer, tuple(objections.values()))
        return self._author.write(chain, network.CONTRACT, body)


def _is_valid(chain: Chain, held: Held, objection: Objection) -> bool:
    try:
        check_objection(chain.world, held.disputed, objection, chain.time_ms + 1)
    except Rejection as error:
        logger.warning("%s", error)
        return False
    return True


async def _stance(client: SnClient, height: int) -> Stance | None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await client.stance(height)
    except (Unavailable, Refusal, TimeoutError):
        return None
