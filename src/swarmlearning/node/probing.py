"""One try to reach a node: connect, shake hands, see who it is, and exchange a few bytes; bounded in time and bytes.

What fails is told by a code (`outcomes.py`), never by what the other side has sent. A way that loses large packets, and
the messages about it, lets a connection open and then stall, as a process that is frozen does. So what stalls is tried
once more with a maximum segment size that every link takes: where that succeeds, and the next one as at first does not,
it was the size.
"""

import errno
import os
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import Final, NamedTuple

from swarmlearning.identity.certificates import thumbprint_of_der
from swarmlearning.models.destinations import ForbiddenAddress, Refusal, anywhere, permitted_addresses
from swarmlearning.models.tlsstream import TlsStream
from swarmlearning.node.outcomes import Code, Outcome
from swarmlearning.proxies import connect_through, proxy_to
from swarmlearning.relay.opening import RelayError, hail
from swarmlearning.transport.parties import Credential

CONNECT_SECONDS: Final = 1.6
"""A lost first packet is sent again after a second."""
TLS_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 2.0
RELAY_SECONDS: Final = 3.0
SMALL_SEGMENT: Final = 536
"""Bytes: what every IPv4 host has to take (RFC 9293); IPv6 links take more."""
PADDING: Final = 3000
"""Bytes of a header that make a request longer than a packet."""
MAX_HEAD: Final = 16 * 1024
MOST_BYTES: Final = 256 * 1024
"""Bytes of an answer that are read."""
LEAST_BYTES: Final = 48 * 1024
"""Of an answer from which a rate follows."""
_ON_THE_WIRE: Final = 2 * MOST_BYTES
_PIECE: Final = 64 * 1024
SLOW_START: Final = 0.4
"""The share of an answer's bytes that a connection may need to come up to its speed."""

_EXPIRED, _EARLY = 10, 9  # X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID


class Target(NamedTuple):
    """A service to try: at `host` and `port`, for a node `behind` a relay its UID. `path`: what is requested there by
    HTTP, empty: nothing, the handshake is enough. `is_it` judges who answers."""

    uid: str
    service: str
    host: str
    port: int
    path: str
    is_it: Callable[[Credential], bool]
    behind: str = ""


class _Failed(Exception):
    """A try that has failed, with the code of its outcome. `seen`: bytes of the answer that had come; `stalls`: it may
    be the size of packets."""

    def __init__(self, code: Code, *, rtt: float | None = None, seen: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.rtt = rtt
        self.seen = seen


class _Measured(NamedTuple):
    rtt: float
    rate: float | None


def probe(target: Target, context: ssl.SSLContext, refuse: Refusal = anywhere) -> Outcome:
    """Tries to reach a service. Blocks. Never raises for what the other side, or the way to it, does."""
    try:
        found = _attempt(target, context, refuse, small=False)
    except _Failed as first:
        if first.code != "stalled" or target.behind or not _passes_if_small(target, context, refuse, first):
            return Outcome(target.uid, target.service, first.code, _ms(first.rtt))
        try:  # a way that loses packets of any size passes sometimes
            found = _attempt(target, context, refuse, small=False)
        except _Failed as again:
            code: Code = "large-lost" if again.code == "stalled" else again.code
            return Outcome(target.uid, target.service, code, _ms(first.rtt))
    return Outcome(target.uid, target.service, "ok", _ms(found.rtt), found.rate)


def _passes_if_small(target: Target, context: ssl.SSLContext, refuse: Refusal, first: _Failed) -> bool:
    try:
        _attempt(target, context, refuse, small=True)
    except _Failed as second:
        if second.code == "stalled":
            return second.seen > 4 * first.seen + SMALL_SEGMENT
        return second.code not in ("silent", "refused", "no-route", "closed")
    return True


def _attempt(target: Target, context: ssl.SSLContext, refuse: Refusal, *, small: bool) -> _Measured:
    """Raises `_Failed`."""
    sock, rtt = _connected(target, context, refuse, small=small)
    with closing(_secured(sock, context, target.host, rtt)) as stream:
        der = stream.peer_certificate() or b""
        if not target.is_it(Credential(der, thumbprint_of_der(der), "")):
            raise _Failed("another", rtt=rtt)
        return _Measured(rtt, _exchanged(stream, target, rtt) if target.path else None)


def _connected(target: Target, context: ssl.SSLContext, refuse: Refusal, *, small: bool) -> tuple[socket.socket, float]:
    """A connection, and the seconds that it took to open."""
    proxy, begun = proxy_to(target.host, os.environ), time.monotonic()
    if proxy is not None:
        with suppress(socket.gaierror, UnicodeError):  # the proxy may know it
            _require_permitted(target.host, refuse)
        begun = time.monotonic()
        try:
            sock = connect_through(proxy, target.host, target.port, CONNECT_SECONDS)
        except OSError as error:  # ProxyError is one
            raise _Failed("proxy") from error
        rtt = time.monotonic() - begun
    else:
        sock, rtt = _opened(_addresses(target.host, refuse), target.port, small=small)
    return (_behind_relay(sock, context, target), rtt) if target.behind else (sock, rtt)


def _addresses(host: str, refuse: Refusal) -> list[str]:
    try:
        return _require_permitted(host, refuse)
    except (OSError, UnicodeError) as error:
        raise _Failed("unknown-host") from error


def _require_permitted(host: str, refuse: Refusal) -> list[str]:
    try:
        return permitted_addresses(host, refuse)
    except ForbiddenAddress as error:
        raise _Failed("forbidden") from error


def _opened(addresses: list[str], port: int, *, small: bool) -> tuple[socket.socket, float]:
    """A connection to the first address that takes one."""
    failure = _Failed("silent")
    for address in addresses:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        begun = time.monotonic()
        try:
            if small:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_SEGMENT)
            sock.settimeout(CONNECT_SECONDS / len(addresses))
            sock.connect((address, port))
            return sock, time.monotonic() - begun
        except OSError as error:
            sock.close()
            failure = _Failed(_code_of(error))
    raise failure


