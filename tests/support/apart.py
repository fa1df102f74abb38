"""Plugin of pytest: tests of a framework (`test_keras.py`, ...) run in a process of their own, as one test of the run
that finds them.

A framework leaves threads, hooks of `fork` that warn, environment variables and some hundred MB in the process that
imports it: nothing that later tests should meet. `pytest FILE` and `pytest FILE::TEST` run in the process that was
started, with all that pytest offers.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.tools import FRAMEWORKS, needs

COLLECTED_WITH_OTHERS = {"transformers"}
"""What other tests import too: torchmetrics does."""

LONGEST = 900  # seconds that one file may take
ENDED = "ended"
"""The property of such a test that holds what it did not run, and pytest's last line."""


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.File | None:
    framework = module_path.stem.removeprefix("test_")
    if framework not in FRAMEWORKS or is_all_that_runs(module_path, parent.config):
        return None
    apart: Apart = Apart.from_parent(parent, path=module_path)
    apart.add_marker(needs(framework))
    apart.add_marker(pytest.mark.timeout(0))  # each of its tests has its own
    return apart


def pytest_collection_finish(session: pytest.Session) -> None:
    """Raises `pytest.UsageError` if other tests have imported a framework, whose own tests run apart in vain."""
    apart = {item.path.stem.removeprefix("test_") for item in session.items if isinstance(item, OwnProcess)}
    packages = {package for framework in apart for package in FRAMEWORKS[framework]} - COLLECTED_WITH_OTHERS
    if imported := sorted(packages & sys.modules.keys()):
        raise pytest.UsageError(f"collecting the tests has imported {', '.join(imported)}: import it in a test")


def is_all_that_runs(path: Path, config: pytest.Config) -> bool:
    """True if nobody else's tests run in this process."""
    return {config.invocation_params.dir / arg.partition("::")[0] for arg in config.args} == {path}


class Apart(pytest.File):
    """A file that is not imported here."""

    def collect(self) -> Iterator[pytest.Item]:
        yield OwnProcess.from_parent(self, name="in a process of its own")


class OwnProcess(pytest.Item):
    """All tests of the file."""

    def runtest(self) -> None:
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", self.path, "-ra", "-p", "no:cacheprovider"],
            cwd=self.config.rootpath,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST,
        )
        lines = ran.stdout.splitlines()
        unrun = [line for line in lines if line.startswith(("NOT RUN", "SKIPPED"))]
        self.user_properties.append((ENDED, [*unrun, *lines[-1:]]))
        if ran.returncode != 0:
            pytest.fail(f"{ran.stdout}\n(exit status {ran.returncode})", pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]:
        for line in dict(report.user_properties).get(ENDED, []):
            terminalreporter.write_line(f"{report.nodeid}: {line.strip('= ')}")
