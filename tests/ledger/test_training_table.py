"""The training contract, transaction by transaction: when each is accepted, and every reason for which it is not."""

from collections.abc import Callable

import msgspec
import pytest

from support.play import Play, merged, model, receipt_of
from swarmlearning.ledger.bodies import Contribution, Receipt
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.state import Barred
from swarmlearning.ledger.contracts.training.transactions import MOST_REPORTS
from swarmlearning.views.render import participation_text
from swarmlearning.views.training import participation

Act = Callable[[Play], object]


def two() -> Play:
    """Two members of a training with minPeers 2: round 0 is open, `a` leads it."""
    return Play("a", "b")


def full() -> Play:
    """The same, and both have submitted: frozen."""
    play = two()
    play.submit("a", "b")
    return play


def three() -> Play:
    """Three members with minPeers 2; `a` and `b` have submitted, `c` is awaited, `a` leads."""
    play = Play("a", "b", "c")
    play.submit("a", "b")
    return play


def standing() -> Play:
    """Two members, the result of round 0 stands, `b` leads round 1; only `a`, who led, holds it."""
    play = full()
    play.publish()
    return play


def over() -> Play:
    """Both members have closed; the result of round 0 is the last."""
    play = two()
    play.close("a")
    play.close("b")
    play.submit("a", "b", kind="snapshot")
    play.publish()
    return play


def closed(play: Play) -> Play:
    play.close("b", "inactive")
    return play


def barred() -> Play:
    """A round that collects again because two leaders have found that the model of `b` cannot be used."""
    play = full()
    for _ in range(2):
        play.publish(without={"b": "non-finite"})
        if play.leader == "b":
            play.submit("b")
    return play


def unreachable() -> Play:
    """A round that collects again because the model of `b` could not be fetched; now `b` leads."""
    play = full()
    play.publish(without={"b": "unreachable"})
    return play


def moving() -> Play:
    """A frozen round whose leader has reported that 9 bytes have moved."""
    play = full()
    play.progress("a", moved=9)
    return play


def reporting() -> Play:
    """A frozen round whose leader has reported progress as often as it may in one term."""
    play = full()
    for _ in range(MOST_REPORTS):
        play.progress("a")
    return play


def late() -> Play:
    """A frozen round, and the model of `c` that came too late for it."""
    play = three()
    play.freeze()
    play.submit("c")
    return play


def altered(play: Play, **changes: object) -> Receipt:
    """The right receipt, but for its first contribution."""
    right = receipt_of(play.round, {})
    first, *others = right.contributions
    return msgspec.structs.replace(right, contributions=(msgspec.structs.replace(first, **changes), *others))


def twice(play: Play) -> Receipt:
    """Names `b` as contributor and as left out."""
    right = receipt_of(play.round, {})
    return msgspec.structs.replace(right, exclusions=receipt_of(play.round, {"b": "structure"}).exclusions)


