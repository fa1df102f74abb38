"""Links: stating this node's own, and how long others may need by what they state of theirs."""

from typing import Final, Literal

from swarmlearning.ledger.bodies import StateLink
from swarmlearning.ledger.contracts.training.slices import Slicing, expected_bytes, stated
from swarmlearning.ledger.contracts.training.state import Round
from swarmlearning.rounds.facts import RoundFacts
from swarmlearning.rounds.settings import LEAST_SECONDS, SLOW_RATE, TOO_SLOW
from swarmlearning.rounds.slices import LinkMeasured

CHANGED: Final = 1.5
"""Factor by which a link has to differ from what is stated to be stated anew."""


class Linking:
    """This node's link, and the others'. `able`: it can merge, as far as it knows."""

    def __init__(self, facts: RoundFacts) -> None:
        self.able = True
        self._facts = facts
        self._link: LinkMeasured | None = None

    def measured(self, link: LinkMeasured) -> None:
        """What this node knows of its link."""
        self._link = link

    def decide(self) -> None:
        """States the link where it differs from what is stated."""
        link, facts = self._link, self._facts
        if link is None:
            return
        before, merges = stated(facts.training.links, facts.uid), link.merges and self.able
        changed = [
            now and not 1 / CHANGED <= was / now <= CHANGED
            for was, now in ((before.up, link.up), (before.down, link.down))
        ]
        if any(changed) or before.merges != merges:
            facts.send(StateLink(_rounded(link.up), _rounded(link.down), merges))

    def seconds(self, current: Round, slicing: Slicing, merger: str) -> float:
        """Seconds within which a merger should have merged its slices: a multiple of what it needs by its link, and the
        slowest contributor by that, as they state them. A link that nobody knows is like the others."""
        size = self._facts.model_size(current)
        sites = [uid for uid, entry in current.submissions.items() if entry.weight > 0]
        up = min((self._speed(sites, uid, "up") for uid in sites if uid != merger), default=SLOW_RATE)
        down = self._speed(sites, merger, "down")
        expected = max(size / up, expected_bytes(slicing, merger, size, len(sites)) / down)
        return max(LEAST_SECONDS, TOO_SLOW * expected)

    def _speed(self, sites: list[str], uid: str, direction: Literal["up", "down"]) -> int:
        """Bytes a second of a site as it states them, or as most others do; none is believed to be slower than any is
        assumed to be."""
        links = self._facts.training.links
        own: int = getattr(stated(links, uid), direction)
        known = sorted(filter(None, (getattr(stated(links, site), direction) for site in sites)))
        return max(SLOW_RATE, own or (known[len(known) // 2] if known else 0))


def _rounded(speed: int) -> int:
    """Two significant digits: what is stated stays the same while a link does."""
    digits = len(str(speed))
    return speed if digits <= 2 else round(speed, 2 - digits)
