"""The party at the other end of a connection, and which connection ends when there are too many.

Theory. Whoever is trusted may open as many connections as a server has, so a full server must choose. It compares
parties, not connections: the authority with the most connections gives one up, of those of its certificate with the
most, of those from the network with the most. So nobody who holds fewer connections than others can be locked out, and
an organisation gains nothing by issuing itself more certificates. Among equals the newcomer gives way: what is at work
goes on.
"""

import ipaddress
import ssl
import sys
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from swarmlearning.identity.certificates import MAX_INTERMEDIATES, thumbprint_of_der

C = TypeVar("C", bound=Hashable)


class Credential(NamedTuple):
    """A peer's certificate (DER), its thumbprint, and that of the authority in which the path that TLS has verified
    ends (empty: not known, as in a resumed session). `path`: the certificates of that path after the peer's own."""

    certificate: bytes
    thumbprint: str
    authority: str
    path: tuple[bytes, ...] = ()


NOBODY = Credential(b"", "", "")
"""Of a peer that has shown no certificate, since it did not have to."""


class Party(NamedTuple):
    """Thumbprints of the anchoring authority and of the certificate, and the network it connects from."""

    authority: str
    certificate: str
    network: str


def credential_of(connection: Any) -> Credential:
    """The peer's credential on a TLS connection (an `ssl.SSLObject`); `NOBODY` where it has shown no certificate."""
    certificate, path = connection.getpeercert(binary_form=True), _verified_path(connection)
    if certificate is None:
        return NOBODY
    authority = thumbprint_of_der(path[-1]) if path else ""
    return Credential(certificate, thumbprint_of_der(certificate), authority, path[1 : 1 + MAX_INTERMEDIATES])


def party_of(credential: Credential, address: Any) -> Party:
    """The party with this credential that connects from a socket address."""
    return Party(credential.authority, credential.thumbprint, network_of(address))


def network_of(address: Any) -> str:
    """The network of a socket address that one host can have to itself: an IPv4 address, or an IPv6 prefix /64."""
    try:
        host = ipaddress.ip_address(str(address[0]).partition("%")[0])
    except (ValueError, IndexError, TypeError):
        return ""
    if isinstance(host, ipaddress.IPv4Address):
        return str(host)
    if host.ipv4_mapped is not None:
        return str(host.ipv4_mapped)
    return str(ipaddress.IPv6Network((host, 64), strict=False).network_address)


def _verified_path(connection: Any) -> tuple[bytes, ...]:
    """The path that TLS has verified, the peer's own certificate first; empty where that is not known."""
    if sys.version_info >= (3, 13):
        path: Sequence[bytes] = connection.get_verified_chain()
        return tuple(path)
    inner = getattr(connection, "_sslobj", None)  # public from Python 3.13 on
    found = inner.get_verified_chain() if inner is not None else None
    return tuple(ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in found or ())


class Roster(Generic[C]):
    """The open connections of a server, at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._parties: dict[C, Party] = {}  # in the order of their coming
        self._certificates: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._parties)

    def __iter__(self) -> Iterator[C]:
        return iter(self._parties)

    def with_certificate(self, certificate: str) -> int:
        """The number of connections with this certificate."""
        return self._certificates[certificate]

    def enter(self, connection: C, party: Party) -> C | None:
        """Adds a connection. Returns the one that is to be closed for it, already removed here: it may be the same."""
        self._parties[connection] = party
        self._certificates[party.certificate] += 1
        if len(self._parties) <= self._most:
            return None
        victim = self._newest_of_the_busiest(party)
        self.leave(victim)
        return victim

    def leave(self, connection: C) -> None:
        """Removes a connection; one that is unknown is ignored."""
        party = self._parties.pop(connection, None)
        if party is not None:
            self._certificates[party.certificate] -= 1
            if not self._certificates[party.certificate]:
                del self._certificates[party.certificate]

    def _newest_of_the_busiest(self, newcomer: Party) -> C:
        candidates = list(self._parties.items())
        for level in range(len(newcomer)):
            counts = Counter(party[level] for _, party in candidates)
            most = max(counts.values())
            busiest = [party[level] for _, party in candidates if counts[party[level]] == most]
            chosen = newcomer[level] if newcomer[level] in busiest else busiest[-1]
            candidates = [(connection, party) for connection, party in candidates if party[level] == chosen]
        return candidates[-1][0]
