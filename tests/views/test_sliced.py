"""How a round is merged, why, by whom, and what went wrong with its slices: as people are told it."""

import msgspec
import pytest

from support.network import CONTRACT
from support.slicing import InSlices, frozen, opened, publish_and_hold
from support.uirecords import recorder_of
from swarmlearning.ledger.bodies import Check, Checked
from swarmlearning.ledger.contracts.training.mergemode import MergeMode
from swarmlearning.operator.explaining import explain
from swarmlearning.views.evidence import Account
from swarmlearning.views.explaintext import headline, site_text, way_notes
from swarmlearning.views.explanation import Explanation
from swarmlearning.views.sliced import RoundWay, merger_text, round_way, trouble_texts, way_text
from swarmlearning.views.times import RoundTimes, Span, Times

FIRST = "nothing is measured yet, and a leader alone would have to fetch 67 MB or more"


def explained(play: InSlices, number: int | None = None, accounts: dict[str, Account] | None = None) -> Explanation:
    now = play.ledger.chain.time_ms
    return explain(recorder_of(play.ledger), CONTRACT, number, accounts or {}, now_ms=now)


def way_of(play: InSlices) -> RoundWay:
    found = round_way(play.state)
    assert found is not None
    return found


def test_who_merges_which_share_and_who_is_waited_for_is_said_of_a_round_in_progress() -> None:
    play = frozen("a", "b", "c")
    play.merge(*play.of("a"), *play.of("b"))
    found = explained(play)
    assert found.way is not None
    assert (found.cause, found.site) == ("merging", "c")
    assert headline(found).endswith(": it is merged in 12 slices, of which 4 are still to come, 4 from c")
    assert way_notes(found) == [f"Round 0 is merged in 12 slices by 3 sites: {FIRST}"]
    told = {each.uid: (each.slices, each.merged, round(each.share, 2)) for each in found.way.mergers}
    assert told == {"a": (4, 4, 0.33), "b": (4, 4, 0.33), "c": (4, 0, 0.33)}


def test_links_are_shown_as_stated_and_as_used() -> None:
    play = opened("a", "b", "c")
    play.link("b", 12_000_000)
    play.submit()
    now = play.ledger.chain.time_ms
    spans = (Span("fetch", 0, 2000, "a", 40_000_000), Span("fetch", 1000, 4000, "c", 40_000_000), Span("merge", 0, 9))
    record = RoundTimes(CONTRACT, 1, 0, now - 5000, spans)
    found = explained(play, accounts={"b": Account(Times(now, record))})
    assert found.way is not None
    merger = next(each for each in found.way.mergers if each.uid == "b")
    assert (merger.up, merger.down, merger.received, merger.rate) == (12_000_000, 12_000_000, 80_000_000, 20_000_000.0)
    site = next(each for each in found.sites if each.site == "b")
    assert site_text(site, merger).endswith(
        f"merges 33 % in {len(play.of('b'))} slices, 0 merged; link 12 MB/s up, 12 MB/s down; got 80 MB at 20 MB/s"
    )


def test_what_goes_wrong_with_slices_is_said_by_name() -> None:
    play = frozen("a", "b", "c", "d", "e", min_peers=2)
    first, second = (next(index for index in play.of(uid)) for uid in ("a", "b"))
    play.fault(first, "c")
    play.merge(second)
    play.lose("d")
    texts = trouble_texts(way_of(play))
    assert f"a could not use the model of c, unreachable: slice {first + 1}" in texts
    moved = {index: each.merger for each in way_of(play).moved for index in each.slices if each.former == ("d",)}
    assert moved == {index: play.slice(index).merger for index in moved}
    assert len(moved) == 4
    passed = next(each for each in way_of(play).moved if first in each.slices)
    assert "a" in passed.former
    assert any(text.startswith(f"From {', '.join(passed.former)} to {passed.merger}: slice") for text in texts)
    play.fault(play.of("b")[1], "c", by="b")
    assert "c is left out of all slices: unreachable" in trouble_texts(way_of(play))


