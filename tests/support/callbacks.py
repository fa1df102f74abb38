"""For tests of the client: the smallest platform, a log that can be read, and callbacks joined to a fake SL."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from support.fake_sl import FakeSL
from swarmlearning.channel.messages import Open
from swarmlearning.client.base import SwarmCallbackBase
from swarmlearning.tensors.file import Array, Tensor

C = TypeVar("C", bound=SwarmCallbackBase)


class ArrayCallback(SwarmCallbackBase):
    """A model is a dict of NumPy arrays, changed in place. `evaluate` is a function of the model."""

    ml_platforms = ("ARRAYS", "NUMPY")
    platform_keywords = frozenset({"model", "evaluate"})

    def _prepare(self, options: Mapping[str, Any]) -> None:
        self.prepared = dict(options)
        self.model: dict[str, Array] = options["model"]
        self.evaluate = options.get("evaluate", lambda model: (None, None))

    def _model_tensors(self) -> dict[str, Tensor]:
        return {name: Tensor.of(array, name) for name, array in self.model.items()}

    def _load_tensors(self, arrays: Mapping[str, Array]) -> None:
        for name, array in arrays.items():
            self.model[name][...] = array

    def _evaluate(self) -> tuple[float | None, float | None]:
        loss, metric = self.evaluate(self.model)
        return loss, metric


def array_model(value: float = 0.0, shape: int | tuple[int, ...] = 6) -> dict[str, Any]:
    """A model of an `ArrayCallback`: weights `w`, all of this value, and a count `n` of 0."""
    return {"w": np.full(shape, value, np.float32), "n": np.array(0, np.int64)}


class Log(logging.Handler):
    """The lines of one test, as (level name, text)."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[tuple[str, str]] = []
        self.logger = logging.Logger("test", logging.DEBUG)
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, record.getMessage()))

    def texts(self, level: str) -> list[str]:
        return [text for name, text in self.lines if name == level]


class Join:
    """Makes callbacks that are connected to a fake SL: `join(sl, Class, **keywords)`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
        self._monkeypatch, self._log = monkeypatch, log
        self.made: list[SwarmCallbackBase] = []

    def __call__(self, sl: FakeSL, kind: Callable[..., C], **keywords: Any) -> C:
        self._monkeypatch.delenv("SWARM_LOOPBACK", raising=False)
        self._monkeypatch.setenv("SWARM_CHANNEL", str(sl.path))
        if "SWARM_RECONNECT_SECONDS" not in os.environ:
            self._monkeypatch.setenv("SWARM_RECONNECT_SECONDS", "0")
        callback = kind(**{"syncFrequency": 4, "minPeers": 1, "logger": self._log.logger} | keywords)
        self.made.append(callback)
        return callback

    def arrays(self, sl: FakeSL, **keywords: Any) -> ArrayCallback:
        return self(sl, ArrayCallback, **keywords)


def fixed_terms(kind: Callable[..., C], tmp_path: Path, join: Join, model: Any, **keywords: Any) -> Any:
    """The digests that a callback of this kind sends for the SL node to compare between sites."""
    with FakeSL(tmp_path) as sl:
        join(sl, kind, model=model, **keywords)
        [opened] = sl.of(Open)
    sl.path.unlink()
    return opened.fixed


def run_alone(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the script in a Python of its own, which has to exit with status 0."""
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        env={"PYTHONPATH": ":".join(sys.path), **environment},
    )
