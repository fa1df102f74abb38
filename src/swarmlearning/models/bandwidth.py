"""What an operator lets models use of a site's link: Mbit/s in each direction, by hours of the day. Pure.

    20                      20 Mbit/s in each direction, at any time
    10/50                   10 Mbit/s up and 50 down
    5@08:00-18:00,50        5 Mbit/s from 8 to 18 h, 50 otherwise
    5@22:00-06:00           5 Mbit/s from 22 h to 6 h of the next day, without limit otherwise

Of several rules the first one counts whose hours it is. 0 is without limit. Hours are those of the site's clock on the
wall: what a change to summer time leaves out does not come, and what it repeats comes twice.
"""

import re
from datetime import datetime
from typing import Final, NamedTuple

from swarmlearning.errors import UserError

MBIT: Final = 125_000
"""Bytes."""
LEAST_MBIT: Final = 0.6
"""Whoever waits for a site assumes that it moves at least 64 KiB a second (`rounds/settings.py`)."""
MOST_MBIT: Final = 10**6
_DAY: Final = 24 * 60
_MOST_RULES: Final = 24
_RULE: Final = re.compile(r"([0-9.]+)(?:/([0-9.]+))?(?:@([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2}))?")
_NUMBER: Final = re.compile(r"[0-9]{1,7}(\.[0-9]{1,6})?|\.[0-9]{1,6}")
_FORMS: Final = "'20', '10/50' (up/down) or '5@08:00-18:00,50' (by hours), in Mbit/s; 0 is without limit"


class CapError(UserError):
    """What was given is no limit; the text says what of it, and what would be."""


class Rates(NamedTuple):
    """Bytes a second that models may use in each direction; 0: without limit."""

    up: int
    down: int


class _Rule(NamedTuple):
    """`begin`, `end`: minutes of the day; an end that is not later is that of the next day."""

    rates: Rates
    begin: int
    end: int

    def holds_at(self, minute: int) -> bool:
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end


class Caps(NamedTuple):
    """The limits of a site; empty, and so false, where it has none."""

    rules: tuple[_Rule, ...] = ()
    text: str = ""

    def __str__(self) -> str:
        return f"{self.text} Mbit/s" if self else "without limit"

    def at(self, moment: datetime) -> Rates:
        """The limits at this time of the site's clock."""
        minute = moment.hour * 60 + moment.minute
        return next((rule.rates for rule in self.rules if rule.holds_at(minute)), Rates(0, 0))

    @property
    def ever(self) -> Rates:
        """The lowest limit in each direction, whenever it holds; 0: it is never limited."""
        up, down = zip(*(rule.rates for rule in self.rules), strict=True) if self.rules else ((), ())
        return Rates(min(filter(None, up), default=0), min(filter(None, down), default=0))

    def __bool__(self) -> bool:
        return any(self.ever)


NO_CAPS: Final = Caps()


def caps_of(text: str, name: str = "--max-mbit") -> Caps:
    """Reads what an operator has given as `name`; empty: no limit. Raises `CapError`."""
    if not text.strip():
        return NO_CAPS
    words = [word.strip() for word in text.split(",")]
    if len(words) > _MOST_RULES:
        raise CapError(f"{name}: {len(words)} rules; {_MOST_RULES} are possible")
    rules = [_rule(word, name) for word in words]
    for word, rule in zip(words[:-1], rules, strict=False):
        if rule.end - rule.begin == _DAY:
            raise CapError(f"{name} {text}: {word!r} holds at any time, so no rule after it ever does; put it last")
    return Caps(tuple(rules), text.strip())


def _rule(word: str, name: str) -> _Rule:
    if (found := _RULE.fullmatch(word)) is None:
        raise CapError(f"{name}: {word[:50]!r} is not a bandwidth limit; give {_FORMS}")
    rates = Rates(_bytes(found[1], word, name), _bytes(found[2] or found[1], word, name))
    if found[3] is None:
        return _Rule(rates, 0, _DAY)
    begin, end = _minute(found[3], found[4], word, name), _minute(found[5], found[6], word, name)
    if begin == end:
        raise CapError(f"{name}: {word!r} ends when it begins; leave out the hours where it holds at any time")
    return _Rule(rates, begin % _DAY, end)


def _bytes(text: str, word: str, name: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise CapError(f"{name}: {text[:20]!r} in {word[:50]!r} is no number; give {_FORMS}")
    mbit = float(text)
    if mbit and not LEAST_MBIT <= mbit <= MOST_MBIT:
        raise CapError(
            f"{name}: {text} Mbit/s in {word!r} is out of range; give {LEAST_MBIT} to {MOST_MBIT} (others give up a "
            "site that moves less), or 0 for no limit"
        )
    return int(mbit * MBIT)


def _minute(hour: str, minute: str, word: str, name: str) -> int:
    found = int(hour) * 60 + int(minute)
    if found > _DAY or int(minute) > 59:
        raise CapError(f"{name}: {hour}:{minute} in {word!r} is not a time of day; give 00:00 to 24:00")
    return found
