"""Remarks for users on merges: made once, to those concerned, and fatal only where training cannot go on."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec
import pytest

from support.play import Play, merged, model
from swarmlearning.choices import MergeMethod
from swarmlearning.ledger.bodies import Contribution, Exclusion, ExclusionReason, Receipt
from swarmlearning.rounds.settings import OnNonFinite
from swarmlearning.sl.owncheck import Verdict, bases_of
from swarmlearning.sl.remarks import Remark, Remarks, is_called_unreachable


def receipt(
    weights: Mapping[str, int],
    method: MergeMethod = "mean",
    without: Mapping[str, ExclusionReason] = MappingProxyType({}),
) -> Receipt:
    parts = tuple(Contribution(uid, model(uid, 0), weight, weight) for uid, weight in weights.items())
    return Receipt(method, parts, tuple(Exclusion(uid, reason, "fc.weight") for uid, reason in without.items()))


def published(without: Mapping[str, ExclusionReason]) -> Play:
    play = Play("a", "b", "c")
    play.submit("a", "b", "c")
    play.publish(receipt=receipt({uid: 1 for uid in "abc" if uid not in without}, without=without))
    return play


FAULT = "tensor 'fc.weight' has NaN or infinity"
NOT_FINITE = Verdict(FAULT, "values")


def remarks_for(play: Play, uid: str, policy: OnNonFinite = "exclude", check: Verdict = NOT_FINITE) -> list[Remark]:
    return Remarks(uid, policy, Play().state).new(play.state, {}, check, "10.0.0.1:30305")


def test_a_merge_of_all_models_is_not_remarked_upon() -> None:
    assert remarks_for(published({}), "a") == []


def test_a_site_that_was_left_out_is_told_so_in_its_log_and_the_others_in_theirs() -> None:
    play = published({"c": "non-finite"})
    (own,) = remarks_for(play, "c")
    assert own.text.startswith("Round 0: the model of this site was left out of the merge: non-finite: fc.weight. NaN ")
    assert (own.own, own.fatal) == (True, False)
    (other,) = remarks_for(play, "a")
    assert other == Remark("Round 0: the model of c was left out of the merge: non-finite: fc.weight")


def test_a_site_is_called_unreachable_by_a_merge_without_it_or_while_a_round_waits_for_it() -> None:
    play = published({"b": "unreachable", "c": "non-finite"})
    assert [is_called_unreachable(play.state, uid) for uid in "abc"] == [False, True, False]
    waiting = Play("a", "b")
    waiting.submit("a", "b")
    assert waiting.state.round is not None
    current = msgspec.structs.replace(waiting.state.round, unreachable=("b",))
    state = msgspec.structs.replace(waiting.state, round=current)
    assert [is_called_unreachable(state, uid) for uid in "ab"] == [False, True]


def test_each_remark_is_made_once_and_none_about_what_was_known_before() -> None:
    play = published({"c": "non-finite"})
    remarks = Remarks("c", "fail", Play().state)
    assert len(remarks.new(play.state, {})) == 1
    assert remarks.new(play.state, {}) == []
    assert Remarks("c", "fail", play.state).new(play.state, {}) == []


@pytest.mark.parametrize("uid", ["a", "c"])
@pytest.mark.parametrize(
    ("policy", "reason", "fatal"),
    [("fail", "non-finite", True), ("fail", "unreachable", False), ("exclude", "non-finite", False)],
)
def test_with_fail_any_model_that_is_not_finite_ends_training(
    uid: str, policy: OnNonFinite, reason: ExclusionReason, fatal: bool
) -> None:
    (remark,) = remarks_for(published({"c": reason}), uid, policy)
    assert remark.fatal == fatal
    assert ("SL_NON_FINITE=fail" in remark.text) == fatal


def test_a_model_whose_exclusion_leaves_too_few_ends_its_own_site_s_training_only() -> None:
    play = Play("a", "b")
    play.submit("a", "b")
    play.publish(receipt=receipt({"a": 1}, without={"b": "non-finite"}))
    assert remarks_for(play, "a") == []
    (remark,) = remarks_for(play, "b")
    assert remark.own
    assert remark.fatal
    assert "is unusable (non-finite: fc.weight), and without it there are fewer than minPeers" in remark.text
    assert FAULT in remark.text
    remarks = Remarks("b", "exclude", play.state)
    assert remarks.new(play.state, {}) == []
    play.submit("b", digest="e" * 64)
    play.publish(without={"b": "non-finite"})
    assert len(remarks.new(play.state, {})) == 1  # another model, and another time


@pytest.mark.parametrize(
    ("method", "weights", "alone"),
    [
        ("geomedian", {"a": 1, "b": 1}, ""),
        ("geomedian", {"a": 1, "b": 2}, "b"),
        ("geomedian", {"a": 2, "b": 1, "c": 1}, "a"),
        ("geomedian", {"a": 2, "b": 2, "c": 1}, ""),
        ("geomedian", {"a": 1, "b": 0}, ""),
        ("mean", {"a": 1, "b": 2}, ""),
    ],
)
def test_a_geometric_median_that_is_one_node_s_model_is_called_that(
    method: MergeMethod, weights: dict[str, int], alone: str
) -> None:
    state = published({}).state
    result = msgspec.structs.replace(published({}).result, receipt=receipt(weights, method))
    state = msgspec.structs.replace(state, result=result)
    found = Remarks("a", "exclude", Play().state).new(state, {})
    assert [remark.text.split(" alone")[0].rpartition(" ")[2] for remark in found] == [alone] * bool(alone)
    assert all(remark.own and not remark.fatal for remark in found)


@pytest.mark.parametrize("policy", ["exclude", "fail"])
def test_a_site_whose_own_check_finds_its_model_sound_is_not_ended_by_a_leader_s_exclusion(policy: OnNonFinite) -> None:
    sound = Verdict("", "values")
    left_out = remarks_for(published({"c": "non-finite"}), "c", policy, sound)
    assert [remark.fatal for remark in left_out] == [False]
    assert "Its own check finds all values finite: the node that led the round may be faulty" in left_out[0].text
    play = Play("a", "b")
    play.submit("a", "b")
    play.publish(without={"b": "non-finite"})
    for check, text in (
        (sound, "this site's own check finds all its values finite"),
        (Verdict("", "change"), "own check finds nothing wrong with the model, or with the coded change made of it"),
        (Verdict(), "this site cannot check that, since the model is not here any more"),
    ):
        (barred,) = remarks_for(play, "b", policy, check)
        assert (barred.own, barred.fatal) == (True, False)
        assert text in barred.text


def test_a_site_whose_own_check_finds_its_coded_change_wrong_is_told_that_and_what_to_check() -> None:
    check = Verdict("'w', block of values from 0: the scale is negative", "change", coding=True)
    told = (
        "ere its coded change is wrong, too: 'w', block of values from 0: the scale is negative. Check this host's disk"
    )
    for reason in ("malformed", "structure"):
        (left_out,) = remarks_for(published({"c": reason}), "c", check=check)
        assert told in left_out.text
        assert not left_out.fatal
        (sound,) = remarks_for(published({"c": reason}), "c", check=Verdict("", "change"))
        assert "Its own check finds nothing wrong with its coded change" in sound.text
    (gone,) = remarks_for(published({"c": "malformed"}), "c", check=Verdict())
    assert "It cannot be checked here any more. Check this host's disk" in gone.text
    play = Play("a", "b")
    play.submit("a", "b")
    play.publish(without={"b": "malformed"})
    (barred,) = remarks_for(play, "b", check=check)
    assert barred.fatal
    assert told in barred.text


def test_a_model_is_judged_beside_the_results_that_it_was_trained_from() -> None:
    play = Play("a", "b")
    assert bases_of(play.state) == set()
    play.complete_round("a", "b")
    assert bases_of(play.state) == {merged(0)}
    play.complete_round("a", "b")
    assert bases_of(play.state) == {merged(0), merged(1)}


def test_a_site_that_others_cannot_fetch_from_is_given_its_address_and_advice() -> None:
    (own,) = remarks_for(published({"c": "unreachable"}), "c")
    assert own.own
    assert "Other sites cannot fetch this site's models from 10.0.0.1:30305: " in own.text
    assert "--sl-fs-service" in own.text
    assert "firewall" in own.text


def test_a_site_whose_missing_model_leaves_too_few_is_told_that_others_cannot_fetch_from_it() -> None:
    play = Play("a", "b")
    play.submit("a", "b")
    play.publish(without={"b": "unreachable"})
    assert remarks_for(play, "a") == []
    (remark,) = remarks_for(play, "b")
    assert "Other sites cannot fetch this site's models from 10.0.0.1:30305" in remark.text
    assert (remark.own, remark.fatal) == (True, False)
