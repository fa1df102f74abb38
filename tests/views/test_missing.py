"""Whose facts are missing in an explanation, why, and what to do."""

from typing import Any

import msgspec
import pytest

from swarmlearning.views.evidence import Account
from swarmlearning.views.explaintext import (
    notes,
)
from swarmlearning.views.times import RoundTimes, Script, Span, Times
from views.explaining import MINUTE, asked, closed, record, stated, three


def test_before_any_site_was_asked_no_facts_are_called_missing() -> None:
    assert asked(three(), MINUTE).missing == ()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (None, "alone for a: no script has connected since its SL was started. What to do: start its script"),
        ({"contract": "other\n"}, "alone for a: its SL takes part in contract other\\n now"),
        (
            {"round": 0},
            "alone for a: its SL is in round 0 still, and has not seen this one begin. What to do: ask again ",
        ),
        ({"round": 2}, "alone for a: its SL is in round 2 already. What to do: ask again in a moment"),
        ({"restarted": True}, "Partly from the ledger alone for a: its SL was started in the middle of this round"),
        ({"dropped": 3}, "Partly from the ledger alone for a: 3 pieces of its work had no room in its record"),
    ],
)
def test_a_site_whose_facts_of_the_round_in_progress_are_missing_is_named_with_the_reason_and_what_to_do(
    changes: dict[str, Any] | None, text: str
) -> None:
    play = three()
    times = stated(play, Span("train", 0), now=MINUTE, script=Script(10, 0, 20, 2.0)).times
    assert times is not None
    assert times.now is not None
    now = None if changes is None else msgspec.structs.replace(times.now, **changes)
    accounts = {uid: stated(play, now=MINUTE) for uid in "bc"} | {"a": Account(msgspec.structs.replace(times, now=now))}
    found = asked(play, MINUTE, accounts)
    (note,) = notes(found)
    assert text in note
    of_another_round = not note.startswith("Partly")
    doing = next(each.doing for each in found.sites if each.site == "a")
    assert doing == (None if of_another_round else "train"), "what it does in another round says nothing of this one"


def test_of_a_closed_round_it_is_said_who_has_no_record_of_it_or_has_not_seen_its_end() -> None:
    whole, open_still = record(Span("train", 0, 8000)), RoundTimes("contract", 1, 11, 500)
    found = closed({"a": whole, "b": Account(Times(99_000)), "c": Account(Times(99_000, open_still))})
    no_record, partly = notes(found)
    assert no_record.startswith("From the ledger alone for b: its SL has no record of this round")
    assert partly.startswith(
        "Partly from the ledger alone for c: its SL has not seen the end of this round yet. What to"
    )
    assert [(each.site, bool(each.why)) for each in found.sites] == [("a", False), ("b", True), ("c", False)]
