"""The registry of methods, and the example of docs/extending.md as it stands there."""

import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from merge.model_files import merge_arrays, sources
from swarmlearning.choices import MergeMethod
from swarmlearning.merge.merging import Exclusion, Reason, merge
from swarmlearning.merge.methods import METHODS
from swarmlearning.tensors.file import read

EXTENDING = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture
def trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented method, entered in the registry."""
    (example,) = re.findall(r"```python\n(\"\"\"The trimmed mean.*?)```", EXTENDING.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, str(EXTENDING), "exec"), names)
    monkeypatch.setitem(METHODS, "trimmed", names["trimmed"])


def test_every_method_that_users_can_choose_is_implemented() -> None:
    assert tuple(METHODS) == get_args(MergeMethod)


@pytest.mark.usefixtures("trimmed")
def test_the_documented_method_merges_and_the_engine_does_everything_else(tmp_path: Path) -> None:
    values = [{"w": np.full(2, value, np.float32), "n": np.array([int(value)])} for value in (1, 2, 3, 1e9, 7)]
    values[4]["w"][1] = np.nan
    receipt = merge("trimmed", sources(tmp_path, values), None, tmp_path / "out", influence=True)
    merged = read(tmp_path / "out")
    assert (merged["w"].tolist(), merged["n"].tolist()) == ([2.5, 2.5], [2])
    assert (receipt.method, receipt.coefficients) == ("trimmed", ())
    assert receipt.excluded == (Exclusion("e", Reason.NON_FINITE, "w"),)
    assert receipt.influences[3].distance == 1.41e9


@pytest.mark.usefixtures("trimmed")
def test_the_documented_method_accepts_few_models_and_does_not_depend_on_their_order() -> None:
    rows = [np.array([value, -value], np.float32) for value in (0.1, 0.2, 0.3, 0.7, 0.9)]
    assert merge_arrays("trimmed", rows[:2]).tolist() == merge_arrays("mean", rows[:2]).tolist()
    assert merge_arrays("trimmed", rows).tobytes() == merge_arrays("trimmed", rows[::-1]).tobytes()
