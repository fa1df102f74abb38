"""The points that a training's states give, from contracts played by hand."""

from support.play import Play
from swarmlearning.sl.curves import Curves, tag_of
from swarmlearning.tracking.tracker import Point

NAMES = {"a": "SL-1", "b": "the other\n/site", "c": "SL-3"}
NOW = 1_000


def points(curves: Curves, play: Play) -> dict[tuple[str, int], float]:
    found = curves.new(play.state, NAMES, NOW)
    assert all(each.time_ms == NOW for each in found)
    return {(each.tag, each.step): each.value for each in found}


def played() -> Play:
    play = Play("a", "b")
    play.submit("a", "b")
    play.publish()
    return play


def test_a_report_is_a_point_of_its_site_once_and_names_of_others_are_made_safe() -> None:
    play, curves = played(), Curves("a")
    play.report("a", loss=0.5, metric=0.8)
    assert points(curves, play) == {("site/loss", 0): 0.5, ("site/metric", 0): 0.8, ("site/epochs", 0): 1.0}
    play.report("b", loss=0.7, metric=0.6)
    assert points(curves, play) == {("sites/the_other__site/loss", 0): 0.7, ("sites/the_other__site/metric", 0): 0.6}
    assert points(curves, play) == {}


def test_the_swarm_s_mean_comes_with_the_next_result_and_then_stands() -> None:
    play, curves = played(), Curves("a")
    play.report("a", loss=0.5, metric=0.8)
    play.report("b", loss=0.7, metric=0.6)
    points(curves, play)
    assert curves.best is None
    play.submit("a", "b")
    play.publish()
    assert points(curves, play) == {("swarm/loss", 0): 0.6, ("swarm/metric", 0): 0.7, ("swarm/sites", 0): 2.0}
    assert curves.best is not None
    assert (curves.best.round, curves.best.metric) == (0, 0.7)


def test_a_report_without_measurements_is_no_point_and_its_site_counts_for_no_mean() -> None:
    play, curves = played(), Curves("a")
    play.report("a", loss=0.5)
    play.report("b", loss=None)
    assert points(curves, play) == {("site/loss", 0): 0.5, ("site/epochs", 0): 1.0}
    play.submit("a", "b")
    play.publish()
    assert points(curves, play) == {("swarm/loss", 0): 0.5, ("swarm/sites", 0): 1.0}


def test_a_round_that_was_void_and_merged_again_has_the_means_of_its_last_result() -> None:
    play, curves = played(), Curves("a")
    play.report("a", loss=0.5)
    points(curves, play)
    play.missing("a", "b")
    play.void()
    points(curves, play)
    play.submit("a", "b")
    play.publish()
    play.report("a", "b", loss=0.9)
    points(curves, play)
    play.submit("a", "b")
    play.publish()
    assert points(curves, play)["swarm/loss", 0] == 0.9


def test_the_best_round_is_found_over_a_restart_and_single_reports_are_forgotten_after_some_rounds() -> None:
    first, play = Curves("a"), played()
    for number in range(20):
        play.report("a", "b", metric=0.9 if number == 4 else 0.5)
        first.new(play.state, NAMES, NOW)
        play.submit("a", "b")
        play.publish()
        first.new(play.state, NAMES, NOW)
    assert first.best is not None
    assert first.best.round == 4
    assert len(first._reports) < 24
    second = Curves("a")
    second.known(first.best)
    second.new(play.state, NAMES, NOW)
    assert second.best == first.best


def test_a_tag_has_only_characters_that_every_tracker_takes() -> None:
    assert tag_of("Klinikum Süd/../x") == "Klinikum_S_d_.._x"
    assert tag_of("") == "_"
    assert len(tag_of("x" * 1000)) == 64
    assert Point(f"sites/{tag_of('a b')}/loss", 1, 0.5, NOW).tag == "sites/a_b/loss"
