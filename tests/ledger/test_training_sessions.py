"""The training contract: sessions open and close, the first fixes the terms, and training begins and ends with them."""

import pytest

from support.play import Play, merged, model, over, standing, two
from swarmlearning.ledger.bodies import Contribution, Receipt
from swarmlearning.ledger.contracts.rejection import Rejection

# --- sessions ---------------------------------------------------------------------------------------------------------


def test_round_0_opens_when_min_peers_sessions_are_open() -> None:
    play = Play("a", "b", min_peers=3)
    assert play.state.round is None
    play.open("c")
    assert (play.round.number, play.round.term, play.round.base, play.round.phase) == (0, 0, "", "collecting")


def test_the_first_session_fixes_the_shared_terms_and_each_member_keeps_its_own_options() -> None:
    play = Play("a")
    play.open("b", weightage=7, sync_frequency=9, checkin="active", epochs=4, may_lead=False, adaptive=True)
    assert play.state.terms is not None
    assert play.state.terms.merge_method == "mean"
    member = play.member("b")
    assert (member.weightage, member.sync_frequency, member.interval, member.checkin) == (7, 9, 9, "active")
    assert (member.epochs, member.may_lead, member.adaptive) == (4, False, True)


def test_a_latecomer_is_awaited_once_it_holds_the_latest_model() -> None:
    play = standing()
    play.open("c")
    assert not play.member("c").awaited
    play.report("c", loss=None)
    assert play.member("c").awaited
    assert "c" in play.result.holders


def test_a_member_that_joins_in_round_0_is_awaited_at_once() -> None:
    play = two()
    play.open("c")
    play.submit("a", "b")
    assert not play.frozen


def test_a_session_that_is_opened_again_starts_anew_but_keeps_its_record() -> None:
    play = standing()
    play.close("b")
    play.open("b", incarnation=2, weightage=3)
    member = play.member("b")
    assert (member.incarnation, member.weightage, member.finished, member.contributed) == (2, 3, False, 1)


def test_a_round_does_not_wait_for_the_session_that_was_opened_again() -> None:
    play = Play("a", "b", "c")
    play.complete_round("a", "b", "c")
    play.submit("a", "b")
    assert not play.frozen
    play.open("c")
    assert play.frozen


# --- the end ----------------------------------------------------------------------------------------------------------


def test_training_is_over_when_a_round_closes_with_min_peers_finished() -> None:
    play = Play("a", "b", "c")
    play.close("a")
    play.close("b")
    assert not play.state.over
    play.submit("a", "b", kind="snapshot")
    play.submit("c")
    assert not play.state.over
    play.publish()
    assert play.state.over
    assert play.state.round is None
    assert play.text == "training is over, complete: 1/1 rounds with 3/3"


def test_training_is_not_over_while_fewer_than_min_peers_have_finished() -> None:
    play = two()
    play.close("a")
    play.submit("a", kind="snapshot")
    play.submit("b")
    play.publish()
    assert not play.state.over


@pytest.mark.parametrize(("play", "forced"), [(over(), False), (over(), True), (two(), True), (Play(), False)])
def test_a_reset_clears_the_contract_for_the_next_run(play: Play, forced: bool) -> None:
    play.reset(forced)
    assert (play.state.run, play.state.members, play.state.terms, play.state.result) == (2, {}, None, None)
    play.open("a", merge_method="coordmedian")


# --- initial sync -----------------------------------------------------------------------------------------------------


def one_of(play: Play, chosen: str) -> Receipt:
    """The receipt of a round in which all take the model of one."""
    parts = tuple(
        Contribution(uid, entry.digest, entry.weight, int(uid == chosen))
        for uid, entry in sorted(play.round.submissions.items())
    )
    return Receipt("mean", parts, ())


def test_with_initial_sync_one_all_sites_start_from_the_model_of_one_contributor() -> None:
    play = Play()
    for uid in ("a", "b"):
        play.open(uid, initial="one")
    play.submit("a", "b")
    for chosen, result in (("b", merged(0)), ("b", model("a", 0)), ("", model("a", 0))):
        with pytest.raises(Rejection, match="not-initial"):
            play.publish(receipt=one_of(play, chosen), result=result)
    play.publish(receipt=one_of(play, "b"), result=model("b", 0))
    assert play.result.digest == model("b", 0)
    play.report("a", "b")
    play.submit("a", "b")
    play.publish()
    assert play.result.digest == merged(1)


def test_all_sites_must_agree_on_the_initial_sync() -> None:
    play = Play("a")
    with pytest.raises(Rejection, match="SL_INITIAL_SYNC is merged, this session has one"):
        play.open("b", initial="one")
