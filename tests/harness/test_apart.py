"""Tests of frameworks leave nothing behind in the process of all the others, and none of them is lost there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.tools import FRAMEWORKS

TESTS = Path(__file__).parents[1]


def run_pytest(*arguments: str | Path) -> tuple[int, str]:
    """Exit status and output, of which the last line names all modules that were imported."""
    code = "import sys, pytest; status = pytest.main(sys.argv[1:]); print(*sys.modules); sys.exit(status)"
    command = [sys.executable, "-c", code, "-p", "no:cacheprovider", "-p", "no:schemathesis", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    ran = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Two files of tests, of which one is for a framework."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["support.apart"]\n')
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    (tmp_path / "test_other.py").write_text("def test_nothing():\n    pass\n")
    (tmp_path / "test_jax.py").write_text(
        "import colorsys, pytest\n"
        "def test_right():\n    pass\n"
        "def test_wrong():\n    assert colorsys.rgb_to_yiq(0, 0, 0) == 1\n"
        "@pytest.mark.skip(reason='not today')\ndef test_never():\n    pass\n"
    )
    return tmp_path


def test_a_run_whose_other_tests_import_a_framework_is_refused(suite: Path) -> None:
    (suite / "jax.py").touch()
    (suite / "test_other.py").write_text("import jax\n\ndef test_nothing():\n    pass\n")
    status, output = run_pytest(suite, "--override-ini", f"pythonpath={suite}")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "collecting the tests has imported jax: import it in a test" in output


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_tests_of_each_framework_are_in_a_file_that_runs_in_a_process_of_its_own(framework: str) -> None:
    assert list(TESTS.glob(f"*/test_{framework}.py"))


def test_a_failure_in_a_process_of_its_own_is_a_failure_of_the_run(suite: Path) -> None:
    status, output = run_pytest(suite)
    assert status == 1
    assert "1 failed, 1 passed" in output
    assert "assert (0.0, 0.0, 0.0) == 1" in output
    assert "test_jax.py::in a process of its own: 1 failed, 1 passed, 1 skipped" in output
    assert "test_jax.py::in a process of its own: SKIPPED [1] test_jax.py:6: not today" in output
    assert "colorsys" not in output.splitlines()[-1].split()


@pytest.mark.parametrize("test", ["", "::test_wrong"])
def test_a_framework_test_that_runs_alone_runs_in_the_started_process(suite: Path, test: str) -> None:
    status, output = run_pytest(f"{suite / 'test_jax.py'}{test}")
    assert status == 1
    assert "in a process of its own" not in output
    assert "colorsys" in output.splitlines()[-1].split()
