"""The check that the address which this node announces for its file server leads back to it."""

import http.client
import ssl
from contextlib import closing

from swarmlearning.address import is_loopback, split
from swarmlearning.models.connections import Connection, reason
from swarmlearning.models.destinations import anywhere

SECONDS = 5.0
_HEAD_BYTES = 2**16
ADDRESS_HINT = (
    "If other sites cannot reach it either, they can fetch no model from this site, and it cannot take part in rounds: "
    "name the address that leads them here by --host-ip and --sl-fs-port, or by --sl-fs-service behind NAT or a proxy, "
    "and open it in the firewall. Behind a NAT router that does not lead a site back to itself there may be no fault"
)


def fault_of_loopback(address: str, sn_address: str) -> str:
    """The reason why others cannot reach this node at `address` in a network of several machines, as that of its SN
    shows; empty when there is none."""
    if not is_loopback(split(address)[0]) or is_loopback(split(sn_address)[0]):
        return ""
    return f"on every other machine that is the machine itself, and the SN at {sn_address} is on another one"


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
