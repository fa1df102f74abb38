"""Presence is what more than half of the SNs that count report, never one of them alone."""

from collections.abc import Mapping
from functools import cache

import pytest

from support.network import Ledger, organisation
from swarmlearning.identity.ca import KeyPair, create_authority
from swarmlearning.ledger.bodies import AdmitOrganisation, Back, Leave, Lost, Register
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.watching import CONTRADICTION_MS, proposals
from swarmlearning.ledger.contracts.rejection import Rejection

NETWORK = network.CONTRACT


@cache
def authority(number: int) -> KeyPair:
    return create_authority(f"CA-{number}", 3650)


def founded(**sns: int) -> Ledger:
    """A network with one SL, and these SNs beside `sn-1`: UID (sn_2) to the number of its organisation (1 to 3)."""
    made = Ledger(authority(1))
    made.join("op", "SWCI")
    operators = ["op"]
    for number in sorted(set(sns.values()) - {1}):
        admitted = AdmitOrganisation(organisation(f"org-{number}", authority(number)))
        for operator in operators:
            if network.organisation(made.chain.world, f"org-{number}") is None:
                made.send(operator, admitted, NETWORK)
        operators.append(f"op-{number}")
        made.join(f"op-{number}", "SWCI", authority(number))
    for uid, number in sns.items():
        made.join(uid.replace("_", "-"), "SN", authority(number))
    made.join("sl-1")
    return made


def alive(ledger: Ledger, uid: str = "sl-1") -> bool:
    known = network.node(ledger.chain.world, uid)
    assert known is not None
    return known.alive


def counting(ledger: Ledger) -> list[str]:
    return [sn.uid for sn in network.counting(ledger.chain.world)]


def report(ledger: Ledger, body: Lost | Back, *by: str) -> None:
    for sn in by:
        ledger.send(sn, body, NETWORK)


def exclude(ledger: Ledger, sn: str, by: str) -> None:
    """Another SN reports it absent, and again when it has had time to contradict."""
    report(ledger, Lost(sn, 1), by)
    ledger.clock += CONTRADICTION_MS + 1_000
    report(ledger, Lost(sn, 1), by)


def test_an_sn_that_is_alone_decides_alone() -> None:
    ledger = founded()
    report(ledger, Lost("sl-1", 1), "sn-1")
    assert not alive(ledger)
    report(ledger, Back("sl-1", 1), "sn-1")
    assert alive(ledger)


@pytest.mark.parametrize(
    ("sns", "too_few", "last"),
    [
        ({"sn_2": 1}, ["sn-1"], "sn-2"),
        ({"sn_2": 1, "sn_3": 1}, ["sn-3"], "sn-1"),
        ({"sn_2": 2, "sn_3": 1}, ["sn-1"], "sn-2"),
        ({"sn_2": 2, "sn_3": 3}, ["sn-1"], "sn-3"),
        ({"sn_2": 1, "sn_3": 1, "sn_4": 1, "sn_5": 1}, ["sn-1", "sn-5"], "sn-3"),
        ({"sn_2": 1, "sn_3": 1, "sn_4": 2, "sn_5": 3}, ["sn-1", "sn-2", "sn-3"], "sn-4"),
    ],
    ids=["two", "three of one", "two and one", "one of each of three", "five of one", "three, one and one"],
)
def test_a_node_is_lost_and_back_once_more_than_half_of_the_sns_report_so(
    sns: Mapping[str, int], too_few: list[str], last: str
) -> None:
    ledger = founded(**sns)
    for body, before in ((Lost("sl-1", 1), True), (Back("sl-1", 1), False)):
        report(ledger, body, *too_few)
        assert alive(ledger) == before
        with pytest.raises(Rejection, match=r"no-change: .*has reported this already; more SNs have to"):
            report(ledger, body, too_few[0])
        report(ledger, body, last)
        assert alive(ledger) != before


def test_swops_are_watched_as_sls_are() -> None:
    ledger = founded()
    ledger.join("swop-1", "SWOP")
    found = {each.body for each in proposals(ledger.chain.world, {"sn-1": 1}, "sn-1")}
    assert found == {Lost("sl-1", 1), Lost("swop-1", 1)}


def test_a_report_that_is_taken_back_counts_no_more() -> None:
    ledger = founded(sn_2=1, sn_3=1)
    report(ledger, Lost("sl-1", 1), "sn-1")
    report(ledger, Back("sl-1", 1), "sn-1")
    report(ledger, Lost("sl-1", 1), "sn-2")
    assert alive(ledger)
    with pytest.raises(Rejection, match="no-change: node sl-1 is already alive"):
        report(ledger, Back("sl-1", 1), "sn-3")


