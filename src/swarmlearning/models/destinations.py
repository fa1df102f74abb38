"""Addresses that a node connects to when another node has announced them.

An announced address is another organisation's text. It must not make this node connect to services of its own host
(loopback), of its own link or cloud (link-local) or to groups (multicast). A network that itself runs on such
addresses, as on one machine, is recognised by this node's own address.
"""

import ipaddress
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Refusal: TypeAlias = Callable[[Address], str]
"""Returns the reason that this node does not connect to an address; empty when it does."""

_THIS_HOST: Final = ipaddress.ip_network("0.0.0.0/8")
_SHARED_KINDS: Final = frozenset({"loopback", "link-local"})
_MOST_ADDRESSES: Final = 4


class ForbiddenAddress(OSError):
    """All addresses of a host are of a kind that this node does not connect to."""


def anywhere(address: Address) -> str:
    """The refusal of a node that connects to every address."""
    return ""


def refusal_beside(own_hosts: Iterable[str]) -> Refusal:
    """The refusal of a node that others reach at `own_hosts` (names or IP addresses). Resolves names: blocks."""
    own = set[str]()
    for host in own_hosts:
        with suppress(OSError, UnicodeError):
            own |= {_kind(address) for address in _resolve(host)}
    permitted = own & _SHARED_KINDS | {""}

    def refuse(address: Address) -> str:
        kind = _kind(address)
        return "" if kind in permitted else f"{address} is {kind}, and no address of the network that this node is in"

    return refuse


def permitted_addresses(host: str, refuse: Refusal) -> list[str]:
    """At most four IP addresses of `host`, without those refused.

    Raises `ForbiddenAddress` when that leaves none, OSError or UnicodeError when there is no such host.
    """
    found = _resolve(host)[:_MOST_ADDRESSES]
    permitted = [str(address) for address in found if not refuse(address)]
    if not permitted:
        raise ForbiddenAddress(refuse(found[0]))
    return permitted


def _resolve(host: str) -> list[Address]:
    if not host:
        raise socket.gaierror(socket.EAI_NONAME, "no host is named")
    answers = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(answer[4][0]) for answer in answers]


def _kind(address: Address) -> str:
    """The kind of special address that this is, empty for an ordinary one."""
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_unspecified or (address.version == 4 and address in _THIS_HOST):
        return "unspecified"
    if address.is_loopback:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    if address.is_multicast:
        return "multicast"
    if address.version == 4 and address.is_reserved:  # IPv6 has reserved ranges that are in use, as for NAT64
        return "reserved"
    return ""
