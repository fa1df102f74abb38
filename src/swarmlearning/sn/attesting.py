"""An SN's signature under what it has at a height, which others collect for a checkpoint."""

from collections.abc import Callable

from swarmlearning.identity.signing import Signers
from swarmlearning.ledger.attested import Statement
from swarmlearning.ledger.chain import Chain
from swarmlearning.node.signers import registered_signer
from swarmlearning.sn.recent import State


def attesting(uid: str, signers: Signers, chain: Callable[[], Chain]) -> Callable[[State], str]:
    """Signs for the SN `uid` what it has come to by itself; by the certificate that is registered now."""

    def attest(state: State) -> str:
        now = chain()
        stated = Statement(now.network_id, state.height, state.hash, state.state_hash)
        return registered_signer(signers, now.world, uid).sign(stated.signed_bytes)

    return attest