REFUSED: list[tuple[str, Play, Act, str, str]] = [
    # OpenSession
    (
        "another method",
        two(),
        lambda p: p.open("c", merge_method="geomedian"),
        "other-terms",
        "mergeMethod is mean",
    ),
    ("another minPeers", two(), lambda p: p.open("c", min_peers=3), "other-terms", "minPeers is 2"),
    (
        "another structure",
        two(),
        lambda p: p.open("c", structure="6" * 64),
        "other-terms",
        "model structure is 555",
    ),
    ("open when over", over(), lambda p: p.open("c"), "training-over", "swarm contract reset"),
    # Submit
    ("a stranger's", two(), lambda p: p.submit("x"), "not-a-member", "open one first"),
    ("before round 0", Play("a"), lambda p: p.submit("a"), "no-round", "1 of 2 sessions are open"),
    ("an older round", standing(), lambda p: p.submit("a", round=0), "other-round", "round 1 is in progress"),
    ("a later round", two(), lambda p: p.submit("a", round=1), "other-round", "round 0 is in progress"),
    ("when over", over(), lambda p: p.submit("a"), "training-over", "is over"),
    (
        "another base",
        standing(),
        lambda p: p.submit("a", base="0" * 64),
        "stale-base",
        "latest merged model first",
    ),
    ("no base", standing(), lambda p: p.submit("a", base=""), "stale-base", "nothing (round 0)"),
    ("trained after closing", closed(two()), lambda p: p.submit("b"), "finished", "check-in mode only"),
    ("snapshot in training", two(), lambda p: p.submit("a", kind="snapshot"), "not-closed", "a has not"),
    ("another mode", closed(two()), lambda p: p.submit("b", kind="active"), "not-closed", "in that mode"),
    ("a heavier one", two(), lambda p: p.submit("a", weight=2), "wrong-weight", "is 1, not 2"),
    ("no weight", two(), lambda p: p.submit("a", weight=0), "wrong-weight", "is 1, not 0"),
    ("a second one", three(), lambda p: p.submit("a"), "submitted-already", "a has submitted to round 0"),
    ("a second late one", late(), lambda p: p.submit("c"), "submitted-already", "c has submitted to round 0"),
    ("an unusable one", barred(), lambda p: p.submit("b"), "excluded", "found unusable in round 0"),
    ("one nobody could fetch", unreachable(), lambda p: p.submit("b"), "submitted-already", "b has submitted"),
    # Freeze
    ("by another", three(), lambda p: p.freeze("b"), "not-leader", "led by a, not b"),
    ("in another term", three(), lambda p: p.freeze(term=1), "stale-term", "is in term 0, not 1"),
    ("another round", three(), lambda p: p.freeze(round=1), "other-round", "round 0 is in progress, not 1"),
    ("twice", full(), lambda p: p.freeze(), "frozen-already", "fixed already"),
    ("too early", two(), lambda p: p.freeze(), "below-min-peers", "has 0 of 2 models"),
    ("without one to fetch", unreachable(), lambda p: p.freeze(), "below-min-peers", "has 1 of 2 models"),
    # Progress
    ("no byte moved", moving(), lambda p: p.progress("a", moved=9), "no-progress", "9 bytes moved are no progress yet"),
    ("a report too many", reporting(), lambda p: p.progress("a"), "no-progress", "has to come to its end"),
    # Publish
    ("published by another", full(), lambda p: p.publish("b"), "not-leader", "led by a, not b"),
    ("published in another term", full(), lambda p: p.publish(term=1), "stale-term", "is in term 0"),
    ("another round published", full(), lambda p: p.publish(round=1), "other-round", "round 0 is in progress"),
    ("published while collecting", three(), lambda p: p.publish(), "collecting", "freeze it first"),
    (
        "merged otherwise",
        full(),
        lambda p: p.publish(receipt=Receipt("geomedian", (), ())),
        "wrong-method",
        "mean",
    ),
    (
        "a contributor is missing",
        full(),
        lambda p: p.publish(receipt=Receipt("mean", receipt_of(p.round, {}).contributions[:1], ())),
        "wrong-contributors",
        "exactly once",
    ),
    (
        "a contributor is named twice",
        full(),
        lambda p: p.publish(
            receipt=Receipt(
                "mean", receipt_of(p.round, {}).contributions, receipt_of(p.round, {"b": "structure"}).exclusions
            )
        ),
        "wrong-contributors",
        "exactly once",
    ),
    (
        "a stranger contributes",
        full(),
        lambda p: p.publish(
            receipt=Receipt("mean", (*receipt_of(p.round, {}).contributions, Contribution("x", "0" * 64, 1, 1)), ())
        ),
        "wrong-contributors",
        "exactly once",
    ),
    (
        "another model",
        full(),
        lambda p: p.publish(receipt=altered(p, digest="0" * 64)),
        "wrong-contribution",
        f"a submitted {model('a', 0)[:12]}",
    ),
    (
        "another weight",
        full(),
        lambda p: p.publish(receipt=altered(p, weight=7)),
        "wrong-contribution",
        "weight 1",
    ),
    (
        "a coefficient that is not the weight",
        full(),
        lambda p: p.publish(receipt=altered(p, coefficient=0)),
        "wrong-contribution",
        "are the contributors' weights",
    ),
    ("no result", full(), lambda p: p.publish(result=""), "no-result", "has a result"),
    (
        "a result of too few",
        full(),
        lambda p: p.publish(without={"b": "unreachable"}, result="0" * 64),
        "below-min-peers",
        "1 usable models are fewer than minPeers 2",
    ),
    # ReportPerformance, Missing
    ("a stranger reports", standing(), lambda p: p.report("x"), "not-a-member", "open one first"),
    ("a report of another round", standing(), lambda p: p.report("a", number=1), "other-round", "is of round 0"),
    ("a report of none", two(), lambda p: p.report("a", number=0), "other-round", "of round none"),
    ("a stranger misses", standing(), lambda p: p.missing("x"), "not-a-member", "open one first"),
    ("missing another", standing(), lambda p: p.missing("b", number=1), "other-round", "is of round 0"),
    ("missing twice", standing(), lambda p: p.missing("b", "b"), "no-change", "b has reported this already"),
    # Depose
    ("another term's leader", two(), lambda p: p.depose("b", term=1), "stale-term", "is in term 0, not 1"),
    ("another round's leader", two(), lambda p: p.depose("b", round=1), "other-round", "round 0 is in progress"),
    ("a stranger deposes", two(), lambda p: p.depose("x"), "not-a-member", "open one first"),
    (
        "an older process",
        two(),
        lambda p: p.depose("b", incarnation=2),
        "old-incarnation",
        "now runs as incarnation 1",
    ),
    (
        "a leader that speaks",
        two(),
        lambda p: p.depose("b", spoke=7, seen_height=6),
        "progress",
        "at height 7, after 6",
    ),
    ("a member on leases", two(), lambda p: p.depose("b", cause="lease"), "not-allowed", "only an SN"),
    (
        "the same reporter again",
        Play("a", "b", "c"),
        lambda p: p.depose("b", "b"),
        "no-change",
        "b has reported this already",
    ),
    ("nobody to depose", Play("a"), lambda p: p.depose("a"), "no-round", "1 of 2 sessions"),
    # Void
    ("void, but held", standing(), lambda p: p.void(), "still-held", "a, b"),
    ("void of another", standing(), lambda p: p.void(number=1), "other-round", "is of round 0"),
    ("void of none", two(), lambda p: p.void(number=0), "other-round", "of round none"),
    # CloseSession, Stop, Reset
    ("stopped before round 0", Play("a"), lambda p: p.stop(), "no-round", "reset it instead"),
    ("stopped when over", over(), lambda p: p.stop(), "training-over", "is over already"),
    ("a stranger closes", two(), lambda p: p.close("x"), "not-a-member", "open one first"),
    ("closed twice", closed(two()), lambda p: p.close("b"), "closed-already", "closed already"),
    ("reset too early", two(), lambda p: p.reset(), "not-over", "force the reset"),
]


