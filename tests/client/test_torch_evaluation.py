"""Loss and metric are right, and training does not notice that they were computed."""

import random
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from support.callbacks import Join
from support.fake_sl import FakeSL
from swarmlearning.channel.messages import Evaluated
from swarmlearning.client.torch_evaluation import undisturbed
from swarmlearning.pyt import SwarmCallback, SwarmError

torch.set_num_threads(1)


class TotalError(nn.Module):
    """The part of a torchmetrics metric that the callback uses."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.reset()

    def reset(self) -> None:
        self.total = 0.0

    def update(self, output: torch.Tensor, target: torch.Tensor) -> None:
        assert not output.requires_grad
        self.total += float((output - target).abs().sum()) * self.scale

    def compute(self) -> torch.Tensor:
        return torch.tensor(self.total)


@pytest.fixture
def torchmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in with the interface of torchmetrics, which is not among the test dependencies."""
    module = ModuleType("torchmetrics")
    module.TotalError = TotalError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchmetrics", module)


def samples(count: int = 10) -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(count, 3, generator=generator), torch.randn(count, 2, generator=generator))


def evaluated(path: Path, join: Join, model: nn.Module, data: Any, **keywords: Any) -> Evaluated:
    """Returns the report after the merge at the beginning."""
    with FakeSL(path) as sl:
        callback = join(sl, SwarmCallback, model=model, adsValData=data, **keywords)
        callback.on_train_begin()
        callback.on_train_end()
        first, last = sl.of(Evaluated)
    assert (first.loss, first.metric) == (last.loss, last.metric)  # nothing is carried over
    assert isinstance(first, Evaluated)
    return first


@pytest.mark.parametrize("reduction", ["sum", "mean", "none", None])
def test_the_reported_loss_is_the_mean_over_samples(tmp_path: Path, join: Join, reduction: str | None) -> None:
    torch.manual_seed(0)
    model, data = nn.Linear(3, 2), samples(10)
    arguments = {} if reduction is None else {"reduction": reduction}
    found = evaluated(
        tmp_path, join, model, DataLoader(data, batch_size=4), lossFunction="MSELoss", lossFunctionArgs=arguments
    )
    with torch.no_grad():
        squares = (model(data.tensors[0]) - data.tensors[1]) ** 2
    # "mean" is over all elements, of which a sample has two; the last batch is smaller
    expected = squares.sum() / 10 if reduction in ("sum", "none") else squares.mean()
    assert found.loss == pytest.approx(float(expected), rel=1e-6)
    assert found.metric is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("loss", ["MSELoss", "BCEWithLogitsLoss"])
def test_a_model_in_another_precision_is_evaluated_in_it_on_ordinary_data(
    tmp_path: Path, join: Join, dtype: torch.dtype, loss: str
) -> None:
    torch.manual_seed(0)
    model, data = nn.Linear(3, 2), samples(10)
    with torch.no_grad():
        expected = float(getattr(nn, loss)()(model(data.tensors[0]), data.tensors[1]))
    found = evaluated(tmp_path, join, model.to(dtype), DataLoader(data, batch_size=4), lossFunction=loss)
    assert found.loss == pytest.approx(expected, rel=0.02)


def test_a_model_with_several_precisions_is_evaluated_on_unconverted_data(tmp_path: Path, join: Join) -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 2), nn.Linear(2, 2).bfloat16()

        def forward(self, x: torch.Tensor) -> Any:
            return self.second(self.first(x).bfloat16())

    assert evaluated(tmp_path, join, Half(), DataLoader(samples(10)), lossFunction="MSELoss").loss is not None


@pytest.mark.usefixtures("torchmetrics")
def test_the_reported_metric_is_that_of_the_torchmetrics_class(tmp_path: Path, join: Join) -> None:
    torch.manual_seed(0)
    model, data = nn.Linear(3, 2), samples(10)
    found = evaluated(
        tmp_path,
        join,
        model,
        DataLoader(data, batch_size=4),
        metricFunction="TotalError",
        metricFunctionArgs={"scale": 2},
    )
    with torch.no_grad():
        expected = 2 * (model(data.tensors[0]) - data.tensors[1]).abs().sum()
    assert found.metric == pytest.approx(float(expected), rel=1e-6)
    assert found.loss is None


@pytest.mark.usefixtures("torchmetrics")
def test_a_metric_that_torchmetrics_does_not_have_is_refused(tmp_path: Path, join: Join) -> None:
    with (
        FakeSL(tmp_path) as sl,
        pytest.raises(SwarmError, match=r"Invalid value metricFunction: F1\. .*class in torchmetrics"),
    ):
        join(sl, SwarmCallback, model=nn.Linear(3, 2), adsValData=DataLoader(samples()), metricFunction="F1")


def test_a_metric_is_refused_and_a_loss_computed_where_torchmetrics_is_missing(
    tmp_path: Path, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)  # an import of it fails
    model, data = nn.Linear(3, 2), DataLoader(samples())
    assert evaluated(tmp_path / "loss", join, model, data, lossFunction="MSELoss").loss is not None
    with (
        FakeSL(tmp_path / "metric") as sl,
        pytest.raises(SwarmError, match=r"metricFunction needs torchmetrics.*pip install torchmetrics"),
    ):
        join(sl, SwarmCallback, model=model, adsValData=data, metricFunction="F1Score")


def test_a_validation_dataset_is_read_in_batches_of_the_size_given(tmp_path: Path, join: Join) -> None:
    model, data = nn.Linear(3, 2), samples(10)
    sizes: list[int] = []
    model.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    loader = evaluated(tmp_path / "loader", join, model, DataLoader(data, batch_size=4), lossFunction="MSELoss")
    sizes.clear()
    found = evaluated(tmp_path / "dataset", join, model, data, lossFunction="MSELoss", adsValBatchSize=4)
    assert sizes == [4, 4, 2] * 2
    assert found.loss == loader.loss


