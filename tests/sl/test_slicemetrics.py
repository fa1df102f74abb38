"""What an SL's metrics tell of rounds that are merged in slices, and of checks."""

import pytest

from support.slicing import InSlices, frozen, opened, publish_and_hold
from swarmlearning.ledger.bodies import Check, Checked
from swarmlearning.sl.slicemetrics import SLICES, of_slices


def collected(play: InSlices) -> dict[str, float]:
    """All samples, by name and label."""
    found = {}
    for family in of_slices(play.state, {"a": "site-a"}):
        for sample in family.samples:
            labels = ",".join(sample.labels.values())
            found[sample.name.removeprefix("swarm_") + (f"/{labels}" if labels else "")] = sample.value
    return found


def test_a_round_in_slices_is_measured_by_site() -> None:
    play = opened("a", "b", "c")
    play.link("a", 12_000_000)
    play.submit()
    merged = len(play.of("b"))
    play.merge(*play.of("b"))
    play.fault(play.of("a")[0], "c", "non-finite")
    found, count = collected(play), len(play.slicing.slices)
    assert (found["round_sliced"], found["slices"], found["slice_faults"]) == (1, count, 1)
    assert found["slices_moved"] == 1
    assert sum(found[f"slice_share/{site}"] for site in ("site-a", "b", "c")) == pytest.approx(1, abs=1e-3)
    assert found["link_up_bytes_per_second/site-a"] == 12_000_000
    assert "link_up_bytes_per_second/b" not in found, "it has stated none"
    assert sum(value for name, value in found.items() if name.startswith("slices_awaited/")) == count - merged
    assert "checked_round" not in found


def test_checks_are_measured() -> None:
    play = frozen()
    publish_and_hold(play)
    result = play.result.digest
    for uid in "ab":
        play.send(uid, Check(0, result))
    assert play.state.checks is not None
    play.send("a", Checked(0, result, (min(play.state.checks.slices_of("a")),)))
    found = collected(play)
    assert (found["checked_round"], found["checked_ratio"], found["checked_wrong_slices"]) == (0, 0.25, 1)


def test_a_round_of_one_leader_says_so_and_no_more() -> None:
    play = opened(size=1000)
    play.submit("a")
    assert collected(play) == {"round_sliced": 0}


def test_every_metric_is_in_the_table_and_a_training_without_rounds_has_none() -> None:
    assert collected(opened()) == {}
    names = {name.partition("/")[0] for name in collected(frozen())}
    assert names <= set(SLICES)
