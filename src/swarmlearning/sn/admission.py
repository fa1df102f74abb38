"""The SNs that may connect to this one's P2P port, and the addresses of theirs."""

from collections.abc import Callable

from swarmlearning.address import split
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.node.credentials import peer_of
from swarmlearning.ordering.etcd.member import peer_address
from swarmlearning.ordering.etcd.tunnel import Peer
from swarmlearning.transport.parties import Credential


class Admission:
    """`Registry` of the tunnel: the SNs that the verified chain admits."""

    def __init__(self, chain: Callable[[], Chain]) -> None:
        self._chain = chain

    def find(self, address: str) -> Peer | None:
        """The SN with this cluster address, None when the ledger admits none."""
        for known in network.admitted(self._chain().world):
            if peer_address(known.uid) == address and "p2p" in known.addresses:
                return Peer(*split(known.addresses["p2p"]), known.uid)
        return None

    def admits(self, credential: Credential, uid: str | None = None) -> bool:
        """True for the credential of an admitted SN: of any, or of the one named."""
        chain = self._chain()
        found = peer_of(chain, credential)
        if uid is None:
            return found.is_sn
        return found.node(uid) is not None and network.admits(chain.world, uid)