def test_validation_data_without_functions_report_no_loss_and_no_metric(tmp_path: Path, join: Join) -> None:
    found = evaluated(tmp_path, join, nn.Linear(3, 2), DataLoader(samples()))
    assert (found.loss, found.metric) == (None, None)


def test_a_loss_that_is_not_finite_is_not_reported(tmp_path: Path, join: Join) -> None:
    model = nn.Linear(3, 2)
    nn.init.constant_(model.bias, float("nan"))
    assert evaluated(tmp_path, join, model, DataLoader(samples()), lossFunction="MSELoss").loss is None


class Batches(Dataset[Any]):
    """Gives its items as they are."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def as_they_are(items: list[Any]) -> DataLoader[Any]:
    return DataLoader(Batches(items), batch_size=None, collate_fn=lambda item: item)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (as_they_are([]), "adsValData has no samples"),
        (as_they_are([{"x": torch.zeros(1, 3)}]), "batches (x, y) of two tensors; it yielded a dict"),
        (as_they_are([torch.zeros(2, 3)]), "it yielded a Tensor"),
        (as_they_are([(torch.zeros(1, 3),)]), "it yielded a tuple"),
        (as_they_are([(torch.tensor(0.0), torch.tensor(0.0))]), "it yielded a tuple"),
        (as_they_are([(torch.zeros(1, 4), torch.zeros(1, 2))]), "cannot be multiplied"),
    ],
    ids=["none", "dict", "tensor", "single", "0-d", "shape"],
)
def test_validation_data_that_do_not_fit_the_model_are_an_error(
    tmp_path: Path, join: Join, data: DataLoader[Any], text: str
) -> None:
    model = nn.Linear(3, 2)
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, model=model, adsValData=data, lossFunction="MSELoss")
        with pytest.raises(SwarmError) as caught:
            callback.on_train_begin()
    assert text in str(caught.value)
    assert model.training


# --- training does not notice


class Noisy(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Draws from every generator there is."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        noise = random.random() + float(np.random.rand()) + float(torch.rand(()))
        return torch.full((3,), noise), torch.zeros(2)


class Net(nn.Module):
    """Dropout and batch statistics, one part frozen in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
        self.frozen = nn.BatchNorm1d(2)
        self.second_home = nn.Sequential(self.body[2])
        self.seen_in_evaluation: list[tuple[bool, bool]] = []

    def train(self, mode: bool = True) -> "Net":
        """As is customary for frozen statistics; calling it is not putting modes back."""
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            self.seen_in_evaluation.append((torch.is_grad_enabled(), any(m.training for m in self.modules())))
        output: torch.Tensor = self.frozen(self.body(x))
        return output


def random_states(*generators: torch.Generator) -> list[Any]:
    return [
        random.getstate(),
        repr(np.random.get_state()),
        torch.get_rng_state().tolist(),
        *(generator.get_state().tolist() for generator in generators),
    ]


def test_an_evaluation_leaves_modes_gradients_and_random_numbers_as_they_were(tmp_path: Path, join: Join) -> None:
    generator = torch.Generator().manual_seed(7)
    data = DataLoader(Noisy(), batch_size=4, shuffle=True, generator=generator)
    net = Net().train()
    net.frozen.train()  # a mode that train() would not give
    net.body[2].eval()
    net(torch.randn(4, 3)).sum().backward()
    gradients = [parameter.grad for parameter in net.parameters()]
    states, modes = random_states(generator), [module.training for module in net.modules()]
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, model=net, adsValData=data, lossFunction="MSELoss")
        callback.on_train_begin()
        assert net.seen_in_evaluation == [(False, False)] * 2
        assert [module.training for module in net.modules()] == modes
        assert random_states(generator) == states
        assert torch.is_grad_enabled()
        assert all(p.grad is g for p, g in zip(net.parameters(), gradients, strict=True))
        callback.on_train_end()


def test_modes_and_random_numbers_are_restored_when_the_evaluation_raises(tmp_path: Path) -> None:
    data = DataLoader(Noisy(), shuffle=True)
    net = Net()
    states, modes = random_states(), [module.training for module in net.modules()]

    def evaluate() -> None:
        with undisturbed(net, data):
            net.eval()
            next(iter(data))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evaluate()
    assert random_states() == states
    assert [module.training for module in net.modules()] == modes
    assert torch.is_grad_enabled()


def train(sl: FakeSL, join: Join, **keywords: Any) -> list[bytes]:
    """A small training with everything random in it; the parameters after it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    net = Net()
    loader: Iterable[Any] = DataLoader(Noisy(), batch_size=4, shuffle=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    callback = join(sl, SwarmCallback, syncFrequency=1, model=net, **keywords)
    callback.on_train_begin()
    for epoch in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.mse_loss(net(x), y))
            optimizer.step()
            callback.on_batch_end()
        callback.on_epoch_end(epoch)
    callback.on_train_end()
    return [value.numpy().tobytes() for value in net.state_dict().values()]


def test_a_training_ends_with_the_same_bits_with_and_without_evaluation(tmp_path: Path, join: Join) -> None:
    with FakeSL(tmp_path / "without") as sl:
        without = train(sl, join)
    validation = DataLoader(Noisy(), batch_size=2, shuffle=True)
    with FakeSL(tmp_path / "with") as sl:
        monitored = train(sl, join, adsValData=validation, lossFunction="MSELoss")
        assert {message.loss is not None for message in sl.of(Evaluated)} == {True}
    assert monitored == without