@pytest.mark.parametrize(("play", "act", "code", "text"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(play: Play, act: Act, code: str, text: str) -> None:
    with pytest.raises(Rejection) as refusal:
        act(play)
    assert refusal.value.code == code
    assert text in refusal.value.detail


def test_all_differences_of_a_session_are_named_at_once() -> None:
    with pytest.raises(Rejection, match=r"mergeMethod is mean.*geomedian; minPeers is 2.*5\. All sites must agree"):
        two().open("c", merge_method="geomedian", min_peers=5)


# --- sessions -------------------------------------------------------------------------------------------------------


def test_round_0_opens_when_min_peers_sessions_are_open() -> None:
    play = Play("a", "b", min_peers=3)
    assert play.state.round is None
    play.open("c")
    assert (play.round.number, play.round.term, play.round.base, play.round.phase) == (0, 0, "", "collecting")


def test_the_first_session_fixes_what_all_share_and_each_keeps_its_own() -> None:
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


def test_who_joins_in_round_0_is_awaited_at_once() -> None:
    play = two()
    play.open("c")
    play.submit("a", "b")
    assert not play.frozen


def test_a_session_opened_again_begins_anew_but_keeps_its_record() -> None:
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


# --- a round --------------------------------------------------------------------------------------------------------


def test_a_round_freezes_by_itself_when_all_awaited_are_in() -> None:
    play = Play("a", "b", "c")
    play.submit("a", "b")
    assert not play.frozen
    play.submit("c")
    assert play.frozen


def test_the_leader_may_freeze_with_min_peers() -> None:
    play = three()
    play.freeze()
    assert play.frozen
    assert sorted(play.round.submissions) == ["a", "b"]


def test_a_late_model_is_noted_and_counted() -> None:
    play = three()
    play.freeze()
    play.submit("c")
    assert sorted(play.round.submissions) == ["a", "b"]
    assert list(play.round.late) == ["c"]
    play.publish()
    assert [play.member(uid).contributed for uid in "abc"] == [1, 1, 0]
    assert [play.member(uid).late for uid in "abc"] == [0, 0, 1]
    with pytest.raises(Rejection, match="other-round"):
        play.submit("c", round=0)


def test_a_result_stands_and_the_next_round_opens_on_it() -> None:
    play = standing()
    assert (play.result.digest, play.result.leader, play.result.holders) == (merged(0), "a", ("a",))
    assert (play.round.number, play.round.term, play.round.base) == (1, 0, merged(0))
    assert play.state.rounds == 1


def test_exclusions_are_on_record_and_do_not_count_as_contributions() -> None:
    play = Play("a", "b", "c")
    play.submit("a", "b", "c")
    play.publish(without={"b": "structure"})
    assert [(part.uid, part.reason) for part in play.result.receipt.exclusions] == [("b", "structure")]
    assert [play.member(uid).contributed for uid in "abc"] == [1, 0, 1]


def test_a_round_with_too_few_usable_models_collects_again_under_another_leader() -> None:
    play = Play("a", "b", "c", min_peers=3)
    play.submit("a", "b", "c")
    play.publish(without={"b": "non-finite", "c": "unreachable"})
    assert (play.round.number, play.round.term, play.round.phase, play.state.result) == (0, 1, "collecting", None)
    assert play.leader == "b"
    assert sorted(play.round.submissions) == ["a", "c"]
    assert play.round.barred == {"b": Barred(model("b", 0), "non-finite", ("a",))}
    assert play.round.unreachable == ("c",)
    play.submit("b", digest="7" * 64)
    assert not play.frozen
    play.freeze(reached=("c",))
    assert play.frozen


def test_a_model_that_one_leader_found_unusable_is_judged_anew_by_the_next_and_no_more_after_that() -> None:
    play = full()
    play.publish(without={"b": "non-finite"})
    assert play.leader == "b"
    play.submit("b")
    assert play.frozen, "one leader may be wrong, or lie"
    play.publish(without={"b": "non-finite"})
    with pytest.raises(Rejection, match="excluded"):
        play.submit("b")


def test_members_that_cannot_be_fetched_from_do_not_count_until_a_leader_has_their_models() -> None:
    play = unreachable()
    assert (play.round.usable, play.frozen, play.leader) == (1, False, "b")
    play.open("c")
    play.submit("c")
    assert play.frozen, "others take their place"
    assert sorted(play.round.submissions) == ["a", "b", "c"]


@pytest.mark.parametrize("change", ["restarted", "another address", "another model"])
def test_a_member_that_could_not_be_fetched_from_counts_again_when_something_about_it_has_changed(change: str) -> None:
    play = unreachable()
    match change:
        case "restarted":
            play.open("b", incarnation=2)
        case "another address":
            play.readdress("b")
        case "another model":
            play.submit("b", digest="7" * 64)
    assert play.frozen
    assert play.round.unreachable == ()


def test_what_could_not_be_used_once_cannot_be_used_later() -> None:
    play = Play("a", "b", "c", min_peers=3)
    play.submit("a", "b", "c")
    play.publish(without={"b": "structure"})
    play.submit("b", digest="7" * 64)
    play.publish(without={"c": "structure"})
    assert play.round.barred.keys() == {"b", "c"}


def test_a_late_model_counts_when_its_round_collects_again() -> None:
    play = three()
    play.freeze()
    play.submit("c")
    play.publish(without={"b": "non-finite"})
    assert (sorted(play.round.submissions), play.round.late) == (["a", "c"], {})
    assert not play.frozen
    play.set_attendance("b", "ml-lost")
    assert play.frozen


def test_when_only_lost_members_are_left_out_the_late_ones_complete_the_round() -> None:
    play = three()
    play.freeze()
    play.submit("c")
    play.set_attendance("b", "lost")
    play.publish(without={"b": "unreachable"})
    assert play.frozen
    assert (sorted(play.round.submissions), play.round.unreachable) == (["a", "b", "c"], ("b",))


def test_without_weight_the_previous_model_stands_and_who_held_it_holds_it() -> None:
    play = two()
    play.complete_round("a", "b")
    play.close("a", "inactive")
    play.close("b", "inactive")
    play.submit("a", kind="inactive")
    play.submit("b", kind="inactive")
    with pytest.raises(Rejection, match="no-weight"):
        play.publish(result=merged(1))
    play.publish(result=merged(0), size=0)
    assert (play.result.digest, play.result.holders, play.result.closed.number) == (merged(0), ("a", "b"), 1)
    assert play.result.size == 1


def test_in_round_0_where_no_model_could_stand_an_inactive_one_has_its_weight() -> None:
    play = two()
    play.close("a", "inactive")
    play.submit("a", kind="inactive", weight=1)
    play.submit("b")
    play.publish()
    assert {part.weight for part in play.result.receipt.contributions} == {1}


@pytest.mark.parametrize(("checkin", "weight"), [("snapshot", 5), ("active", 5), ("inactive", 0)])
def test_a_finished_member_contributes_by_its_check_in_mode(checkin: str, weight: int) -> None:
    play = Play("a")
    play.open("b", weightage=5)
    play.complete_round("a", "b")
    play.close("b", checkin)  # type: ignore[arg-type]
    play.submit("b", kind=checkin, base="", weight=weight)  # type: ignore[arg-type]
    play.submit("a")
    assert play.frozen


# --- the end --------------------------------------------------------------------------------------------------------


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


def test_training_is_not_over_with_fewer() -> None:
    play = two()
    play.close("a")
    play.submit("a", kind="snapshot")
    play.submit("b")
    play.publish()
    assert not play.state.over


@pytest.mark.parametrize(("play", "forced"), [(over(), False), (over(), True), (two(), True), (Play(), False)])
def test_reset_empties_the_contract_for_the_next_run(play: Play, forced: bool) -> None:
    play.reset(forced)
    assert (play.state.run, play.state.members, play.state.terms, play.state.result) == (1, {}, None, None)
    play.open("a", merge_method="coordmedian")


# --- the adaptive interval ------------------------------------------------------------------------------------------


def adaptive(*uids: str) -> Play:
    play = Play()
    for uid in uids:
        play.open(uid, adaptive=True, sync_frequency=100)
    play.submit(*uids)
    play.publish()
    return play


def test_the_interval_is_set_when_all_contributors_have_reported() -> None:
    play = adaptive("a", "b")
    play.report("a", loss=1.0)
    assert not play.result.paced
    play.report("b", loss=3.0)
    assert play.result.paced
    assert [play.member(uid).best_loss for uid in "ab"] == [1.0, 3.0]
    play.submit("a", "b")
    play.publish()
    play.report("a", "b", loss=1.0)
    assert [play.member(uid).interval for uid in "ab"] == [125, 125]


@pytest.mark.parametrize("attendance", ["lost", "restarted", "ml-lost"])
def test_the_interval_does_not_wait_for_a_contributor_that_went_away(attendance: str) -> None:
    play = adaptive("a", "b", "c")
    play.report("a", "b")
    assert not play.result.paced
    play.set_attendance("c", attendance)  # type: ignore[arg-type]
    assert play.result.paced


def test_the_interval_does_not_wait_for_a_contributor_that_cannot_get_the_result() -> None:
    play = adaptive("a", "b", "c")
    play.report("a", "b")
    play.missing("c")
    assert play.result.paced


def test_only_contributors_count_for_the_interval_in_whatever_order_they_report() -> None:
    play = adaptive("a", "b")
    play.open("c", adaptive=True, sync_frequency=100)
    play.report("c", loss=90.0)
    play.report("b", loss=3.0)
    play.report("a", loss=1.0)
    assert [play.member(uid).best_loss for uid in "abc"] == [1.0, 3.0, None]


def test_without_any_loss_the_interval_stays() -> None:
    play = adaptive("a", "b")
    play.report("a", "b", loss=None)
    assert (play.result.paced, play.state.pace.eighths, play.member("a").best_loss) == (True, 8, None)


def test_who_is_not_adaptive_keeps_its_own_frequency() -> None:
    play = Play("a")
    play.open("b", adaptive=True, sync_frequency=100)
    for loss in (3.0, 2.0, 1.0):
        play.submit("a", "b")
        play.publish()
        play.report("a", "b", loss=loss)
    assert [play.member(uid).interval for uid in "ab"] == [8, 162]


# --- stragglers -----------------------------------------------------------------------------------------------------


def straggling() -> Play:
    """Round 1 has been closed without `c`, which the leader has waited for in vain."""
    play = Play("a", "b", "c")
    play.complete_round("a", "b", "c")
    play.submit("a", "b")
    play.freeze(stragglers=("c", "nobody"))
    play.publish()
    return play


def test_a_straggler_is_not_waited_for_until_it_has_loaded_a_result() -> None:
    play = straggling()
    assert not play.member("c").awaited
    play.report("a", "b")
    play.report("c", loaded=False)
    assert (play.member("c").awaited, "c" in play.result.holders) == (False, True)
    play.submit("a", "b")
    assert play.frozen
    play.publish()
    play.report("c")
    assert play.member("c").awaited


def test_who_has_come_in_meanwhile_is_no_straggler() -> None:
    play = Play("a", "b", "c", "d")
    play.submit("a", "b", "c")
    play.freeze(stragglers=("c", "d"))
    assert [play.member(uid).awaited for uid in ("c", "d")] == [True, False]


def test_a_carried_model_builds_on_the_standing_result_and_counts_like_any_other() -> None:
    play = straggling()
    with pytest.raises(Rejection, match="stale-base"):
        play.submit("c", kind="carried", base=merged(0))
    play.submit("c", kind="carried")
    entry = play.round.submissions["c"]
    assert (entry.kind, entry.weight) == ("carried", 1)
    play.submit("a", "b")
    assert play.frozen
    play.publish()
    assert play.member("c").contributed == 2


def test_a_finished_member_carries_nothing_over() -> None:
    play = straggling()
    play.close("c")
    with pytest.raises(Rejection, match="finished"):
        play.submit("c", kind="carried")


# --- initial sync ---------------------------------------------------------------------------------------------------


def one_of(play: Play, chosen: str) -> Receipt:
    """The receipt of a round in which all take the model of one."""
    parts = tuple(
        Contribution(uid, entry.digest, entry.weight, int(uid == chosen))
        for uid, entry in sorted(play.round.submissions.items())
    )
    return Receipt("mean", parts, ())


def test_with_initial_sync_one_all_start_from_the_model_of_one_contributor() -> None:
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


def test_all_have_to_agree_on_the_initial_sync() -> None:
    play = Play("a")
    with pytest.raises(Rejection, match="SL_INITIAL_SYNC is merged, this session has one"):
        play.open("b", initial="one")


# --- participation --------------------------------------------------------------------------------------------------


def test_participation_is_complete_or_says_who_was_not_in_all_rounds() -> None:
    play = Play("a", "b", "c")
    play.complete_round("a", "b", "c")
    assert participation_text(participation(play.state), {}) == "complete: 1/1 rounds with 3/3"
    play.submit("a", "b")
    play.freeze()
    play.submit("c")
    play.publish()
    text = "partial: of 2 rounds with 3 members c in 1 (late for 1); all others in 2"
    assert participation_text(participation(play.state), {}) == text
