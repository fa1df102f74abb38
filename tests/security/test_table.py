"""The table of attacks: every row has checks that exist, and a check that fails is reported as broken."""

import ast
import io
from pathlib import Path

import pytest

from security.report import Report
from security.table import ROWS, sentence

ROOT = Path(__file__).parents[2]
CHECKS = sorted({check for row in ROWS for check in row.checks})


def test_every_kind_of_attack_has_checks() -> None:
    assert [row.number for row in ROWS] == [f"B{number}" for number in range(1, 24)]
    assert all(row.checks for row in ROWS)


def test_every_check_of_the_table_is_a_test_that_exists() -> None:
    written = {check.partition("::")[0] for check in CHECKS}
    found = {f"{file}::{name}" for file in written for name in functions_of(ROOT / file)}
    assert set(CHECKS) - found == set()


def functions_of(file: Path) -> set[str]:
    """The functions of this file."""
    body = ast.parse(file.read_text()).body
    return {each.name for each in body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


def reported(**outcomes: str) -> Report:
    """A report of all checks as passed, but for those of these numbers."""
    report = Report(io.StringIO())
    for number, check in enumerate(CHECKS):
        outcome = outcomes.get(f"check_{number}", "passed")
        if outcome != "absent":
            longrepr = ("file", 1, "Skipped: etcd is missing") if outcome == "skipped" else outcome
            made = pytest.TestReport(f"{check}[some]", ("", None, ""), {}, outcome, longrepr, "call")  # type: ignore[arg-type]
            report.pytest_runtest_logreport(made)
    return report


def test_a_run_in_which_all_checks_pass_holds() -> None:
    report = reported()
    assert report.broken == 0
    assert list(report.lines())[-1] == f"security: {len(CHECKS)} held, 0 broke"


@pytest.mark.parametrize("outcome", ["failed", "absent"])
def test_a_check_that_fails_or_was_not_reported_is_named_as_broken(outcome: str) -> None:
    report = reported(check_3=outcome)
    assert report.broken == 1
    assert any(line.startswith(f"  broke    {sentence(CHECKS[3])}") for line in report.lines())
    assert list(report.lines())[-1] == f"security: {len(CHECKS) - 1} held, 1 broke"


def test_a_check_that_cannot_be_run_here_is_counted_apart_with_the_reason() -> None:
    lines = list(reported(check_0="skipped").lines())
    assert f"  not run  {sentence(CHECKS[0])} (etcd is missing)" in lines
    assert lines[-2:] == [
        "(1 not run: what they need is missing here)",
        f"security: {len(CHECKS) - 1} held, 0 broke",
    ]


def test_the_threat_model_refers_to_every_row_of_the_table() -> None:
    text = (ROOT / "docs" / "security.md").read_text().partition("\n## Threats\n")[2].partition("\n## ")[0]
    checked = {
        number for line in text.splitlines() if line.startswith("|") for number in line.split("|")[-2].split(", ")
    }
    assert {row.number for row in ROWS} <= {number.strip() for number in checked}
