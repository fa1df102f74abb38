"""How many lines an SN may send on a block stream beside its blocks."""

import time

LONGEST_BESIDE = 1000
"""Bytes of a line of a block stream that is no block: a height, or a comment."""
LINES_PER_BLOCK = 8
LINES_PER_SECOND = 8.0
MOST_LINES = 64.0
"""Lines beside blocks: a stream may have so many for each block and in each second, and so many at once."""


class Allowance:
    """Counts the lines of a block stream that are no blocks, so that a stream of nothing else ends."""

    def __init__(self) -> None:
        self._left = MOST_LINES
        self._at = time.monotonic()

    def earn(self, lines: float) -> None:
        """Allows more lines."""
        self._left = min(MOST_LINES, self._left + lines)

    def spend(self, length: int) -> bool:
        """True if one more line of this length is allowed."""
        now = time.monotonic()
        self.earn((now - self._at) * LINES_PER_SECOND)
        self._at = now
        self._left -= 1
        return self._left >= 0 and length <= LONGEST_BESIDE
