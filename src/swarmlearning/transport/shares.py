"""The share of a server that one organisation may have: connections at once, requests a second.

Theory. Bounds by certificate and by address do not hold an organisation, which issues certificates to itself. Requests
over its rate are not refused but wait, each in its connection, of which nothing more is read meanwhile: that costs the
server nothing, and whoever sends more only waits longer. One certificate has half of the rate at most, so that a node
that has run wild does not hold up the others of its organisation.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from swarmlearning.rates import Rate
from swarmlearning.transport.meters import Meter
from swarmlearning.transport.parties import Credential

_BURST_SECONDS: Final = 2
_PATIENCE: Final = 5.0


class Share(NamedTuple):
    """What one organisation may have of one server: connections at once, and requests a second."""

    organisation: str
    connections: int
    requests: int


ShareOf: TypeAlias = Callable[[Credential], Share | None]
"""The share of a peer's organisation; None where there is no bound."""


def unlimited(credential: Credential) -> None:
    """No bound, for every peer."""


class OverQuotaError(Exception):
    """A quota is used up; the message names it, the organisation, the bound, and when to try again."""


class Shares:
    """What organisations use of one server, of whose connections none has more than half."""

    def __init__(self, share_of: ShareOf, connections: int) -> None:
        self._share_of = share_of
        self._most = max(1, connections // 2)
        self._held: Counter[str] = Counter()
        self._requests = Meter()

    def enter(self, credential: Credential) -> Share | None:
        """Counts a connection, for as long as what is returned does not `leave`."""
        share = self._share_of(credential)
        if share is not None:
            self._held[share.organisation] += 1
            share = share._replace(connections=min(share.connections, self._most))
        return share

    def leave(self, share: Share | None) -> None:
        """A connection has ended."""
        if share is not None:
            self._held[share.organisation] -= 1
            if not self._held[share.organisation]:
                del self._held[share.organisation]

    def held(self, share: Share) -> int:
        """The number of connections of this organisation."""
        return self._held[share.organisation]

    def turn(self, credential: Credential, requests: int) -> float:
        """Returns the seconds for which a request, as large as so many, has to wait. Raises `OverQuotaError`."""
        share = self._share_of(credential)
        if share is None:
            return 0.0
        certificate, whole = (Rate(max(1, each), _BURST_SECONDS) for each in (share.requests // 2, share.requests))
        own = self._requests.turn(credential.thumbprint, certificate, requests, _PATIENCE)
        all_ = self._requests.turn(f"organisation {share.organisation}", whole, requests, _PATIENCE)
        if own is None or all_ is None:
            raise OverQuotaError(
                f"organisation {share.organisation} has used its quota of {share.requests} requests a second; try "
                f"again in {_PATIENCE:g} s"
            )
        return max(own, all_)
