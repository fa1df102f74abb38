import re
from pathlib import Path

import pytest

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
    "not-closed",
    "not-counted",
    "not-leader",
    "old-incarnation",
    "other-assignment",
    "other-round",
    "progress",
    "quota",
    "stale-base",
    "stale-term",
    "submitted-already",
    "training-over",
    "wrong-weight",
}
ROOT = Path(swarmlearning.__file__).parent
SOURCES = "\n".join(path.read_text() for path in ROOT.rglob("*.py") if path.name != "codes.py")


@pytest.mark.parametrize("code", list(Code))
def test_a_code_is_transient_if_and_only_if_it_passes_by_itself(code: Code) -> None:
    assert code.transient == is_transient(str(code)) == (code.value in TRANSIENT)


@pytest.mark.parametrize("code", list(Code))
def test_the_wire_form_of_a_code_is_its_name_in_lower_case_with_hyphens(code: Code) -> None:
    assert code.value == code.name.lower().replace("_", "-")


@pytest.mark.parametrize("code", list(Code))
def test_every_code_is_used_by_the_program(code: Code) -> None:
    assert re.search(rf"\bCode\.{code.name}\b", SOURCES)


def test_a_code_of_a_newer_program_is_not_transient() -> None:
    assert not is_transient("http-413")
