"""What counts as a model that was trained for its round, and what only stood for one."""

from support.play import Play, merged, model, standing
from swarmlearning.views.render import participation_text
from swarmlearning.views.training import participation


def rounds(play: Play, uid: str) -> tuple[int, int]:
    """The rounds in which the member's model was merged, and those of them in which it was not trained anew."""
    return play.member(uid).contributed, play.member(uid).repeated


def test_models_trained_for_their_rounds_are_no_repetitions() -> None:
    play = Play("a", "b")
    for _ in range(3):
        play.complete_round("a", "b")
    assert rounds(play, "a") == rounds(play, "b") == (3, 0)


def test_a_model_handed_over_again_by_a_script_that_did_not_train_is_a_repetition() -> None:
    play = Play("a", "b")
    play.complete_round("a", "b")
    play.submit("a")
    play.submit("b", digest=model("b", 0))
    play.publish()
    assert play.result.repeated == ("b",)
    assert rounds(play, "a") == (2, 0)
    assert rounds(play, "b") == (2, 1)


def test_the_merged_model_handed_over_unchanged_is_a_repetition() -> None:
    play = Play("a", "b")
    play.complete_round("a", "b")
    play.submit("a")
    play.submit("b", digest=merged(0))
    play.publish()
    assert rounds(play, "b") == (2, 1)


def test_the_snapshot_of_a_finished_member_is_a_repetition_from_its_second_round_on() -> None:
    play = Play("a", "b")
    play.close("b", "snapshot")
    for number in range(3):
        play.submit("a")
        play.submit("b", kind="snapshot", digest=model("b", 0))
        play.publish()
        play.report("a", "b")
        assert rounds(play, "b") == (number + 1, number)


def test_an_inactive_member_repeats_where_its_model_has_no_weight() -> None:
    play = Play("a", "b")
    play.close("b", "inactive")
    for number in range(2):
        play.submit("a")
        play.submit("b", kind="inactive")
        play.publish()
        play.report("a", "b")
        assert rounds(play, "b") == (number + 1, number)


def test_the_latest_merged_model_of_an_active_member_is_a_repetition() -> None:
    play = Play("a", "b")
    play.complete_round("a", "b")
    play.close("b", "active")
    play.submit("a")
    play.submit("b", kind="active", digest=merged(0))
    play.publish()
    assert rounds(play, "b") == (2, 1)


def test_a_carried_model_is_no_repetition() -> None:
    play = Play("a", "b")
    play.complete_round("a", "b")
    play.submit("a")
    play.submit("b", kind="carried")
    play.publish()
    assert rounds(play, "b") == (2, 0)


def test_a_model_that_is_left_out_is_compared_with_the_one_merged_before_it() -> None:
    play = Play("a", "b", "c")
    play.complete_round("a", "b", "c")
    play.submit("a", "b", "c")
    play.publish(without={"c": "unreachable"})
    play.report("a", "b", "c")
    play.submit("a", "b")
    play.submit("c", digest=model("c", 0))
    play.publish()
    assert rounds(play, "c") == (2, 1)


def test_a_model_merged_again_after_its_result_was_lost_is_no_repetition() -> None:
    play = standing()
    play.missing("a", "b")
    play.void()
    assert rounds(play, "a") == (0, 0)
    play.complete_round("a", "b")
    assert rounds(play, "a") == rounds(play, "b") == (1, 0)


def test_a_repetition_of_a_lost_result_is_not_counted_twice() -> None:
    play = Play("a", "b")
    play.complete_round("a", "b")
    play.submit("a")
    play.submit("b", digest=merged(0))
    play.publish()
    assert rounds(play, "b") == (2, 1)
    play.missing("a", "b")
    play.void()
    assert rounds(play, "b") == (1, 0)
    play.submit("a")
    play.submit("b", digest=merged(0))
    play.publish()
    assert rounds(play, "b") == (2, 1)


def test_a_member_that_comes_back_repeats_when_it_hands_over_its_last_model_again() -> None:
    play = Play("a", "b")
    play.complete_round("a", "b")
    play.set_attendance("b", "restarted")
    play.open("b", incarnation=2)
    play.submit("a")
    play.report("b")
    play.submit("b", digest=model("b", 0))
    play.publish()
    assert rounds(play, "b") == (2, 1)


def test_participation_names_the_members_whose_models_were_not_trained_for_their_rounds() -> None:
    play = Play("a", "b")
    play.complete_round("a", "b")
    play.submit("a")
    play.submit("b", digest=model("b", 0))
    play.publish()
    facts = participation(play.state)
    assert facts.complete
    assert participation_text(facts, {"b": "SL-2"}) == (
        "complete: 2/2 rounds with 2/2; with a model not trained for the round: SL-2 in 1"
    )
