"""Slows down guessing: after some failures a user's name, and an address, has to wait, longer after each further one.

In memory, bounded; times are seconds of a clock that never goes back.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

FREE: Final = 5
"""Failures without a wait."""
FIRST: Final = 2.0
LONGEST: Final = 15 * 60.0
"""Seconds of the first wait, which doubles, and of the longest."""
FORGOTTEN: Final = 3600.0
"""Seconds without a failure after which all is forgotten."""
MOST: Final = 10_000
"""Names or addresses that are remembered; those that failed longest ago are forgotten first."""
ADDRESS_FACTOR: Final = 4
"""An address may fail so many times more often: many people may be behind one."""


@dataclass
class _Failures:
    count: int = 0
    last: float = 0.0


class Throttle:
    """`wait` and, at once, `begun` before a password is checked, so that many at a time count as one after another;
    `succeeded` or `unanswered` after it. Nothing is locked for good, and a user who has logged in from an address is
    counted there alone from then on: whoever knows the name cannot shut that one out from elsewhere."""

    def __init__(self) -> None:
        self._users: OrderedDict[str, _Failures] = OrderedDict()
        self._addresses: OrderedDict[str, _Failures] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()

    def wait(self, user: str, address: str, now: float) -> float:
        """Seconds until the next attempt; 0: now."""
        return max(
            _wait(self._users.get(self._name(user, address)), FREE, now),
            _wait(self._addresses.get(address), FREE * ADDRESS_FACTOR, now),
        )

    def begun(self, user: str, address: str, now: float) -> None:
        """A password is tried; it counts as wrong until it is known to be right."""
        _count(self._users, self._name(user, address), now)
        _count(self._addresses, address, now)

    def succeeded(self, user: str, address: str) -> None:
        """The user has logged in. What an address has failed otherwise stays."""
        self._users.pop(self._name(user, address), None)
        _uncount(self._addresses, address)
        pair = _pair(user, address)
        self._known.pop(pair, None)
        self._known[pair] = None
        while len(self._known) > MOST:
            self._known.popitem(last=False)

    def unanswered(self, user: str, address: str) -> None:
        """The password was not tried after all."""
        _uncount(self._users, self._name(user, address))
        _uncount(self._addresses, address)

    def _name(self, user: str, address: str) -> str:
        """What failures of this user at this address are counted by."""
        pair = _pair(user, address)
        return pair if pair in self._known else user.casefold()


def _pair(user: str, address: str) -> str:
    return f"{user.casefold()}\n{address}"


def _wait(found: _Failures | None, free: int, now: float) -> float:
    if found is None or found.count < free or now - found.last >= FORGOTTEN:
        return 0.0
    pause = min(LONGEST, FIRST * 2.0 ** min(found.count - free, 20))
    return max(0.0, found.last + pause - now)


def _count(known: OrderedDict[str, _Failures], name: str, now: float) -> None:
    found = known.pop(name, _Failures())
    if now - found.last >= FORGOTTEN:
        found = _Failures()
    known[name] = _Failures(found.count + 1, now)
    while len(known) > MOST:
        known.popitem(last=False)


def _uncount(known: OrderedDict[str, _Failures], name: str) -> None:
    found = known.get(name)
    if found is not None:
        found.count -= 1
