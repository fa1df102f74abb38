"""The end of an SN that the ledger has shut out: its certificate is revoked, its authority or organisation retired."""

from collections.abc import Awaitable, Callable

from swarmlearning.ledger.admission import check_trusted
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.node.errors import NodeError
from swarmlearning.sn.miner import Miner

VOTE_SECONDS = 3.0
"""So long an SN that is shut out waits for the end of its vote, without which two voters cannot go on as one."""


async def until_shut_out(miner: Miner, uid: str, incarnation: int, left: Callable[[float], Awaitable[None]]) -> None:
    """Runs until the chain shows that this start of the SN has no part in the network any more; `left` waits for the
    end of its vote, for so many seconds at most. Raises `NodeError` with the reason."""
    while (reason := shut_out(miner.chain, uid, incarnation)) is None:
        await miner.reached(miner.chain.height + 1)
    await left(VOTE_SECONDS)
    raise NodeError(f"this SN has no part in the network any more: {reason}")


def shut_out(chain: Chain, uid: str, incarnation: int) -> str | None:
    """The reason for which an SN that runs as this incarnation has left; None where it has not."""
    known = network.node(chain.world, uid)
    if known is None or not known.left or known.incarnation != incarnation:
        return None
    try:
        check_trusted(chain.world, uid, chain.time_ms)
    except Rejection as refusal:
        return refusal.detail
    return "it was recorded as having left; started again it joins anew"
