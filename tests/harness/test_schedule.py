"""The order of the tests, what a run prints at its end, and that workers beside each other change neither."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.schedule import LONG, TOGETHER, WAITING, History, in_order, room_of, up_to_the_end, updated

TESTS = Path(__file__).parents[1]
ROUND, CHAIN, NODE, SYSTEM = (
    "tests/rounds/test_swarm.py::test_a",
    "tests/ledger/test_chain.py::test_a",
    "tests/sn/test_node.py::test_a",
    "tests/system/test_training.py::test_a",
)


def test_without_a_history_the_pure_rooms_come_first() -> None:
    assert in_order([SYSTEM, ROUND, NODE, CHAIN], {}) == [ROUND, CHAIN, SYSTEM, NODE]


def test_files_with_slow_tests_come_before_those_with_fast_ones() -> None:
    history = {NODE: (0.0, 1.0), SYSTEM: (0.0, 20.0)}
    assert in_order([NODE, ROUND, SYSTEM], history) == [ROUND, SYSTEM, NODE]


def test_without_a_history_the_files_that_take_long_begin_before_the_others() -> None:
    longest, *_, shorter = (f"{file}::test_a" for file in LONG)
    assert in_order([SYSTEM, shorter, longest, ROUND], {}) == [ROUND, longest, shorter, SYSTEM]
    assert all((TESTS.parent / file).is_file() for file in LONG)


def test_tests_of_images_do_not_begin_before_the_images_are_there_however_long_they_have_waited() -> None:
    images, *_ = WAITING
    history = {NODE: (0.0, 1.0), SYSTEM: (0.0, 80.0), f"{images}::test_a": (0.0, 200.0)}
    assert in_order(history, history) == [SYSTEM, f"{images}::test_a", NODE]
    assert all((TESTS.parent / file).is_file() for file in WAITING)


def test_a_file_stays_together_so_that_its_fixtures_are_made_once() -> None:
    first, second = f"{NODE}_1", f"{NODE}_2"
    history = {first: (0.0, 0.1), SYSTEM: (0.0, 2.0), second: (0.0, 9.0)}
    assert in_order([SYSTEM, first, second], history) == [first, second, SYSTEM]


def test_a_worker_that_begins_a_file_with_a_dear_fixture_gets_all_of_its_tests() -> None:
    dear, *_ = TOGETHER
    tests = [SYSTEM, f"{dear}::test_a", f"{dear}::test_b", f"{dear}::test_c", NODE, f"{NODE}_2"]
    everything = list(range(len(tests)))
    assert [up_to_the_end(tests, everything[done:], 1) for done in (0, 1, 2, 4, 5)] == [1, 3, 2, 1, 1]
    assert up_to_the_end(tests, everything, 2) == 4
    assert up_to_the_end(tests, [], 1) == 1
    assert up_to_the_end(tests, everything, 0) == 0
    assert all('scope="module"' in (TESTS.parent / file).read_text() for file in TOGETHER)


def test_what_failed_in_recent_runs_comes_before_all_else_and_most_failures_first() -> None:
    history: History = updated({}, {NODE: (True, 1.0), SYSTEM: (True, 20.0)})
    history = updated(history, {NODE: (True, 1.0), SYSTEM: (False, 20.0)})
    assert in_order([ROUND, SYSTEM, NODE], history) == [NODE, SYSTEM, ROUND]


def test_a_partial_run_keeps_what_is_known_of_the_other_tests() -> None:
    assert updated({NODE: (1.0, 5.0)}, {ROUND: (False, 0.1)}) == {NODE: (1.0, 5.0), ROUND: (0.0, 0.1)}


@pytest.mark.parametrize(
    ("test", "room"), [(ROUND, "rounds"), ("tests/a/b/test_c.py::test_d", "a"), ("tests/test_address.py::test_d", ".")]
)
def test_the_room_of_a_test_is_its_folder_below_tests(test: str, room: str) -> None:
    assert room_of(test) == room


# --- whole runs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Two rooms with a test that passes, one that fails, and some that cannot run for two reasons."""
    plugins = '["support.tools", "support.apart", "support.schedule"]'
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    (tmp_path / "conftest.py").write_text(
        f"import pytest\nfrom support import tools\npytest_plugins = {plugins}\n"
        "def pytest_configure(config):\n"
        "    tools.CHECKS.update(engine=lambda: 'the engine is missing', oven=lambda: 'the oven is cold')\n"
    )
    needing = "from support.tools import needs\n@needs('engine')\ndef test_{}():\n    pass\n"
    (tmp_path / "tests" / "ledger").mkdir(parents=True)
    (tmp_path / "tests" / "sn").mkdir()
    (tmp_path / "tests" / "ledger" / "test_one.py").write_text(needing.format("one") + "def test_right(): pass\n")
    (tmp_path / "tests" / "sn" / "test_two.py").write_text(needing.format("two") + "def test_wrong(): assert 1 == 2\n")
    (tmp_path / "tests" / "sn" / "test_three.py").write_text("from support.tools import require\nrequire('oven')\n")
    (tmp_path / "tests" / "sn" / "test_jax.py").write_text("def test_apart():\n    pass\n")
    return tmp_path


def run_pytest(suite: Path, *options: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]), "COLUMNS": "200"}
    command = [sys.executable, "-m", "pytest", "-p", "no:schemathesis", *options, str(suite)]
    ran = subprocess.run(command, env=environment, cwd=suite, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_the_summary_counts_what_did_not_run_and_shows_failures_whichever_process_ran_them(
    suite: Path, workers: tuple[str, ...]
) -> None:
    output = run_pytest(suite, *workers)
    assert "1 failed, 2 passed, 3 skipped" in output
    assert "NOT RUN: 2 tests or files of tests, because the engine is missing" in output
    assert "NOT RUN: 1 tests or files of tests, because the oven is cold" in output
    assert "test_jax.py::in a process of its own: 1 passed" in output
    assert ">   def test_wrong(): assert 1 == 2" in output
    rooms = output.partition("seconds a room")[2]
    assert "  ledger\n" in rooms
    assert "  sn\n" in rooms


def test_a_file_with_a_dear_fixture_is_run_by_one_worker(suite: Path) -> None:
    dear, *_ = TOGETHER
    (suite / "tests" / "sn" / "test_jax.py").unlink()
    file = suite / dear
    file.parent.mkdir(parents=True)
    file.write_text("import pytest\n@pytest.mark.parametrize('number', range(12))\ndef test_it(number): pass\n")
    output = run_pytest(suite, "-n", "3", "--dist", "load", "--maxschedchunk", "1", "--verbose")
    assert "1 failed, 13 passed" in output
    assert len({line.split()[0] for line in output.splitlines() if dear in line and "PASSED" in line}) == 1


def test_the_next_run_begins_with_the_test_that_failed(suite: Path) -> None:
    (suite / "tests" / "sn" / "test_jax.py").unlink()  # it would start a process in each run
    run_pytest(suite, "-n", "2")
    lines = run_pytest(suite, "--verbose").splitlines()
    first = next(line for line in lines if "::" in line)
    assert first.startswith("tests/sn/test_two.py::test_wrong FAILED")
