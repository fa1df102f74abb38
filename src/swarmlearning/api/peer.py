"""The other end of a request's connection, which the server puts into the ASGI scope as `scope["swarm.peer"]`."""

import socket
from collections.abc import Mapping
from typing import Any, NamedTuple

from cryptography import x509

from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import load_der
from swarmlearning.transport.parties import Credential

SCOPE_KEY = "swarm.peer"
MORE_TIME_KEY = "swarm.more_time"


class ServerError(UserError):
    """The server cannot start or was set up wrongly; the message says where and what to do."""


class Connection(NamedTuple):
    """The client's credential, and the socket, only to read facts from."""

    credential: Credential
    socket: socket.socket


def peer_thumbprint(scope: Mapping[str, Any]) -> str:
    """Thumbprint (lower-case hex) of the client's certificate in a request's ASGI scope."""
    return _connection(scope).credential.thumbprint


def peer_certificate(scope: Mapping[str, Any]) -> x509.Certificate:
    """The client's certificate in a request's ASGI scope. Raises `CertificateError` when it is malformed."""
    return load_der(_connection(scope).credential.certificate)


def peer_credential(scope: Mapping[str, Any]) -> Credential:
    """The client's credential in a request's ASGI scope."""
    return _connection(scope).credential


def peer_socket(scope: Mapping[str, Any]) -> socket.socket:
    """The socket of an ASGI request, only to read facts from."""
    return _connection(scope).socket


def allow_more_time(scope: Mapping[str, Any]) -> None:
    """The request has as long to arrive from now on as it had at its beginning: for an application whose requests are
    long, and that judges by itself how fast they have to come."""
    if (allow := scope.get(MORE_TIME_KEY)) is not None:
        allow()


def _connection(scope: Mapping[str, Any]) -> Connection:
    try:
        found: Connection = scope[SCOPE_KEY]
    except KeyError:
        raise ServerError(
            "the request carries no peer certificate: serve the application with swarmlearning.api.server"
        ) from None
    return found
