"""The table of `make e2e-operate`: its tests exist, and its last line counts what held."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from operate.report import Report
from operate.table import ROWS
from security.table import sentence
from support.checks import HELD, MISSED

ROOT = Path(__file__).parents[2]
TESTS = [test for row in ROWS for test in row.tests]


@pytest.mark.parametrize("file", sorted({test.partition("::")[0] for test in TESTS}))
def test_the_tests_of_the_table_exist(file: str) -> None:
    found = ast.parse((ROOT / file).read_text()).body
    names = {each.name for each in found if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert {name for test in TESTS for place, _, name in [test.partition("::")] if place == file} <= names


def reported(first: str, *properties: tuple[str, str]) -> Report:
    """A report in which the first test has this outcome and these properties, and all others have passed."""
    report = Report()
    for number, test in enumerate(TESTS):
        outcome = "passed" if number else first
        longrepr = ("file", 1, "Skipped: etcd is missing") if outcome == "skipped" else outcome
        named = [] if number else [*properties]
        made = pytest.TestReport(test, ("", None, ""), {}, outcome, longrepr, "call", user_properties=named)  # type: ignore[arg-type]
        report.pytest_runtest_logreport(made)
    return report


def test_each_check_of_a_story_counts() -> None:
    lines = list(reported("passed", (HELD, "one holds"), (HELD, "another holds")).lines())
    assert lines[1:3] == ["  passed  one holds", "  passed  another holds"]
    assert lines[-1] == f"operate: {len(TESTS) + 1} checks passed"


@pytest.mark.parametrize("properties", [[(MISSED, "another holds")], []])
def test_a_check_that_fails_is_named(properties: list[tuple[str, str]]) -> None:
    report = reported("failed", (HELD, "one holds"), *properties)
    assert f"  FAILED  {properties[0][1] if properties else sentence(TESTS[0])}" in report.lines()
    assert list(report.lines())[-1] == f"operate: {len(TESTS)} checks passed, 1 failed"


def test_what_cannot_be_run_here_is_named_with_the_reason() -> None:
    lines = list(reported("skipped").lines())
    assert lines[-2:] == [
        f"not run: {sentence(TESTS[0])} (etcd is missing)",
        f"operate: {len(TESTS) - 1} checks passed",
    ]


def test_a_test_that_was_not_reported_counts_as_failed() -> None:
    assert Report().missed == len(TESTS)


def test_the_command_finds_all_its_tests(tmp_path: Path) -> None:
    """Pytest refuses plugins that were imported before it began. Without podman on the path no image is built."""
    environment = {**os.environ, "PATH": str(tmp_path), "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT / 'tools'}"}
    command = [sys.executable, "-m", "operate", "--collect-only", "-p", "no:xdist"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=150)
    assert set(TESTS) <= {line.partition("[")[0] for line in run.stdout.splitlines()}, run.stderr
