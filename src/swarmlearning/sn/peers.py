"""The other SNs' APIs, as the chain's node registry names them."""

import asyncio
import ssl
from collections.abc import Callable

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.node.snpool import SnPool


class Peers:
    """Clients for all other admitted SNs; one that was named by hand comes first until the chain names some."""

    def __init__(self, uid: str, tls: ssl.SSLContext, chain: Callable[[], Chain], named: str) -> None:
        self._uid = uid
        self._pool = SnPool(tls, chain)
        self._chain = chain
        self._named = named

    def __call__(self) -> list[SnClient]:
        """The clients; that of an SN which has left is closed."""
        known = network.sn_addresses(self._chain().world, besides=self._uid)
        addresses = dict.fromkeys([*([self._named] if self._named else []), *known])
        self._pool.keep(addresses)
        return [self._pool.client(address) for address in addresses]

    async def archive(self, start: int, limit: int) -> list[bytes]:
        """Blocks that etcd has deleted, from any SN that has them; empty while none answers."""
        for client in self():
            found: list[bytes] = []
            try:
                async with asyncio.timeout(10):
                    while len(found) < limit:
                        found.append(await client.block(start + len(found)))
            except (Unavailable, Refusal, TimeoutError):
                if found:
                    return found
            else:
                return found
        return []

    async def close(self) -> None:
        """Closes all connections."""
        await self._pool.close()
