"""Training on a GPU: the model is there, what is merged comes from and goes to it, and nothing of training changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from support.callbacks import Join
from support.fake_sl import Arrays, FakeSL
from support.tools import needs
from swarmlearning.pyt import SwarmCallback

pytestmark = needs("cuda")

X, Y = torch.randn(96, 8, generator=torch.Generator().manual_seed(1)), torch.arange(96) % 3


def net() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
    return nn.Sequential(*layers).to("cuda")


def plus(value: int) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {name: (array + value).astype(array.dtype) for name, array in arrays.items()}


def test_merged_values_arrive_in_place_on_the_gpu(tmp_path: Path, join: Join) -> None:
    model = net()
    model.register_buffer("brain", torch.arange(4, dtype=torch.bfloat16, device="cuda"))
    places = {name: value.data_ptr() for name, value in model.state_dict().items()}
    before = {name: value.cpu().clone() for name, value in model.state_dict().items()}
    with FakeSL(tmp_path, merge=lambda arrays: {**plus(1)(arrays), "brain": arrays["brain"]}) as sl:
        join(sl, SwarmCallback, model=model).on_train_begin()
        assert {entry.name: entry.dtype for entry in sl.headers[0].entries}["brain"] == "BF16"
    for name, value in model.state_dict().items():
        assert (value.device.type, value.data_ptr()) == ("cuda", places[name])
        assert torch.equal(value.cpu(), before[name] + (name != "brain")), name


def train(join: Join, folder: Path, **keywords: Any) -> list[torch.Tensor]:
    """Mixed precision with dropout; a merge that changes nothing after every second batch."""
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scaler = torch.amp.GradScaler("cuda")
    with FakeSL(folder) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=2, model=model, **keywords)
        callback.on_train_begin()
        for start in range(0, 96, 16):
            x, y = X[start : start + 16].to("cuda"), Y[start : start + 16].to("cuda")
            with torch.autocast("cuda", dtype=torch.float16):
                loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimizer)
            scaler.update()
            callback.on_batch_end()
        callback.on_train_end()
        assert len(sl.models) == 5
    return [value.cpu() for value in model.state_dict().values()]


def test_mixed_precision_on_a_gpu_trains_to_the_same_bits_with_and_without_evaluation(
    tmp_path: Path, join: Join
) -> None:
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    data = DataLoader(TensorDataset(X, Y), batch_size=32, shuffle=True)
    alone = train(join, tmp_path / "alone")
    watched = train(join, tmp_path / "watched", adsValData=data, lossFunction="CrossEntropyLoss")
    assert all(torch.equal(a, b) for a, b in zip(alone, watched, strict=True))


def test_an_evaluation_that_draws_on_the_gpu_leaves_its_random_numbers_alone(tmp_path: Path, join: Join) -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(8, device="cuda"))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scale + torch.rand_like(x)  # in evaluation too

    data = DataLoader(TensorDataset(X, X), batch_size=32)
    torch.cuda.manual_seed(5)
    before = torch.cuda.get_rng_state()
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, model=Noisy(), adsValData=data, lossFunction="MSELoss")
        callback.on_train_begin()
    assert torch.equal(torch.cuda.get_rng_state(), before)
