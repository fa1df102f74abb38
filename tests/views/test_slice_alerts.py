"""Alerts about rounds that are merged in slices: who is waited for, and what members have found wrong."""

from support.network import CONTRACT
from support.slicing import frozen, publish_and_hold
from swarmlearning.ledger.bodies import Check, Checked
from swarmlearning.ui.texts.phrasebook import said
from swarmlearning.views.alerts import Facts
from swarmlearning.views.alerts.checks import check_alerts
from swarmlearning.views.alerts.rounds import round_alerts
from swarmlearning.views.render import HOUR_MS


def test_whoever_has_merged_what_others_find_wrong_is_named() -> None:
    play = frozen()
    publish_and_hold(play)
    for uid in "ab":
        play.send(uid, Check(0, play.result.digest))
    play.send("a", Checked(0, play.result.digest))
    shown = Facts(play.ledger.chain.world, "", play.ledger.clock)
    assert list(check_alerts(shown)) == []
    assert play.state.checks is not None
    index = min(play.state.checks.slices_of("b"))
    play.send("b", Checked(0, play.result.digest, (index,)))
    [found] = check_alerts(Facts(play.ledger.chain.world, "", play.ledger.clock))
    merger = play.slice(index).merger
    assert (found.code, found.severity, found.nodes) == ("wrong-slice", "critical", (merger,))
    assert found.text == (
        f"in round 0 of training {CONTRACT} slices of {merger} have other bytes than the sites' models give, as stated "
        f"by b: {index + 1}"
    )
    assert said("de", found.text) != found.text
    assert said("de", found.remedy) != found.remedy


def test_a_round_in_slices_waits_for_those_that_merge_them() -> None:
    play = frozen("a", "b", "c")
    play.merge(*play.of("a"), *play.of("b"))
    [found] = round_alerts(Facts(play.ledger.chain.world, "", play.ledger.clock + 2 * HOUR_MS))
    assert "for slices in round 0: c (4)" in found.text
    assert said("de", found.text) != found.text
