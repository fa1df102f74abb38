"""Addresses of hosts as people type them: `10.0.0.11-20, west.example.org:2222, [fd00::7]:22`. Pure."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from swarmlearning import address
from swarmlearning.errors import UserError

PORT: Final = 22
MOST_HOSTS: Final = 256
LONGEST: Final = 16 * 1024
"""Characters of a list."""

_RANGE: Final = re.compile(r"(\d{1,3}\.\d{1,3}\.\d{1,3}\.)(\d{1,3})\s*-\s*([\d.]+)")
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE | re.ASCII)
_PORTED: Final = re.compile(r"(\[[^\]]*\]|[^:\s]*):(.*)")


class Address(NamedTuple):
    """Where a host's SSH server is; `host` without brackets, a name in lower case."""

    host: str
    port: int

    def __str__(self) -> str:
        return self.host if self.port == PORT else address.join(self.host, self.port)


class HostsError(UserError):
    """A list of addresses, or one of them, that is none; the message names the part."""


def read_addresses(text: str, port: int = PORT) -> tuple[Address, ...]:
    """The hosts that a list names, in its order, each once; `port` is that of those which name none.

    Parts are separated by commas, semicolons or white space. Raises `HostsError`.
    """
    if len(text) > LONGEST:
        raise HostsError(f"a list of hosts has at most {LONGEST} characters, and this one {len(text)}: split it")
    found: dict[Address, None] = {}
    for part in _parts(text):
        for each in _hosts(part, port):
            found[each] = None
            if len(found) > MOST_HOSTS:
                raise HostsError(f"{part!r}: more than {MOST_HOSTS} hosts at once; add them in parts")
    if not found:
        raise HostsError("no host is named: give an address such as 10.0.0.11, a range 10.0.0.11-20, or a name")
    return tuple(found)


def _parts(text: str) -> Iterator[str]:
    """The parts of a list; a range may have spaces around its dash."""
    joined = re.sub(r"(?<=\d)\s*-\s*(?=\d)", "-", text)
    yield from filter(None, re.split(r"[,;\s]+", joined))


def _hosts(part: str, port: int) -> Iterator[Address]:
    shown = repr(part[:100])
    if "@" in part or "/" in part:
        raise HostsError(f"{shown}: give the address alone; the user has a field of its own")
    host, port = _split(part, shown, port)
    if (found := _RANGE.fullmatch(host)) is not None:
        for last in _span(found[1], found[2], found[3], shown):
            yield Address(f"{found[1]}{last}", port)
        return
    yield Address(_host(host, shown), port)


def _split(part: str, shown: str, port: int) -> tuple[str, int]:
    """Host and port of one part."""
    bare = part[1:-1] if part.startswith("[") and part.endswith("]") else part
    if _is_ipv6(bare):
        return bare, port
    found = _PORTED.fullmatch(part)
    if found is None:
        return part, port
    if not (found[2].isascii() and found[2].isdecimal() and len(found[2]) <= 5 and 0 < int(found[2]) < 65536):
        hint = "; an IPv6 address with a port has the form [fd00::7]:22" if part.count(":") > 1 else ""
        raise HostsError(f"{shown}: {found[2][:20]!r} is no port, which is a number from 1 to 65535{hint}")
    if found[1].startswith("[") and not _is_ipv6(found[1][1:-1]):
        raise HostsError(f"{shown}: {found[1][:50]} is no IPv6 address")
    return found[1].strip("[]"), int(found[2])


def _span(network: str, first: str, last: str, shown: str) -> range:
    """The last octets of a range."""
    if "." in last:
        raise HostsError(f"{shown}: a range is of the last part alone, such as {network}{first}-20")
    if not (_is_octets(f"{network}{first}") and _is_octets(f"{network}{last}")):
        raise HostsError(f"{shown}: the parts of an IPv4 address are from 0 to 255")
    if int(last) < int(first):
        raise HostsError(f"{shown}: the range ends before it begins; did you mean {network}{last}-{first}?")
    return range(int(first), int(last) + 1)


def _host(host: str, shown: str) -> str:
    """An address in its usual form, or a name in lower case."""
    if _is_ipv6(host) or _is_octets(host):
        found = ipaddress.ip_address(host)
        if found.is_unspecified or found.is_multicast:
            raise HostsError(f"{shown}: this address is that of no single host")
        return str(found)
    if re.fullmatch(r"[\d.]+", host):
        raise HostsError(f"{shown}: an IPv4 address has four parts from 0 to 255, such as 10.0.0.11")
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise HostsError(f"{shown}: neither an address nor the name of a host (letters, digits, '-' and '.')")
    return host.removesuffix(".").lower()


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.IPv6Address(text).scope_id is None
    except ValueError:
        return False


def _is_octets(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
