"""What docs/extending.md shows of the client runs as it stands there."""

import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.fake_sl import FakeSL

EXTENDING = Path(__file__).parents[2] / "docs" / "extending.md"


def written(tmp_path: Path, beginning: str) -> Path:
    """The one example that begins with these words, as a file."""
    (example,) = re.findall(rf'```python\n("""{beginning}.*?)```', EXTENDING.read_text(), re.DOTALL)
    path = tmp_path / "example.py"
    path.write_text(example)
    return path


@pytest.fixture
def in_a_swarm(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that names the SL node to what is made next."""
    monkeypatch.delenv("SWARM_LOOPBACK", raising=False)

    def use(sl: FakeSL) -> None:
        monkeypatch.setenv("SWARM_CHANNEL", str(sl.path))

    return use


def test_plain_functions(tmp_path: Path, in_a_swarm: Any) -> None:
    script = written(tmp_path, "Each site draws")
    with FakeSL(tmp_path / "sl") as sl:
        in_a_swarm(sl)
        shown = runpy.run_path(str(script))
    weights = shown["swarm"].parameters["weights"]
    assert np.argsort(weights).tolist() == [1, 3, 0, 2]  # as in the problem: 1, -2, 3, 0
    assert len(sl.models) == 1 + 5 + 1
    assert sorted(sl.models[0]) == ["bias", "weights"]


@pytest.mark.usefixtures("loopback")
def test_plain_functions_without_a_swarm(tmp_path: Path) -> None:
    shown = runpy.run_path(str(written(tmp_path, "Each site draws")))
    assert shown["swarm"].parameters is shown["parameters"]
