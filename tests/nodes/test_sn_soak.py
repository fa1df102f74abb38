"""SNs die at random while transactions flow. `make soak-sns` is the long form."""

import asyncio

from support.sns import Network
from support.soak import Soak
from support.tools import needs

pytestmark = needs("etcd")

SECONDS = 15.0
SEED = 3


def test_every_acknowledged_transaction_is_on_the_chain_once_whoever_dies_meanwhile(net: Network) -> None:
    net.found(4)
    soak = Soak(net, SEED)
    asyncio.run(soak.run(SECONDS))
    soak.check()
    assert soak.kills > 0
    assert len(soak.acknowledged) > 0
