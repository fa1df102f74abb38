"""Members and strangers that try to read what they may not, now and then what they may: ranges of contributions and
slices of results, of their own and others' slices, early and late. What they are answered is what a node answers."""

import random
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

from simulation.readrule import ReadRule, rounds_of
from simulation.violation import require
from swarmlearning.ledger import access
from swarmlearning.ledger.access import Peer
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.contracts.training.slices import UNITS
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.world import World
from swarmlearning.sl import readers
from swarmlearning.tensors.digest import Layout

if TYPE_CHECKING:
    from simulation.swarm import Swarm

TRIED: Final = 0.12
"""The probability that somebody tries to read something after a block."""
OLDEST: Final = 60
"""Blocks that have passed at most since what is tried was to be read, or not yet."""
HEADER: Final = 8
LAYOUT: Final = Layout(HEADER + UNITS * 2**18, HEADER)
"""Of a model with one chunk for each unit, and its header."""


@dataclass(frozen=True)
class OneNode(Peer):
    """Whoever shows the certificate of this node: nodes of an organisation share one here."""

    uid: str = ""

    @property
    def nodes(self) -> tuple[Node, ...]:
        known = self.node(self.uid)
        return (known,) if known is not None else ()


class Reads:
    """What is tried with a swarm's models; chance is drawn from dice of its own."""

    def __init__(self, swarm: "Swarm") -> None:
        self._swarm = swarm
        self._dice = random.Random(f"reads {swarm.seed}")
        self._rule = ReadRule()

    def advanced(self, before: Training, after: Training, sender: str, body: object) -> None:
        """Lets somebody try to read something, with some blocks."""
        self._rule.advanced(before, after, sender, body)
        if self._dice.random() < TRIED:
            self._try(after)

    def _try(self, state: Training) -> None:
        """Chooses by what the ledger shows, or has shown a while ago."""
        swarm, dice = self._swarm, self._dice
        height = swarm.log.head.height
        then = swarm.log.training(height - dice.randrange(min(height, OLDEST) + 1))
        rounds = rounds_of(then)
        given = [(uid, entry.digest) for each in rounds for uid, entry in (each.submissions | each.late).items()]
        known = [one for one in given if one[0] in swarm.sites]
        if not known:
            return
        holder, digest = dice.choice(known)
        others = [uid for uid in (*swarm.sites, *swarm.intruders) if uid != holder]
        reader, wanted = self._wish(then, dice.choice(others))
        if reader == holder:
            return
        if then.slicings and dice.random() < 0.2:
            digest = dice.choice(then.slicings).recipe
        self._read(state, holder, reader, digest, wanted)

    def _wish(self, then: Training, reader: str) -> tuple[str, range]:
        """Returns who wants which units: of a slice or a checker's part, mostly its own, of the whole, or none."""
        dice = self._dice
        runs = [(part.uid, range(part.start, part.stop)) for part in (then.checks.parts if then.checks else ())]
        cut = [each for slicing in then.slicings for each in slicing.slices]
        slices = [(each.merger, range(each.start, each.stop)) for each in cut]
        chosen = dice.choice([some for some in (runs, slices) if some] or [[(reader, range(UNITS))]])
        owner, wanted = dice.choice(chosen)
        kind = dice.random()
        if kind < 0.1:
            wanted = range(0)
        elif kind < 0.2:
            wanted = range(UNITS)
        elif kind < 0.3:
            wanted = range(wanted.start, min(wanted.stop + 1, UNITS))
        return owner if dice.random() < 0.6 else reader, wanted

    def _read(self, state: Training, holder: str, reader: str, digest: str, wanted: range) -> None:
        """Compares what the holder answers with the rule."""
        chain = self._swarm.log.head
        peer = _identified(chain.world, reader, chain.time_ms)
        chunks = range(wanted.start + 1, wanted.stop + 1) if wanted else range(0)
        with patch.object(readers, "registered_peer", _identified):
            given = readers.may_read_chunks(chain, holder, reader, digest, chunks, LAYOUT)
        known = peer is not None and bool(peer.nodes) and holder in state.members
        allowed = known and self._rule.allows(state, holder, reader, digest, wanted)
        self._swarm.struck["read that is tried" + (" (refused)" if not given else "")] += 1
        what = f"units {wanted.start} to {wanted.stop} of {digest[:6]}"
        require(allowed or not given, f"{reader} may read {what} of {holder}, which are not for it")
        require(given or not allowed, f"{reader} may not read {what} of {holder}, which are for it")


def _identified(world: World, uid: str, time_ms: int) -> Peer | None:
    """As `registered_peer`, by a node's UID."""
    node = network.node(world, uid)
    found = access.registered_peer(world, node.certificate, time_ms) if node else None
    if found is None:
        return None
    return OneNode(**{each.name: getattr(found, each.name) for each in fields(Peer)}, uid=uid)
