"""Rates: so much in a while on average, and after a pause what some time allows at once. Pure.

What has been used is kept as one integer, the time at which all of it will have been earned (the generic cell rate
algorithm): that is enough for block time, where every node computes the same, and for a clock. Times are microseconds.
"""

from typing import NamedTuple

SECOND_US = 1_000_000


class Rate(NamedTuple):
    """`amount` in `seconds` on average; what `burst_seconds` allow may be used at once."""

    amount: int
    burst_seconds: int
    seconds: int = 1

    def wait_us(self, earned_at: int, now: int) -> int:
        """Returns the time until more may be used; 0 if it may now. Whatever is used last may be of any size."""
        return max(0, earned_at - now - self.burst_seconds * SECOND_US)

    def after(self, earned_at: int, now: int, used: int) -> int:
        """Returns when all will have been earned, once `used` more is used now."""
        return max(earned_at, now) - (-used * self.seconds * SECOND_US // self.amount)
