"""Ends what a peer has under way with this node's server once the ledger refuses the peer.

A request is judged when it arrives. What goes on for longer (a stream of blocks, a model that is being sent, a request
that waits) and connections that lie idle are judged again with the ledger's blocks, here and for all of them alike.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from swarmlearning.node.checkpoints import Source
from swarmlearning.node.credentials import peer_of
from swarmlearning.transport.parties import Credential

NOTICE_SECONDS: Final = 0.5
"""Between a block and its effect on connections: answers that were due with that block still arrive, as does the block
itself, which names the reason. Connections are judged no more often than that."""


class Server(Protocol):
    """What has connections to peers."""

    def drop(self, fault: Callable[[Credential], str]) -> None:
        """Ends those of peers in whose credential `fault` finds one."""
        ...


async def cut_off_refused(server: Server, source: Source) -> None:
    """Ends the connections of peers that the ledger refuses, within twice `NOTICE_SECONDS` after the block that shuts
    them out: revoked nodes, and all of an authority or organisation that is retired. Runs until cancelled."""
    while True:
        chain = source.chain
        await asyncio.sleep(NOTICE_SECONDS)
        server.drop(lambda credential: peer_of(chain, credential).fault)  # noqa: B023 - used before the next turn
        await source.reached(chain.height + 1)
