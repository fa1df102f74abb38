"""Plugins and settings of all tests."""

import gc
import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from support.uids import accept_names

pytest_plugins = [
    "support.tools",
    "support.apart",
    "support.fixtures",
    "support.browser",
    "support.schedule",
    "simulation.summary",
]

# How long an example takes says nothing on a busy machine.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

accept_names()

for size in ("COLUMNS", "LINES"):
    os.environ.pop(size, None)  # the terminal's, which would wrap the tables that commands print into pipes


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it to what it starts by `&`
        signal.signal(signal.SIGINT, signal.default_int_handler)  # else all that tests start would inherit that
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as nohup leaves it: a handler is not inherited
        signal.signal(signal.SIGHUP, lambda number, frame: None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """The tests and all that they import stay: no search for garbage goes through them, neither now nor in a test."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
