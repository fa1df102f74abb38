"""Names as they are shown: they come from other organisations."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.network import Ledger
from swarmlearning.ledger.bodies import Register
from swarmlearning.ledger.contracts import network
from swarmlearning.views.names import LONGEST, displayed, name_of, names_of, node_names


def ledger_with(**names: str) -> Ledger:
    """A ledger with an SL for each UID and name."""
    made = Ledger()
    for uid, name in names.items():
        made.actor(uid, "SL")
        made.send(uid, Register("SL", name, made.actors[uid].pem, "0"), network.CONTRACT)
    return made


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("site-1", "site-1"),
        ("Universitätsklinikum 東京", "Universitätsklinikum 東京"),
        ("safe\u202egpj.exe", "safe\\u202egpj.exe"),
        ("\u2066isolated\u2069", "\\u2066isolated\\u2069"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("two\u2028lines", "two\\u2028lines"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("no\u00a0break", "no\\xa0break"),
        ("[red]x[/]", "[red]x[/]"),
    ],
)
def test_a_displayed_name_has_its_invisible_and_direction_marks_escaped(name: str, shown: str) -> None:
    assert displayed(name) == shown


@given(st.text(st.characters(), max_size=400))
def test_a_displayed_name_is_one_printable_line_of_bounded_length(name: str) -> None:
    shown = displayed(name)
    assert shown.isprintable()
    assert len(shown) <= 10 * LONGEST


def test_a_long_name_is_cut() -> None:
    assert displayed("x" * 160) == "x" * (LONGEST - 3) + "..."


def test_nodes_that_share_a_name_are_told_apart_by_their_uids() -> None:
    made = ledger_with(**{"aaaaaaaa-1111": "SL-1", "bbbbbbbb-2222": "SL-1", "cccccccc-3333": "SL-2"})
    names = node_names(made.chain.world)
    assert names["aaaaaaaa-1111"] == "SL-1 (aaaaaaaa)"
    assert names["bbbbbbbb-2222"] == "SL-1 (bbbbbbbb)"
    assert names["cccccccc-3333"] == "SL-2"


@pytest.mark.parametrize(
    ("certificate", "organisation", "both_there", "shown"),
    [
        ("SL-1", "org-1", False, {"aaaaaaaa-1111": "SL-1 (aaaaaaaa)", "bbbbbbbb-2222": "SL-1"}),
        ("SL-1", "org-1", True, {"aaaaaaaa-1111": "SL-1 (aaaaaaaa)", "bbbbbbbb-2222": "SL-1 (bbbbbbbb)"}),
        ("SL-9", "org-1", False, {"aaaaaaaa-1111": "SL-1 (aaaaaaaa)", "bbbbbbbb-2222": "SL-1 (bbbbbbbb)"}),
        ("SL-1", "org-2", False, {"aaaaaaaa-1111": "SL-1 (aaaaaaaa)", "bbbbbbbb-2222": "SL-1 (bbbbbbbb)"}),
    ],
    ids=["started anew", "both are there", "another certificate", "another organisation"],
)
def test_a_site_that_is_started_anew_keeps_its_name_beside_what_has_left(
    certificate: str, organisation: str, both_there: bool, shown: dict[str, str]
) -> None:
    made = ledger_with(**{"aaaaaaaa-1111": "SL-1", "bbbbbbbb-2222": "SL-1"})
    first, second = (each for each in network.nodes(made.chain.world) if each.name == "SL-1")
    before = msgspec.structs.replace(first, subject="SL-1", organisation="org-1", left=not both_there)
    now = msgspec.structs.replace(second, subject=certificate, organisation=organisation)
    assert names_of([before, now]) == shown


def test_a_uid_without_a_name_is_shown_safely_itself() -> None:
    assert name_of({}, "uid\u202e") == "uid\\u202e"
    assert name_of({"uid": "SL-1"}, "uid") == "SL-1"
