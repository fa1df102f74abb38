"""Bounds how much strangers can make a node log: a line about each of them in ten seconds, at most."""

import logging
from collections.abc import Callable
from typing import Final

_SECONDS: Final = 10.0
_MOST_STRANGERS: Final = 1024


class Complaints:
    """Logs warnings; those that come too soon after another about the same stranger are DEBUG.

    Whoever connects again and again fills no disk. `clock`: seconds that never go back.
    """

    def __init__(self, logger: logging.Logger, clock: Callable[[], float]) -> None:
        self._logger = logger
        self._clock = clock
        self._logged: dict[str, float] = {}

    def warn(self, stranger: str, text: str, *arguments: object) -> None:
        """Logs the text, in the form of `logging`, about a stranger: a network (`parties.network_of`) that connects, or
        an organisation that asks."""
        self._logger.log(logging.DEBUG if self._is_too_soon(stranger) else logging.WARNING, text, *arguments)

    def _is_too_soon(self, stranger: str) -> bool:
        now = self._clock()
        if now - self._logged.get(stranger, now - _SECONDS) < _SECONDS:
            return True
        if len(self._logged) >= _MOST_STRANGERS:
            self._logged.clear()
        self._logged[stranger] = now
        return False
