"""The growth of a chain: bytes and blocks a round, and what a year of rounds as frequent as these takes. Pure."""

import msgspec

from swarmlearning.ledger.chain import Step
from swarmlearning.ledger.history import round_count
from swarmlearning.views.sizes import size_text

YEAR_MS = 365 * 24 * 3600 * 1000


class Growth(msgspec.Struct, frozen=True):
    """Of blocks from one to another: their bytes, number and rounds, and the block times of the first and the last."""

    size: int = 0
    blocks: int = 0
    rounds: int = 0
    first_ms: int = 0
    last_ms: int = 0

    def after(self, step: Step) -> "Growth":
        """With the next block."""
        at = step.block.header.time_ms
        rounds = self.rounds + round_count(step)
        return Growth(self.size + len(step.block.raw), self.blocks + 1, rounds, self.first_ms or at, at)

    @property
    def a_round(self) -> int | None:
        """Bytes of blocks a round, all that comes with it included; None without a round."""
        return self.size // self.rounds if self.rounds else None

    @property
    def a_year(self) -> int | None:
        """Bytes of a year like the time from the first block to the last; None where that is less than a minute."""
        passed = self.last_ms - self.first_ms
        return self.size * YEAR_MS // passed if passed >= 60_000 else None

    def __str__(self) -> str:
        parts = [f"{size_text(self.size)} in {self.blocks} blocks"]
        if (a_round := self.a_round) is not None:
            parts.append(f"{size_text(a_round)} and {self.blocks / self.rounds:.1f} blocks a round")
        if (a_year := self.a_year) is not None:
            parts.append(f"{size_text(a_year)} in a year like this")
        return "chain: " + ", ".join(parts)
