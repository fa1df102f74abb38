"""Closes rounds of a ledger in memory."""

from support.network import Ledger
from swarmlearning.ledger.bodies import Contribution, Freeze, Publish, Receipt, Submit


def close(ledger: Ledger, *sites: str, seconds: int) -> None:
    """Closes the round in progress with the models of these sites, so many seconds later."""
    current = ledger.training.round
    assert current is not None
    for number, site in enumerate(sites, 1):
        digest = f"{current.number:032x}{number:032x}"
        ledger.send(site, Submit(current.number, current.base, "trained", digest, 1, 1))
    ledger.clock = current.opened_ms + seconds * 1000
    if ledger.training.round and ledger.training.round.phase == "collecting":
        ledger.send(current.leader, Freeze(current.number, current.term))
    current = ledger.training.round
    assert current is not None
    parts = tuple(Contribution(uid, current.submissions[uid].digest, 1, 1) for uid in sorted(current.submissions))
    result = f"{current.number + 1:064x}"
    ledger.send(current.leader, Publish(current.number, current.term, result, 1, Receipt("mean", parts, ())))
