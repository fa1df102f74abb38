"""What people are shown of a round that is merged in slices."""

from support.slicing import frozen
from swarmlearning.ledger.bodies import Weigh
from swarmlearning.ledger.contracts.training.weighing import WHOLE
from swarmlearning.views.render import waiting_text
from swarmlearning.views.training import activity, waiting


def test_a_round_in_slices_shows_how_many_are_merged_and_who_is_waited_for() -> None:
    play = frozen("a", "b", "c")
    assert waiting_text(waiting(play.state), {"b": "site-b"}) == (
        "round 0: 3 sites merge 3 models in 12 slices, 0 of them are merged; waiting for a (4), site-b (4), c (4)"
    )
    play.merge(*play.of("a"), *play.of("b"))
    assert waiting_text(waiting(play.state), {}) == (
        "round 0: 3 sites merge 3 models in 12 slices, 8 of them are merged; waiting for c (4)"
    )
    assert {uid: activity(play.state, play.state.members[uid]) for uid in "abc"} == {
        "a": "submitted",
        "b": "submitted",
        "c": "merging",
    }
    play.merge(*play.of("c"))
    assert waiting_text(waiting(play.state), {}).endswith("in 12 slices, 12 of them are merged")


def test_models_are_surveyed_before_they_are_merged_by_the_geometric_median() -> None:
    play = frozen("a", "b", "c", merge_method="geomedian")
    play.merge(*play.of("a"), *play.of("b"))
    assert waiting_text(waiting(play.state), {}) == (
        "round 0: 3 sites survey 3 models in 12 slices, 8 of them are surveyed; waiting for c (4)"
    )
    play.merge()
    found = {uid for uid in "abc" if activity(play.state, play.state.members[uid]) == "merging"}
    assert found == {play.leader}, "it weighs them"
    shares = (WHOLE, 0, 0)
    play.send(play.leader, Weigh(0, 0, play.slicing.recipe, shares))
    assert waiting_text(waiting(play.state), {}).startswith("round 0: 3 sites merge 3 models in 12 slices, 0 of them")
