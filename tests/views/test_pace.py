"""How long rounds take, and who is left out of them, noted from one state of a contract to the next."""

import msgspec
import pytest

from support.network import Ledger, session
from swarmlearning.ledger.bodies import Contribution, Freeze, Publish, Receipt, Submit
from swarmlearning.views.pace import KEPT, Lately, noted

SITES = ("site-1", "site-2", "site-3")


@pytest.fixture
def ledger() -> Ledger:
    """Three sites in round 0."""
    made = Ledger()
    for site in SITES:
        made.join(site)
    for site in SITES:
        made.send(site, session(min_peers=2, epochs=5))
    return made


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


def test_each_round_is_noted_with_the_time_that_it_took(ledger: Ledger) -> None:
    lately = noted(None, ledger.training)
    assert (lately.rounds, lately.taken_ms, lately.usual_ms) == (0, (), None)
    for seconds in (10, 30, 20):
        close(ledger, *SITES, seconds=seconds)
        lately = noted(lately, ledger.training)
    assert (lately.rounds, lately.taken_ms, lately.usual_ms) == (3, (10_000, 30_000, 20_000), 20_000)
    assert noted(lately, ledger.training) == lately


def test_an_sn_that_has_just_started_knows_how_long_the_last_round_has_taken(ledger: Ledger) -> None:
    close(ledger, *SITES, seconds=10)
    close(ledger, *SITES, seconds=40)
    assert noted(None, ledger.training).taken_ms == (40_000,)


def test_a_site_that_is_in_no_round_any_more_is_counted_until_it_is_again(ledger: Ledger) -> None:
    lately = noted(None, ledger.training)
    for number in range(1, 4):
        close(ledger, "site-1", "site-2", seconds=1) if number < 3 else None
        lately = noted(lately, ledger.training)
    assert [lately.missed(site) for site in SITES] == [0, 0, 2]
    close(ledger, *SITES, seconds=1)
    assert noted(lately, ledger.training).missed("site-3") == 0


def test_a_site_that_has_just_come_has_missed_nothing(ledger: Ledger) -> None:
    close(ledger, *SITES, seconds=1)
    lately = noted(None, ledger.training)
    ledger.join("site-4")
    ledger.send("site-4", session(min_peers=2, epochs=5))
    assert noted(lately, ledger.training).missed("site-4") == 0
    assert lately.missed("nobody") == 0


def test_another_run_begins_anew_and_old_rounds_are_forgotten(ledger: Ledger) -> None:
    close(ledger, *SITES, seconds=10)
    lately = noted(None, ledger.training)
    assert noted(lately, msgspec.structs.replace(ledger.training, run=2)).taken_ms == (10_000,)
    full = Lately(1, 99, tuple(range(KEPT)))
    assert noted(full, ledger.training).taken_ms == (*range(1, KEPT), 10_000)
