"""The address on which a node listens, which need not be the one that it announces."""

import errno
import socket


def listening_host(host: str, chosen: str) -> str:
    """The address to listen on: the one chosen, else the announced `host` if it is one of this machine's, else all.

    It is none of this machine's behind NAT, and in a container. Resolves a name: blocks.
    """
    if chosen:
        return chosen
    try:
        answers = socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_STREAM)
    except OSError:
        return "0.0.0.0"  # a name that only others can resolve
    family, kind, protocol, _, address = answers[0]
    with socket.socket(family, kind, protocol) as probe:
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return "::" if family == socket.AF_INET6 else "0.0.0.0"
    return host
