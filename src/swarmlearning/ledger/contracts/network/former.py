"""Former certificates of an identity: what the ledger keeps of them once a node uses another one.

A former certificate may still be used until it expires, as by a transaction that was under way; and whoever revokes
the identity means it too. Afterwards nobody can use it: it is forgotten, revoked or not, unless it is a node's own.
Blocks are judged by the state at their height, so no replay needs it.
"""

from collections.abc import Sequence
from typing import Final

from swarmlearning.identity.certificates import expires_ms, load_leaf
from swarmlearning.ledger.contracts.network.state import Certificate, identity_of, nodes
from swarmlearning.ledger.world import World

MAX_FORMER: Final = 32
"""Former certificates of one identity that are neither expired nor revoked; those that expire first are forgotten."""


def with_certificate(world: World, used: Certificate, time_ms: int) -> World:
    """The world that has this certificate of a node, and not those of its identity that are of no use any more."""
    present = {used.thumbprint, *(known.certificate for known in nodes(world))}
    own = (each for each in world.area("certificate/", Certificate) if identity_of(each) == identity_of(used))
    former = [each for each in own if each.thumbprint not in present]
    useless = (f"certificate/{each.thumbprint}" for each in _useless(former, time_ms))
    return world.without(useless).with_entries({f"certificate/{used.thumbprint}": used})


def _useless(former: Sequence[Certificate], time_ms: int) -> list[Certificate]:
    ends = {each.thumbprint: expires_ms([load_leaf(each.pem)]) + 1000 for each in former}  # valid in its last second
    expired = [each for each in former if ends[each.thumbprint] <= time_ms]
    trusted = [each for each in former if ends[each.thumbprint] > time_ms and not each.revoked]
    trusted.sort(key=lambda each: (ends[each.thumbprint], each.thumbprint))
    return expired + trusted[: max(0, len(trusted) - MAX_FORMER)]
