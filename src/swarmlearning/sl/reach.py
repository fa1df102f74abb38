"""The address of this node's file server: where it listens, what it announces, and whether that leads back to it."""

import errno
import http.client
import socket
import ssl
from contextlib import closing

from swarmlearning.address import split
from swarmlearning.models.connections import Connection, reason
from swarmlearning.models.destinations import anywhere

SECONDS = 5.0
_HEAD_BYTES = 2**16


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


def fault_of_own_address(address: str, context: ssl.SSLContext, certificate: bytes) -> str:
    """The reason why this node does not reach its own file server at `address`, empty when it does. Blocks.

    `certificate`: this node's own (DER), by which it knows itself.
    """
    try:
        with closing(Connection(split(address), context, SECONDS, anywhere)) as connection:
            if connection.stream.peer_certificate() != certificate:
                return "another node answers there, with another certificate"
            connection.stream.allow(_HEAD_BYTES, SECONDS)
            connection.request("GET", "/is_up")
            status = connection.getresponse().status
            return "" if status == http.client.OK else f"what answers there is no file server (status {status})"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return reason(error)
