"""Real tests name the programs they need; where one is missing the summary says which, and what was not run."""

import signal

import pytest
from hypothesis import HealthCheck, settings

from support.tools import lacks, missing

pytest_plugins = ["support.apart", "support.fixtures"]

# How long an example takes says nothing on a busy machine.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(program): a real test that needs this program")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it to what it starts by `&`
        signal.signal(signal.SIGINT, signal.default_int_handler)  # else all that tests start would inherit that


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        program = marker.args[0]
        if reason := lacks(program):
            missing.setdefault(program, []).append(item.nodeid)
            pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for program, tests in sorted(missing.items()):
        terminalreporter.write_line(
            f"NOT RUN: {len(tests)} tests or files of tests, because {lacks(program)}", red=True
        )
