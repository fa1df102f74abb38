"""Callbacks that are closed when a test ends, and their log."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from support.callbacks import Join, Log
from support.fake_sl import FakeSL
from swarmlearning.client.errors import SwarmError

EXTENDING = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """The one example of docs/extending.md that begins with these words, as a file."""

    def write(beginning: str) -> Path:
        (example,) = re.findall(rf'```python\n("""{beginning}.*?)```', EXTENDING.read_text(), re.DOTALL)
        path = tmp_path / "example.py"
        path.write_text(example)
        return path

    return write


@pytest.fixture
def in_a_swarm(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeSL], None]:
    """Sets the SL node for what is made next."""
    monkeypatch.delenv("SWARM_LOOPBACK", raising=False)
    return lambda sl: monkeypatch.setenv("SWARM_CHANNEL", str(sl.path))


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
