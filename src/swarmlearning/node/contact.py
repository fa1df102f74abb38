"""The first contact of a node with its network: through the SN that its operator named, or one that it knew before."""

import logging
from contextlib import aclosing

from swarmlearning.api.client import Refusal, Unavailable
from swarmlearning.backoff import Backoff
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError, RefusedError
from swarmlearning.node.follower import Follower

logger = logging.getLogger("swarm.node")

ATTEMPTS = 12
HINT = (
    "Check that the SN runs, that --sn-ip and --sn-api-port are its address, and that it trusts the CA of this node's "
    "certificate (its log has lines on failed TLS handshakes): an operator of a member admits your organisation with "
    "`swarm organisation admit`, one of your own adds another CA with `swarm trust add`"
)


async def first_contact(follower: Follower, place: DataDirectory, named: str) -> int:
    """Height of the chain at the first SN that answers: that at the address `named`, or, where it cannot be reached,
    one that this node knew when it ran last. What the others answer amiss is no reason to end.

    Raises `NodeError` when no SN can be reached, or the one named refuses this node, or is of another network.
    """
    attempt, fault = 0, ""
    async for _ in Backoff(longest=3.0):
        attempt += 1
        address = follower.client.address
        try:
            status = await follower.client.status()
            place.require(status["network_id"], status["network"])
            return int(status["height"])
        except Unavailable as error:
            if address == named:
                fault = str(error)
                if error.final:
                    raise NodeError(f"Unable to contact API-Server: {error}") from error
            if attempt >= ATTEMPTS:
                raise NodeError(f"Unable to contact API-Server: {fault}. {HINT}") from error
            logger.warning("Failed to connect to the API server. Retrying %d of %d: %s", attempt, ATTEMPTS, error)
        except (Refusal, NodeError) as error:
            if address == named:
                raise _explained(error, address) from error
            logger.warning("SN %s, which this node knew, is of no use now: %s", address, error)
        follower.turn_to_next()
    raise AssertionError("unreachable")


async def remember_sns(follower: Follower, place: DataDirectory) -> None:
    """Keeps the addresses of the network's SNs in the data directory, for the next start, until cancelled."""
    async with aclosing(follower.chains()) as chains:
        async for chain in chains:
            if known := network.sn_addresses(chain.world):
                place.remember(known)


def _explained(error: Refusal | NodeError, address: str) -> NodeError:
    if isinstance(error, NodeError):
        return error
    if error.code == Code.NOT_ALLOWED:
        return RefusedError(address, error.detail)
    return NodeError(f"what answers at {address} is not an SN: {error}. Check --sn-ip and --sn-api-port")
