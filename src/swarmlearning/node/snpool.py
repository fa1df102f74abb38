"""The SNs' APIs that a node uses: one client for each address, for as long as it is wanted."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Collection
from functools import partial

from swarmlearning.api.client import ANSWER_SECONDS, SnClient
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.node.credentials import sn_fault
from swarmlearning.transport.parties import Credential

logger = logging.getLogger("swarm.chain")


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
            fault = partial(self._fault, address)
            self._clients[address] = SnClient(address, self._tls, self._answer_seconds, fault)
        return self._clients[address]

    def keep(self, addresses: Collection[str]) -> None:
        """Closes the clients of all other addresses: of SNs that have left, or moved."""
        for address in self._clients.keys() - set(addresses):
            self._drop(address)

    def drop_refused(self) -> set[str]:
        """Ends the connections to SNs that the ledger does not admit, or admits no more, and returns their addresses.

        So the first contact is judged too, at which no ledger was known.
        """
        faults = {address: fault for address, client in self._clients.items() if (fault := client.fault())}
        for address, fault in faults.items():
            logger.warning("SN %s is left: %s", address, fault)
            self._drop(address)
        return set(faults)

    async def close(self) -> None:
        """Closes all connections."""
        self.keep(())
        await asyncio.gather(*self._closing)

    def _drop(self, address: str) -> None:
        task = asyncio.get_running_loop().create_task(self._clients.pop(address).close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _fault(self, address: str, credential: Credential) -> str:
        """The reason why what answers at an address is no SN of the network, and which one the ledger has there."""
        chain = self._chain()
        fault = sn_fault(chain, credential) if chain.height >= 0 else ""
        known = [each for each in network.admitted(chain.world) if fault and each.addresses.get("api") == address]
        return fault + "".join(f"; the SN registered at this address is {each.name} ({each.uid})" for each in known)
