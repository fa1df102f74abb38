"""The address on which a node listens, which need not be the one that it announces."""

import errno
import socket

from swarmlearning.address import split


def listening_host(host: str, chosen: str) -> str:
    """The address to listen on: the one chosen, else the announced `host` if it is one of this machine's, else all.

    It is none of this machine's behind NAT, and in a container. Resolves a name: blocks.
    """
    if chosen:
        return chosen
    try:
        answers = socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return "0.0.0.0"  # a name that only others can resolve
    family, kind, protocol, _, address = answers[0]
    with socket.socket(family, kind, protocol) as probe:
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return "::" if family == socket.AF_INET6 else "0.0.0.0"
    return host


def host_towards(address: str) -> str:
    """The address of this machine from which it reaches another one; empty where there is no way. Sends nothing.

    Where names cannot be resolved it is that of this machine's own name. Resolves names: blocks.
    """
    host, port = split(address)
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return _own_host()
    family, kind, protocol, _, found = answers[0]
    with socket.socket(family, kind, protocol) as probe:
        try:
            probe.connect(found)
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def _own_host() -> str:
    try:
        return str(socket.getaddrinfo(socket.gethostname(), 0)[0][4][0])
    except OSError:
        return ""
