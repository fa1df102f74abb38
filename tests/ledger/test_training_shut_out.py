"""A training goes on without a site that is shut out: it has left for the round in progress, and leads none."""

import pytest

from support.network import session
from support.south import ACTS, WORKING, South
from swarmlearning.ledger.contracts.training.state import present_members


@pytest.mark.parametrize("what", ACTS)
@pytest.mark.parametrize("sites", [("sl-1", "sl-2", "sl-3"), ("sl-3", "sl-2", "sl-1"), ("sl-2", "sl-1", "sl-3")])
def test_a_round_waits_for_no_site_that_is_shut_out_nor_does_it_lead(what: str, sites: tuple[str, ...]) -> None:
    south = South()
    ledger = south.ledger
    for uid in sites:
        ledger.join(uid, "SL", WORKING if uid == "sl-2" else ledger.authority)
        ledger.send(uid, session())
    assert set(present_members(ledger.training)) == set(sites)
    south.shut_out(what, "sl-2")
    state = ledger.training
    assert state.members["sl-2"].attendance == "left"
    assert set(present_members(state)) == {"sl-1", "sl-3"}
    assert state.round is not None
    assert state.round.leader in ("sl-1", "sl-3")
