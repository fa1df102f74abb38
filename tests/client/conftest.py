"""Callbacks that are closed when a test ends, and their log."""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from support.callbacks import Join, Log
from swarmlearning.client.errors import SwarmError


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_LOOPBACK", "True")
    monkeypatch.delenv("SWARM_CHANNEL", raising=False)


@pytest.fixture
def join(monkeypatch: pytest.MonkeyPatch, log: Log) -> Iterator[Join]:
    join = Join(monkeypatch, log)
    yield join
    for callback in join.made:
        if callback._session is not None:
            with suppress(SwarmError):  # over already
                callback._session.kill(True, "the test has ended")
