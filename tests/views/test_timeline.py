"""The moments of rounds, collected from a chain's blocks."""

from support.rounds import merge_again, publish, report_all, submit, three_sites
from swarmlearning.cli.report import recorded
from swarmlearning.ledger.history import steps
from swarmlearning.views.report import Recorder
from swarmlearning.views.timeline import Timeline


def test_a_round_has_the_moments_of_its_models_its_freezing_and_its_end() -> None:
    ledger = three_sites()
    submit(ledger, "site-2", "site-1", "site-3")
    publish(ledger, "1" * 64)
    report_all(ledger)
    submit(ledger, "site-3")
    found = timeline_of(ledger.blocks)
    first, second = found.rounds.values()
    assert list(first.models) == ["site-2", "site-1", "site-3"]
    assert first.frozen_ms is not None
    assert first.closed_ms is not None
    assert first.opened_ms <= first.models["site-2"] <= first.models["site-3"] <= first.frozen_ms <= first.closed_ms
    assert (second.opened_ms, list(second.models), second.closed_ms) == (first.closed_ms, ["site-3"], None)
    state = ledger.training
    assert state.round is not None
    assert [uid for _, uid in second.leaders] == [state.round.leader]


def test_a_round_that_is_made_again_has_the_moments_of_the_last_time() -> None:
    ledger = three_sites()
    merge_again(ledger, "1" * 64)
    found = timeline_of(ledger.blocks)
    again = next(iter(found.rounds.values()))
    assert again.closed_ms is not None
    assert again.closed_ms >= max(again.models.values()) >= again.opened_ms


def test_what_was_collected_goes_on_after_it_was_saved() -> None:
    ledger = three_sites()
    submit(ledger, "site-1", "site-2")
    recorder = Recorder()
    for step in steps(ledger.blocks):
        recorder.add(step)
    known = len(ledger.blocks)
    resumed = Recorder.resumed(recorder.chain, recorder.saved())
    submit(ledger, "site-3")
    publish(ledger, "1" * 64)
    chain = resumed.chain
    for raw in ledger.blocks[known:]:
        step = chain.append(raw)
        resumed.add(step)
        chain = step.chain
    assert resumed.timeline.rounds == timeline_of(ledger.blocks).rounds
    assert recorded(ledger.blocks, "").rounds, "the report is what it was"


def timeline_of(blocks: list[bytes]) -> Timeline:
    recorder = Recorder()
    for step in steps(blocks):
        recorder.add(step)
    return recorder.timeline
