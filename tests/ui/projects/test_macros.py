"""Macros of a project's files: what takes their place, what is open, and what cannot be a value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmlearning.ui.projects.kinds import ProjectError
from swarmlearning.ui.projects.macros import Place, check_values, differing, macros_in, substituted, values_at

PLACE = Place("10.0.0.5", "/opt/swarm/", "mnist")


@pytest.mark.parametrize(
    ("macro", "value"),
    [
        ("<CURRENT-PATH>", "/opt/swarm"),
        ("<PROJECT>", "/opt/swarm/projects/mnist"),
        ("<PROJECT-MODEL>", "/opt/swarm/projects/mnist/model"),
        ("<PROJECT-CERTS>", "/opt/swarm/projects/mnist/certs"),
        ("<PROJECT-CACERTS>", "/opt/swarm/projects/mnist/cacerts"),
        ("<SWARM-NETWORK>", "host-1-net"),
        ("<LICENSE-SERVER-ADDRESS>", "null"),
        ("<HOST_ADDRESS>", "10.0.0.5"),
        ("<SL-IP-1>", "172.30.0.15"),
    ],
)
def test_each_macro_has_its_value(macro: str, value: str) -> None:
    named = {"<SWARM-NETWORK>": "host-1-net", "<SL-IP-1>": "172.30.0.15"}
    done = substituted(f"  a: {macro}/b", values_at(PLACE, named))
    assert done.text == f"  a: {value}/b"
    (replaced,) = done.replaced
    assert (replaced.line, replaced.column, replaced.macro, replaced.value) == (1, 6, macro, value)
    assert (replaced.before, replaced.after) == (f"  a: {macro}/b", done.text)


def test_what_has_no_value_is_open_once_and_stays() -> None:
    text = "a: <DNS>\nb: <DNS> <NETWORK-NAME>\n# <WORKING-DIR>\nc: 1 # <HOST-IP>"
    done = substituted(text, values_at(PLACE, {}))
    assert done == (text, (), ("<DNS>", "<NETWORK-NAME>"))


def test_columns_after_a_macro_are_those_of_the_file() -> None:
    done = substituted("a: {b: <HOST_ADDRESS>, c: <PROJECT>, d: x}", values_at(PLACE, {}))
    for word in ("a:", "c:", "d:"):
        assert done.original_column(1, done.text.index(word) + 1) == done_before(done.replaced[0].before, word)
    assert done.original_column(1, done.text.index("0.0.5") + 1) == 8  # within a value: where its macro stands
    assert done.original_column(2, 7) == 7


def done_before(text: str, word: str) -> int:
    return text.index(word) + 1


@given(st.lists(st.sampled_from(["<PROJECT>", "<HOST_ADDRESS>", "xy", " ", "<DNS>"]), max_size=12))
def test_every_place_outside_of_values_leads_back_to_the_same_text(words: list[str]) -> None:
    values = {"<PROJECT>": "/a/much/longer/path/than/before", "<HOST_ADDRESS>": "h"}
    text, after = "".join(words), "".join(values.get(word, word) for word in words)
    done = substituted(text, values)
    assert done.text == after
    at, before = 0, 0
    for word in words:
        assert done.original_column(1, at + 1) == before + 1
        at, before = at + len(values.get(word, word)), before + len(word)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"NETWORK": "a"}, "'NETWORK' is no macro: one is written as <SWARM-NETWORK>"),
        ({"<PROJECT>": "/a"}, "<PROJECT> follows from the host"),
        ({"<DNS>": ""}, "<DNS>: '' cannot be its value"),
        ({"<DNS>": "a: b"}, "<DNS>: 'a: b' cannot be its value"),
        ({"<DNS>": "a\nb"}, "cannot be its value"),
        ({"<DNS>": "[a]"}, "cannot be its value"),
        ({"<DNS>": "&a"}, "cannot be its value"),
        ({"<DNS>": "a:"}, "the last one no ':'"),
        ({"<DNS>": "x" * 201}, "cannot be its value"),
        ({f"<A-{number}>": "x" for number in range(101)}, "101 macros are named; a project names at most 100"),
    ],
)
def test_what_cannot_be_a_value_is_refused(values: dict[str, str], message: str) -> None:
    with pytest.raises(ProjectError) as caught:
        check_values(values)
    assert message in str(caught.value)


def test_macros_that_differ_between_two_places() -> None:
    one, other = values_at(PLACE, {}), values_at(Place("10.0.0.6", "/opt/swarm", "mnist"), {})
    assert differing(["a: <PROJECT-MODEL> <HOST_ADDRESS> # <SWARM-NETWORK>"], one, other) == ["<HOST_ADDRESS>"]
    assert macros_in("# <DNS>\na: <PROJECT> <PROJECT>") == ("<PROJECT>",)
