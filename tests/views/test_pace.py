"""How long rounds take, and who is left out of them, noted from one state of a contract to the next."""

import msgspec
import pytest

from support.closing import close
from support.network import Ledger, read, session
from swarmlearning.ledger.bodies import Reset
from swarmlearning.views.pace import KEPT, Lately, noted, published, recalled

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


def test_after_a_start_the_last_blocks_tell_the_same(ledger: Ledger) -> None:
    lately = noted(None, ledger.training)
    for seconds, sites in ((10, SITES), (30, SITES[:2]), (20, SITES[:2])):
        close(ledger, *sites, seconds=seconds)
        lately = noted(lately, ledger.training)
    past = [each for raw in ledger.blocks for each in published(read(raw))]
    again = recalled(past, ledger.training)
    assert again.taken_ms == lately.taken_ms[1:]  # when round 0 has opened no result says
    assert [again.missed(site) for site in SITES] == [lately.missed(site) for site in SITES] == [0, 0, 2]
    late = recalled(past[1:], ledger.training)
    assert (late.taken_ms, late.missed("site-3")) == (lately.taken_ms[-1:], 2)
    assert recalled([], ledger.training).taken_ms == lately.taken_ms[-1:]
    assert recalled(past, msgspec.structs.replace(ledger.training, name="another")).taken_ms == lately.taken_ms[-1:]


def test_rounds_before_a_reset_are_not_recalled(ledger: Ledger) -> None:
    close(ledger, *SITES, seconds=10)
    ledger.join("swci-1", "SWCI")
    ledger.send("swci-1", Reset(forced=True))
    past = [each for raw in ledger.blocks for each in published(read(raw))]
    assert [each.round for each in past] == [0]
    assert recalled(past, ledger.training).taken_ms == ()
