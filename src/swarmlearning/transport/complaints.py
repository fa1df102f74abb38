"""Bounds how much strangers can make a node log: a line about each network in ten seconds, at most."""

import logging
from collections.abc import Callable
from typing import Final

_SECONDS: Final = 10.0
_MOST_NETWORKS: Final = 1024


class Complaints:
    """Logs warnings about connections; those that come too soon after another about the same network are DEBUG.

    Whoever connects again and again fills no disk. `clock`: seconds that never go back.
    """

    def __init__(self, logger: logging.Logger, clock: Callable[[], float]) -> None:
        self._logger = logger
        self._clock = clock
        self._logged: dict[str, float] = {}

    def warn(self, network: str, text: str, *arguments: object) -> None:
        """Logs the text, in the form of `logging`, about a connection from this network (`parties.network_of`)."""
        self._logger.log(logging.DEBUG if self._is_too_soon(network) else logging.WARNING, text, *arguments)

    def _is_too_soon(self, network: str) -> bool:
        now = self._clock()
        if now - self._logged.get(network, now - _SECONDS) < _SECONDS:
            return True
        if len(self._logged) >= _MOST_NETWORKS:
            self._logged.clear()
        self._logged[network] = now
        return False