def test_mergers_that_contradict_each_other_are_shown() -> None:
    play = frozen()
    former = play.others(play.leader)[0]
    index = play.of(former)[0]
    play.reassign(index)
    play.merge(index, by=former, root_of="lies")
    play.merge(index)
    assert way_of(play).contradicted == (index,)
    assert f"Members state different bytes of slice {index + 1}: one of them lies" in trouble_texts(way_of(play))


def test_a_round_that_is_closed_is_explained_too() -> None:
    play = frozen("a", "b", "c")
    publish_and_hold(play)
    play.send("a", Check(0, play.result.digest))
    play.send("a", Checked(0, play.result.digest))
    play.report()
    closed = explained(play, 0)
    assert closed.cause == "closed"
    assert way_notes(closed) == [
        f"Round 0 was merged in 12 slices by 3 sites: {FIRST}",
        "33 % of round 0 have been checked, by 1 member, and all of that is right; 2 members have not checked theirs",
    ]
    assert way_notes(explained(play))[-1] == way_notes(closed)[-1], "the standing result"


@pytest.mark.parametrize(
    ("way", "text"),
    [
        (RoundWay(True, "first"), f"Round 7 will be merged in slices: {FIRST}"),
        (
            RoundWay(False, "small"),
            "Round 7 is merged by its leader alone: nothing is measured yet, and there is less than 67 MB to fetch",
        ),
        (
            RoundWay(False, "faster", 1500, 2500),
            "Round 7 is merged by its leader alone: rounds have taken 1.5 s so, 2.5 s in slices",
        ),
        (
            RoundWay(True, "tried", leader_ms=9000),
            "Round 7 will be merged in slices: to see how long that takes; with one leader rounds have taken 9.0 s",
        ),
        (
            RoundWay(False, "cannot"),
            "Round 7 is merged by its leader alone: its method or the sites that are there allow no slices, or it is "
            "collected again",
        ),
    ],
)
def test_the_reason_is_said(way: RoundWay, text: str) -> None:
    assert way_text(way, 7) == text


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        (MergeMode(round=0, sliced=True), "first"),
        (MergeMode(round=0, sliced=False), "small"),
        (MergeMode(leader_ms=3000, round=0, sliced=False), "faster"),
        (MergeMode(leader_ms=3000, round=0, sliced=True), "tried"),
        (MergeMode(leader_ms=3000, sliced_ms=1000, round=0, sliced=True), "faster"),
        (MergeMode(leader_ms=3000, sliced_ms=1000, round=0, sliced=False), "tried"),
        (MergeMode(sliced_ms=1000, round=0, sliced=True), "faster"),
    ],
)
def test_the_reason_follows_from_what_is_measured(mode: MergeMode, why: str) -> None:
    found = round_way(msgspec.structs.replace(opened().state, merge_mode=mode))
    assert found is not None
    assert found.why == why


def test_a_method_that_cannot_be_cut_is_named_as_the_reason() -> None:
    play = opened(merge_method="geomedian")
    play.submit()
    assert way_of(play).why == "cannot" or play.is_sliced


def test_nothing_is_said_before_it_is_decided() -> None:
    assert round_way(opened().state) is None


def test_of_long_trainings_only_the_latest_ways_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarmlearning.views.timeline.WAYS", 2)
    play = opened("a", "b", size=1000)
    for _ in range(4):
        play.complete()
    rounds = recorder_of(play.ledger).timeline.rounds
    assert [moments.way is not None for moments in rounds.values()][:4] == [False, False, True, True]


def test_a_survey_of_models_says_who_has_surveyed_what() -> None:
    play = opened(merge_method="geomedian")
    play.submit()
    merger = play.slice(0).merger
    play.merge(0)
    way = way_of(play)
    assert way.survey == 1
    (own,) = [each for each in way.mergers if each.uid == merger]
    assert (own.slices, own.merged) == (len(play.of(merger)), 1)
    assert merger_text(own, way.survey).startswith(
        f"surveys {100 * own.share:.0f} % in {own.slices} slices, 1 surveyed"
    )
    assert "They survey the models first (survey 1)" in way_text(way, 0)
    assert "its models are surveyed in" in headline(explained(play))
