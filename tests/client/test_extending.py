"""The examples of the client in docs/extending.md run as they are printed there."""

import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from support.fake_sl import FakeSL


def test_the_documented_example_with_plain_functions_trains_in_a_swarm(
    tmp_path: Path, written: Callable[[str], Path], in_a_swarm: Callable[[FakeSL], None]
) -> None:
    script = written("Each site draws")
    with FakeSL(tmp_path / "sl") as sl:
        in_a_swarm(sl)
        shown = runpy.run_path(str(script))
    weights = shown["swarm"].parameters["weights"]
    assert np.argsort(weights).tolist() == [1, 3, 0, 2]  # as in the problem: 1, -2, 3, 0
    assert len(sl.models) == 1 + 5 + 1
    assert sorted(sl.models[0]) == ["bias", "weights"]


@pytest.mark.usefixtures("loopback")
def test_the_documented_example_with_plain_functions_runs_without_a_swarm(written: Callable[[str], Path]) -> None:
    shown = runpy.run_path(str(written("Each site draws")))
    assert shown["swarm"].parameters is shown["parameters"]
