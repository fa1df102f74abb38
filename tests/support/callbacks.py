"""For tests of the client: the smallest platform, a log that can be read, and callbacks joined to a fake SL."""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pytest

from support.fake_sl import FakeSL
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
    """Makes callbacks that talk to a fake SL: `join(sl, Class, **keywords)`."""

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