def _code_of(error: OSError) -> Code:
    """Why a connection did not open."""
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return "silent"
    if error.errno == errno.ECONNREFUSED:
        return "refused"
    return "no-route" if error.errno in _NO_ROUTE else "silent"


_NO_ROUTE: Final = (
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.EACCES,
    errno.EPERM,
    errno.ENETDOWN,
    errno.EADDRNOTAVAIL,
)


def _behind_relay(sock: socket.socket, context: ssl.SSLContext, target: Target) -> socket.socket:
    """The connection to the node behind the relay that this one leads to."""
    try:
        return hail(sock, context, target.host, f"OPEN {target.behind}", RELAY_SECONDS)
    except RelayError as error:
        raise _Failed("relay") from error
    except OSError as error:
        raise _Failed("stalled" if isinstance(error, TimeoutError) else _tls_code(error)) from error


def _secured(sock: socket.socket, context: ssl.SSLContext, host: str, rtt: float) -> TlsStream:
    try:
        return TlsStream(sock, context, host, TLS_SECONDS)
    except (OSError, ValueError) as error:
        raise _Failed("stalled" if isinstance(error, TimeoutError) else _tls_code(error), rtt=rtt) from error


def _tls_code(error: Exception) -> Code:
    """Why a TLS connection did not come about, or ended before its first answer."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return {_EXPIRED: "expired", _EARLY: "not-yet-valid"}.get(error.verify_code, "distrusted-here")  # type: ignore[return-value]
    if isinstance(error, ssl.SSLError) and "ALERT" in str(error.reason):
        return "expired-there" if "EXPIRED" in str(error.reason) else "distrusted-there"
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "no-tls"
    return "closed"


def _exchanged(stream: TlsStream, target: Target, rtt: float) -> float | None:
    """Requests `target.path`; returns the rate at which the answer has come, None where it is too short to tell."""
    room, seen, came = memoryview(bytearray(_PIECE)), 0, list[tuple[float, int]]()
    head = bytearray()
    try:
        stream.allow(_ON_THE_WIRE, ANSWER_SECONDS)
        stream.sendall(_request(target))
        while seen < MOST_BYTES and (count := stream.recv_into(room)):
            head += room[: min(count, max(0, MAX_HEAD - len(head)))]
            seen += count
            came.append((time.monotonic(), seen))
    except TimeoutError as error:
        if seen < SMALL_SEGMENT * 8:  # it has not begun, or no more than the first packets have come
            raise _Failed("stalled", rtt=rtt, seen=seen) from error
    except OSError as error:
        if not seen:  # in TLS 1.3 a server refuses a certificate after the handshake
            code = _tls_code(error)
            raise _Failed("distrusted-there" if code == "closed" else code, rtt=rtt) from error
    if not seen:
        raise _Failed("distrusted-there", rtt=rtt)
    status = status_of(bytes(head))
    if status in (401, 403):
        raise _Failed("shut-out", rtt=rtt)
    if status >= 500 or status == 0:
        raise _Failed("no-service", rtt=rtt)
    return rate_of(came)


def _request(target: Target) -> bytes:
    lines = (f"GET {target.path} HTTP/1.1", f"Host: {target.host}", f"X-Padding: {'.' * PADDING}", "Connection: close")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii", errors="replace")


def status_of(head: bytes) -> int:
    """The status of an HTTP answer; 0 for what is none."""
    words = head[:64].split(b" ", 2)
    with suppress(ValueError, IndexError):
        return int(words[1]) if words[0].startswith(b"HTTP/1.") else 0
    return 0


def rate_of(came: Sequence[tuple[float, int]]) -> float | None:
    """Bytes a second of an answer, by the times (s) at which so many bytes of it had come; None where these are few.

    The better one of all of it and of what came once the connection was up to its speed: the former suffers from a
    long way, the latter from a packet that was lost near the end. Round trips say nothing here: on a busy link they are
    mostly the queue before it.
    """
    (first, _), (end, size) = came[0], came[-1]
    if size < LEAST_BYTES:
        return None
    begun, before = next((at, seen) for at, seen in came if seen >= SLOW_START * size)
    return round(max(size / max(end - first, 0.001), (size - before) / max(end - begun, 0.001)))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(min(seconds * 1000, 1e6), 2)
