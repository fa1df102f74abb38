"""Judging a run in progress, on ledgers made in memory: which sites have failed, and whether training can still end."""

import pytest

from support.network import Ledger, session
from support.rounds import SITES, finish, publish, report_all, submit, three_sites
from swarmlearning.cli.outcome import LEFT_OPEN, NO_SESSION, SiteEnds, State, finished, obstacle, quitters, undecided
from swarmlearning.ledger.bodies import CloseSession, CreateContract, Lost
from swarmlearning.ledger.contracts import network


def sites(script: State = "running", sl: State = "running", **others: State) -> list[SiteEnds]:
    """Three sites; `others` by index (`s2="failed"`) name scripts that stand differently."""
    return [SiteEnds(site, others.get(f"s{number}", script), sl) for number, site in enumerate(SITES, 1)]


def registered() -> Ledger:
    """Three SLs, none with a session."""
    made = Ledger()
    for site in SITES:
        made.join(site)
    return made


def leave(ledger: Ledger, site: str) -> None:
    ledger.send(site, Lost(site, 1), network.CONTRACT)


def again(ledger: Ledger, site: str) -> None:
    ledger.send(site, session(min_peers=2))


def test_a_script_that_ended_with_its_session_open_is_a_quitter_once_its_sl_has_reported_it() -> None:
    ledger = three_sites()
    ends = sites(s2="ended")
    assert quitters(ledger.chain.world, ends) == {}
    assert undecided(ledger.chain.world, ends)
    leave(ledger, "site-2")
    assert quitters(ledger.chain.world, ends) == {"site-2": LEFT_OPEN}
    assert not undecided(ledger.chain.world, ends)


def test_an_interrupted_session_does_not_count_when_a_later_one_was_closed() -> None:
    ledger = three_sites()
    leave(ledger, "site-2")
    again(ledger, "site-2")
    ledger.send("site-2", CloseSession("snapshot"))
    assert quitters(ledger.chain.world, sites(s2="ended")) == {}
    assert finished(ledger.chain.world, "site-2")


def test_a_running_script_without_a_session_is_no_quitter_for_it_may_open_another() -> None:
    ledger = three_sites()
    leave(ledger, "site-2")
    assert quitters(ledger.chain.world, sites()) == {}


def test_a_script_that_ended_without_a_session_is_a_quitter_once_others_train() -> None:
    ledger = registered()
    assert quitters(ledger.chain.world, sites(s3="ended")) == {}
    again(ledger, "site-1")
    assert quitters(ledger.chain.world, sites(s3="ended")) == {"site-3": NO_SESSION}


def test_nobody_is_a_quitter_when_training_is_over() -> None:
    ledger = three_sites()
    finish(ledger)
    report_all(ledger)
    assert ledger.training.over
    assert quitters(ledger.chain.world, sites("ended")) == {}
    assert obstacle(ledger.chain.world, sites("failed", "failed")) == ""


@pytest.mark.parametrize(
    ("ends", "possible"),
    [
        (sites(), True),
        (sites(s2="failed"), True),
        (sites(s2="failed", s3="failed"), False),
        (sites(sl="failed"), False),
        ([SiteEnds("site-1", "running", "failed"), *sites()[1:]], True),
        ([SiteEnds("site-1", "running", "failed"), *sites(s3="failed")[1:]], False),
    ],
)
def test_training_can_go_on_while_as_many_sites_as_min_peers_are_left(ends: list[SiteEnds], possible: bool) -> None:
    found = obstacle(three_sites().chain.world, ends)
    assert (found == "") is possible
    assert possible or "minPeers is 2" in found


def test_a_site_whose_script_crashed_after_its_session_was_closed_still_counts() -> None:
    ledger = three_sites()
    ledger.send("site-2", CloseSession("snapshot"))
    assert obstacle(ledger.chain.world, sites(s2="failed", s3="failed")) == ""


def test_a_quitter_does_not_count_to_min_peers() -> None:
    ledger = three_sites()
    leave(ledger, "site-2")
    assert obstacle(ledger.chain.world, sites(s2="ended")) == ""
    assert obstacle(ledger.chain.world, sites(s2="ended", s3="failed"))


def test_more_min_peers_than_sites_are_an_obstacle_from_the_first_session_on() -> None:
    ledger = registered()
    assert obstacle(ledger.chain.world, sites()) == ""
    ledger.send("site-1", session(min_peers=5))
    assert "minPeers is 5, but there are only 3 sites" in obstacle(ledger.chain.world, sites())


def test_sites_that_train_another_contract_do_not_count_to_min_peers() -> None:
    ledger = registered()
    ledger.join("op", "OPERATOR")
    for contract in ("one", "another"):
        ledger.send("op", CreateContract(), contract)
    ledger.send("site-1", session(min_peers=2), "one")
    ledger.send("site-2", session(min_peers=2), "another")
    assert obstacle(ledger.chain.world, sites()) == ""
    ledger.send("site-3", session(min_peers=2), "another")
    assert "1 of 3 sites are left, minPeers is 2" in obstacle(ledger.chain.world, sites())


def test_a_site_that_contributes_but_has_not_closed_is_not_finished() -> None:
    ledger = three_sites()
    submit(ledger, *SITES)
    publish(ledger, "f" * 64)
    assert not finished(ledger.chain.world, "site-1")
