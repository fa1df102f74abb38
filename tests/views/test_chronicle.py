"""What blocks say, as events, rounds and absences, without what they mean being replayed."""

from collections.abc import Sequence

from support.network import CONTRACT, Ledger, read
from support.rounds import SITES, UNUSABLE, merge_again, publish, report_all, submit, three_sites
from swarmlearning.ledger.bodies import Back, Lost
from swarmlearning.ledger.contracts import network
from swarmlearning.views.chronicle import Chronicle


def told(ledger: Ledger, start: int = 0, names: dict[str, str] | None = None, sns: Sequence[str] = ()) -> Chronicle:
    found = Chronicle(names, sns)
    for raw in ledger.blocks[start:]:
        found.add(read(raw))
    return found


def faults(found: Chronicle) -> list[str]:
    return [
        f"{event.level}: {found.name(event.uid)} {event.text} ({event.round})"
        for event in found.events
        if event.level != "note"
    ]


def test_rounds_and_faults_of_a_training() -> None:
    ledger = three_sites()
    submit(ledger, "site-1", "site-2")
    submit(ledger, "site-3", digest=UNUSABLE)
    publish(ledger, "a" * 64)
    begun = len(ledger.blocks)
    report_all(ledger)
    ledger.send("sn-1", Lost("site-2", 1), network.CONTRACT)
    ledger.blocks.append(ledger.blocks[-1])  # as another SN reports it, too
    submit(ledger, "site-1")
    ledger.send("sn-1", Back("site-2", 1), network.CONTRACT)
    ledger.send("site-3", Lost("site-3", 1), network.CONTRACT)
    ledger.send("sn-1", Lost("sn-1", 1), network.CONTRACT)

    found = told(ledger)
    first, second = found.rounds
    assert (first.contract, first.round, second.round) == (CONTRACT, 0, 1)
    assert set(first.submitted) == set(SITES)
    assert set(first.contributed) == {"site-1", "site-2"}
    assert first.left_out == {"site-3": "non-finite: NaN in a"}
    assert first.leader in SITES
    assert first.begun_ms <= min(first.submitted.values()) <= first.ended_ms == second.begun_ms
    assert (second.ended_ms, set(second.submitted)) == (0, {"site-1"})
    assert [(each.uid, each.from_ms <= each.to_ms) for each in found.absences] == [("site-2", True), ("site-3", False)]
    assert faults(found) == [
        "warning: site-3 its model is left out: non-finite: NaN in a (0)",
        "fault: site-2 is lost: its lease is gone (None)",
        "fault: site-3 has lost its ML process (None)",
    ]
    assert (found.first, found.last) == (0, ledger.chain.height)
    assert set(found.seen) == set(SITES)
    notes = [event.text for event in found.events if event.uid == "sn-1"]
    assert notes[-1] == "has no vote: it does not watch who is present"

    excerpt = told(ledger, begun, {"site-2": "two"})
    assert (excerpt.first, [span.round for span in excerpt.rounds]) == (begun, [1])
    assert [event.text for event in told(ledger, begun, {}, ["sn-1"]).events if event.uid == "sn-1"] == notes[-1:]
    assert faults(excerpt)[0] == "fault: two is lost: its lease is gone (None)"
    assert excerpt.name("site-1") == "site-1"


def test_a_round_that_is_made_again() -> None:
    ledger = three_sites()
    merge_again(ledger, "a" * 64)
    found = told(ledger)
    assert "fault: SN-1 has the round made again: too few hold its result (0)" in faults(found)
    assert [span.round for span in found.rounds] == [0, 0]
    assert all(span.ended_ms for span in found.rounds)


def test_a_node_without_a_name_is_named_by_its_uid() -> None:
    assert Chronicle().name("0a1b2c3d-unknown\x1b") == "0a1b2c3d"
