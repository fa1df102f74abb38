"""ML processes that make no progress are told once, and once when they go on."""

from support.uids import uid
from swarmlearning.swop.facts import Stalled
from swarmlearning.swop.managing import Attempt
from swarmlearning.swop.stalling import Progress, Watched

A = Attempt("runner", 1, 1, "task", "d" * 64)
ONE, TWO = Watched(A, 0, uid("one")), Watched(A, 1, uid("two"))


def test_a_pair_without_a_batch_for_so_long_hangs_until_it_goes_on() -> None:
    progress = Progress(10.0)
    assert progress.note({ONE: 0, TWO: 0}, 0.0) == []
    assert progress.note({ONE: 0, TWO: 1}, 9.0) == []
    assert progress.note({ONE: 0, TWO: 2}, 10.0) == [Stalled(A, 0, True)]
    assert progress.note({ONE: 0, TWO: 2}, 12.0) == []
    assert progress.note({ONE: 1, TWO: 2}, 13.0) == [Stalled(A, 0, False)]
    assert progress.note({ONE: 1, TWO: 2}, 20.0) == [Stalled(A, 1, True)]


def test_a_pair_that_waits_for_others_or_cannot_be_seen_does_not_hang() -> None:
    progress = Progress(10.0)
    progress.note({ONE: 5}, 0.0)
    assert progress.note({ONE: None}, 100.0) == []
    assert progress.note({ONE: 5}, 105.0) == []
    assert progress.note({ONE: 5}, 111.0) == [Stalled(A, 0, True)]


def test_a_pair_that_has_ended_is_forgotten() -> None:
    progress = Progress(10.0)
    progress.note({ONE: 5}, 0.0)
    assert progress.note({ONE: 5}, 10.0) == [Stalled(A, 0, True)]
    assert progress.note({}, 20.0) == []
    assert progress.note({ONE: 5}, 30.0) == []
