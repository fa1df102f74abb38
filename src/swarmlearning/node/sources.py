"""Where the models of a node can be fetched: at its own address, or through the relay of an SN.

A node behind a relay announces the relay's address as its own (`fs`), and once more as `relay`: so whoever only shows
addresses, or looks whether one has changed, need not know of relays.
"""

from contextlib import suppress

from swarmlearning.address import AddressError, split
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.world import World
from swarmlearning.models.connections import Source

FILES = "fs"
RELAY = "relay"
JOIN = "join"
"""The services in a node's announcement: its file server, the relay of an SN or that through which an SL is reached,
and an SN's port for newcomers who are invited."""


def announced(own: str, relay: str) -> dict[str, str]:
    """The addresses that an SL announces: its own, or those of the relay through which it is reached, if any."""
    return {FILES: relay, RELAY: relay} if relay else {FILES: own}


def source_of(world: World, uid: str) -> Source | None:
    """The file server of a node; None where it has announced none, or a relay that no admitted SN offers."""
    known = network.node(world, uid)
    if known is None:
        return None
    with suppress(AddressError):
        host, port = split(known.addresses.get(FILES, ""))
        if RELAY not in known.addresses:
            return host, port
        if known.addresses[RELAY] in relays(world).values():
            return host, port, uid
    return None


def relays(world: World) -> dict[str, str]:
    """The relays that admitted SNs offer: UID of the SN to address."""
    return {sn.uid: sn.addresses[RELAY] for sn in network.admitted(world) if RELAY in sn.addresses}
