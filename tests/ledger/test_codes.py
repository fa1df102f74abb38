import re
from pathlib import Path

import swarmlearning
from swarmlearning.ledger.codes import Code, is_transient

TRANSIENT = {
    "assignment-over",
    "below-min-peers",
    "closed-already",
    "collecting",
    "enough-peers",
    "excluded",
    "expired",
    "finished",
    "former-run",
    "frozen-already",
    "no-change",
    "no-progress",
    "no-round",
    "not-a-member",
    "not-checker",
    "not-closed",
    "not-counted",
    "not-leader",
    "not-merged",
    "not-merger",
    "old-incarnation",
    "other-assignment",
    "other-recipe",
    "other-round",
    "progress",
    "quota",
    "stale-base",
    "stale-term",
    "submitted-already",
    "too-late",
    "training-over",
    "wrong-weight",
}
ROOT = Path(swarmlearning.__file__).parent


def test_a_code_is_transient_if_and_only_if_it_passes_by_itself() -> None:
    assert {code for code in Code if code.transient} == {Code(value) for value in TRANSIENT}
    assert {code for code in Code if is_transient(str(code))} == {Code(value) for value in TRANSIENT}


def test_the_wire_form_of_a_code_is_its_name_in_lower_case_with_hyphens() -> None:
    assert [code.value for code in Code] == [code.name.lower().replace("_", "-") for code in Code]


def test_every_code_is_used_by_the_program() -> None:
    sources = (path.read_text() for path in ROOT.rglob("*.py") if path.name != "codes.py")
    used = {name for source in sources for name in re.findall(r"\bCode\.(\w+)", source)}
    assert {code.name for code in Code} - used == set()


def test_a_code_of_a_newer_program_is_not_transient() -> None:
    assert not is_transient("http-413")
