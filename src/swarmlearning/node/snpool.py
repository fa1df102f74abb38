"""The SNs' APIs that a node uses: one client for each address, for as long as it is wanted."""

import asyncio
import ssl
from collections.abc import Callable, Collection

from swarmlearning.api.client import ANSWER_SECONDS, SnClient
from swarmlearning.ledger.chain import Chain
from swarmlearning.node.credentials import sn_fault
from swarmlearning.transport.parties import Credential


class SnPool:
    """Makes clients when they are first needed. `chain` gives the verified chain: from its first block on only SNs that
    it admits are used. Used within one event loop; `close` at the end.
    """

    def __init__(
        self, tls: ssl.SSLContext, chain: Callable[[], Chain] = Chain, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self._tls = tls
        self._chain = chain
        self._answer_seconds = answer_seconds
        self._clients: dict[str, SnClient] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def client(self, address: str) -> SnClient:
        """The client for this address."""
        if address not in self._clients:
            self._clients[address] = SnClient(address, self._tls, self._answer_seconds, self._fault)
        return self._clients[address]

    def keep(self, addresses: Collection[str]) -> None:
        """Closes the clients of all other addresses: of SNs that have left, or moved."""
        for address in self._clients.keys() - set(addresses):
            task = asyncio.get_running_loop().create_task(self._clients.pop(address).close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Closes all connections."""
        self.keep(())
        await asyncio.gather(*self._closing)

    def _fault(self, credential: Credential) -> str:
        chain = self._chain()
        return sn_fault(chain, credential) if chain.height >= 0 else ""
