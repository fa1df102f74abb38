"""What somebody does whom an adversarial organisation has invited."""

from typing import TYPE_CHECKING, Final

import msgspec

from swarmlearning.identity.onetime import public_half, sign
from swarmlearning.ledger.bodies import Anchor, Body, Invite, RequestAdmission
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.inviting import statement

if TYPE_CHECKING:
    from simulation.moves import Scene

ONE_TIME: Final = b"1" * 32
INVITED: Final = public_half(ONE_TIME)
"""The one-time key of an invitation by an adversarial organisation, and its public half."""


def invitation(scene: "Scene") -> tuple[str, Body]:
    """An invitation of a new organisation."""
    return network.CONTRACT, Invite(INVITED, "org-x", scene.swarm.log.head.time_ms + 1_000_000)


def request_admission(scene: "Scene") -> tuple[str, Body]:
    """What somebody whom an adversarial organisation has invited requests, with an authority of any organisation."""
    world = scene.swarm.log.head.world
    anchor = Anchor(scene.dice.choice([root.pem for root in network.authorities(world)]))
    body = RequestAdmission(INVITED, "X", (anchor,), "0" * 128)
    if scene.dice.random() < 0.9:
        signature = sign(ONE_TIME, statement(scene.swarm.log.head.network_id, body))
        body = msgspec.structs.replace(body, signature=signature)
    return network.CONTRACT, body
