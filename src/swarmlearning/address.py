"""Addresses of nodes, as text: `host:port`, with an IPv6 address in brackets as in a URL (RFC 3986, 3.2.2)."""

import ipaddress
import re
import socket

from swarmlearning.errors import UserError

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})")

_HOST = re.compile(r"[A-Za-z0-9._-]+")
_BROADCAST = ipaddress.ip_address("255.255.255.255")


class AddressError(UserError):
    """A text that is no address."""


def join(host: str, port: int) -> str:
    """The address of a port of a host: a name, or an IPv4 or IPv6 address."""
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def split(address: str) -> tuple[str, int]:
    """Host, without brackets, and port. Raises `AddressError`."""
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match[3]) < 65536:
        raise AddressError(
            f"{address[:100]!r} is no address: it has the form host:port, 10.0.0.1:30305 or [fd00::1]:30305"
        )
    return match[1] or match[2], int(match[3])


def with_port(service: str, port: int) -> str:
    """The address of a service that may be named without its port. Raises `AddressError`."""
    address = f"{service}:{port}" if service.endswith("]") or ":" not in service else service
    split(address)
    return address


def require_host(host: str) -> None:
    """Raises `AddressError` for what is neither a host name nor an IP address, such as one with a port or a scheme."""
    bare = host.strip("[]")
    try:
        ipaddress.IPv6Address(bare)
    except ValueError:
        if _HOST.fullmatch(bare) is None:
            raise AddressError(
                f"{host[:100]!r} is neither a host name nor an IP address; a port goes into its own option"
            ) from None


def is_loopback(host: str) -> bool:
    """True for `localhost` and IP addresses by which a machine reaches itself alone; other names are not looked up."""
    address = _numeric(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def require_announceable(host: str) -> None:
    """Raises `AddressError` for an address at which no other machine can reach a node: unspecified or multicast."""
    address = _numeric(host)
    if address is None:
        return
    if address.is_unspecified:
        raise AddressError(
            f"{host!r} stands for all addresses of a machine and is none at which others reach it; give the address "
            "that they connect to"
        )
    if address.is_multicast or address == _BROADCAST:
        raise AddressError(f"{host!r} is a group of machines; give the address at which others reach this one")


def _numeric(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that this is, in any notation; None for a name."""
    try:
        numbers = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    address = ipaddress.ip_address(numbers[0][4][0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
