"""Where a node is reached, as text: `host:port`, with an IPv6 address in brackets as in a URL (RFC 3986, 3.2.2)."""

import re

from swarmlearning.errors import UserError

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})")


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
