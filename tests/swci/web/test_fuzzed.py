"""The web API with whatever its description allows, and what it does not: no 5xx, and no answer that is not documented.

In process, over a ledger in memory.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from support.webmode import ledger_session
from swarmlearning.swci.web.app import make_api

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


PARTS = (
    "/exec",
    "/uploadTaskDef",
    *(f"/v1/{name}" for name in ("nodes", "contracts", "tasks", "taskrunners", "proposals")),
)


def description(folder: Path) -> Any:
    """The description of an application with a context of a ledger."""
    return schemathesis.openapi.from_asgi("/openapi.json", make_api(asyncio.run(ledger_session(folder))))


@pytest.mark.parametrize("part", PARTS)
def test_every_answer_is_documented(part: str, tmp_path: Path) -> None:
    operations = [found.ok() for found in description(tmp_path).get_all_operations()]
    for operation in (each for each in operations if each.path.startswith(part)):

        @settings(max_examples=12, derandomize=True, database=None, phases=[Phase.generate])
        @given(case=operation.as_strategy())
        def answer(case: Any) -> None:
            case.call_and_validate(checks=CHECKS)

        answer()


def test_no_part_is_left_out(tmp_path: Path) -> None:
    paths = [found.ok().path for found in description(tmp_path).get_all_operations()]
    assert [each for each in paths if not each.startswith(PARTS)] == []
    assert all(any(each.startswith(part) for each in paths) for part in PARTS)
