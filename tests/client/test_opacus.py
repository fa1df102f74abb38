"""The example of docs/privacy.md: a script that protects single records with Opacus, in a swarm."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from support.fake_sl import FakeSL, plus
from support.tools import require
from swarmlearning.channel.messages import Close, Open, Sync

require("opacus")

PRIVACY = Path(__file__).parents[2] / "docs" / "privacy.md"
torch.set_num_threads(1)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Secure RNG turned off"),
    pytest.mark.filterwarnings("ignore:Optimal order is the"),
    pytest.mark.filterwarnings("ignore:Full backward hook is firing"),
]


def build() -> tuple[nn.Module, torch.optim.Optimizer, DataLoader[tuple[torch.Tensor, ...]]]:
    """A model, its optimizer, and 64 batches of random samples."""
    torch.manual_seed(0)
    features = torch.randn(256, 4)
    data = TensorDataset(features, (features.sum(1) > 0).long())
    model = nn.Sequential(nn.Linear(4, 8), nn.GroupNorm(2, 8), nn.ReLU(), nn.Linear(8, 2))
    return model, torch.optim.SGD(model.parameters(), lr=0.1), DataLoader(data, batch_size=4)


def test_the_documented_script_trains_with_opacus_from_the_merged_models(
    tmp_path: Path, in_a_swarm: Callable[[FakeSL], None], capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(from opacus.*?)```", PRIVACY.read_text(), re.DOTALL)
    script = tmp_path / "train.py"
    script.write_text(example)
    given: dict[str, Any] = {"build": build, "epochs": 2, "loss": nn.functional.cross_entropy}
    with FakeSL(tmp_path / "sl", merge=plus(100.0)) as sl:
        in_a_swarm(sl)
        ended = runpy.run_path(str(script), given)
    kinds = [type(message) for message in sl.received]
    assert [kinds.count(kind) for kind in (Open, Sync, Close)] == [
        1,
        1 + 2 * 64 // 32,
        1,
    ]  # the first one: round 0
    first, last = sl.models[0], sl.models[-1]
    names = [name for name in first if name.endswith("weight")]
    assert names
    for name in names:  # each merged model was 100 more, and training went on from it
        assert np.all(last[name] - first[name] > 50 * (len(sl.models) - 1)), name
    assert 0 < float(capsys.readouterr().out.splitlines()[-1]) < 100
    assert ended["engine"].get_epsilon(delta=1e-5) > 0