def test_reports_of_an_earlier_start_of_a_node_count_no_more() -> None:
    ledger = founded(sn_2=1, sn_3=1)
    report(ledger, Lost("sl-1", 1), "sn-1")
    ledger.actors["sl-1"].incarnation = 2
    ledger.register("sl-1")
    report(ledger, Lost("sl-1", 2), "sn-2")
    assert alive(ledger)


def test_an_sn_whose_lease_is_gone_counts_no_more_once_it_has_not_contradicted_in_time() -> None:
    ledger = founded(sn_2=1)
    report(ledger, Lost("sn-2", 1), "sn-1")
    assert counting(ledger) == ["sn-1", "sn-2"]
    with pytest.raises(Rejection, match=r"no-change: SN sn-2 may contradict for 1[0-9]{4} ms more"):
        report(ledger, Lost("sn-2", 1), "sn-1")
    ledger.clock += CONTRADICTION_MS + 1_000
    report(ledger, Lost("sn-2", 1), "sn-1")
    assert counting(ledger) == ["sn-1"]
    report(ledger, Lost("sl-1", 1), "sn-1")
    assert not alive(ledger)


def test_two_sns_that_die_at_once_lock_nobody() -> None:
    ledger = founded(sn_2=1, sn_3=2, sn_4=3)
    report(ledger, Lost("sl-1", 1), "sn-1", "sn-2")
    assert alive(ledger), "one organisation of three"
    report(ledger, Lost("sn-3", 1), "sn-1")
    report(ledger, Lost("sn-4", 1), "sn-2")
    ledger.clock += CONTRADICTION_MS + 1_000
    report(ledger, Lost("sn-3", 1), "sn-2")
    report(ledger, Lost("sn-4", 1), "sn-2")
    assert alive(ledger)
    report(ledger, Lost("sl-1", 1), "sn-2")
    assert not alive(ledger), "the same report again, now that nobody else counts"


def test_an_sn_that_contradicts_counts_on_and_the_time_begins_anew() -> None:
    ledger = founded(sn_2=1)
    report(ledger, Lost("sn-2", 1), "sn-1")
    report(ledger, Back("sn-2", 1), "sn-2")
    ledger.clock += CONTRADICTION_MS + 1_000
    report(ledger, Lost("sn-2", 1), "sn-1")
    assert counting(ledger) == ["sn-1", "sn-2"]


def test_an_sn_that_counts_no_more_reports_nothing_until_it_has_reported_itself_back() -> None:
    ledger = founded(sn_2=1)
    exclude(ledger, "sn-2", by="sn-1")
    with pytest.raises(Rejection, match="not-counted: SN sn-2 is recorded as absent"):
        report(ledger, Lost("sl-1", 1), "sn-2")
    report(ledger, Back("sn-2", 1), "sn-2")
    assert counting(ledger) == ["sn-1", "sn-2"]
    report(ledger, Lost("sl-1", 1), "sn-2", "sn-1")
    assert not alive(ledger)


def test_an_sn_counts_again_when_it_is_started_again() -> None:
    ledger = founded(sn_2=1)
    exclude(ledger, "sn-2", by="sn-1")
    ledger.actors["sn-2"].incarnation = 2
    ledger.send("sn-2", Register("SN", "sn-2", "", "0"), NETWORK)
    assert counting(ledger) == ["sn-1", "sn-2"]


def test_an_sn_without_a_vote_states_that_it_does_not_watch_and_is_not_waited_for() -> None:
    ledger = founded(sn_2=1)
    report(ledger, Lost("sn-2", 1), "sn-2")
    assert (counting(ledger), alive(ledger, "sn-2")) == (["sn-1"], True)
    with pytest.raises(Rejection, match="no-change"):
        report(ledger, Lost("sn-2", 1), "sn-1")
    report(ledger, Lost("sl-1", 1), "sn-1")
    assert not alive(ledger)


def test_an_sn_is_reported_back_by_itself_alone() -> None:
    ledger = founded(sn_2=1)
    exclude(ledger, "sn-2", by="sn-1")
    with pytest.raises(Rejection, match="not-allowed: that SN sn-2 is back only itself can report"):
        report(ledger, Back("sn-2", 1), "sn-1")


def test_an_sn_that_has_left_is_not_waited_for() -> None:
    ledger = founded(sn_2=1, sn_3=1)
    ledger.send("sn-2", Leave(), NETWORK)
    ledger.send("sn-3", Leave(), NETWORK)
    report(ledger, Lost("sl-1", 1), "sn-1")
    assert not alive(ledger)


def test_an_organisation_that_runs_most_sns_of_three_does_not_decide_alone_once_another_is_gone() -> None:
    ledger = founded(sn_2=1, sn_3=2, sn_4=3)
    exclude(ledger, "sn-4", by="sn-1")
    report(ledger, Lost("sl-1", 1), "sn-1", "sn-2")
    assert alive(ledger)
    report(ledger, Lost("sl-1", 1), "sn-3")
    assert not alive(ledger)
