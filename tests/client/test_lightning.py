"""A LightningModule goes out and comes back in `fit`, and the Trainer is stopped when training is over."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from support.callbacks import Log
from support.documented import of_platforms
from support.fake_sl import FakeSL, plus
from support.tools import require
from swarmlearning.channel.messages import Close, Evaluated, Kill, Open

require("lightning")

import lightning.pytorch as pl  # noqa: E402

from swarmlearning.lightning import SwarmCallback, SwarmError  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),  # advice about workers and log intervals
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
torch.set_num_threads(1)

DATA = DataLoader(TensorDataset(torch.ones(24, 3), torch.zeros(24, 1)), batch_size=4)


class Net(pl.LightningModule):  # type: ignore[misc]
    def __init__(self, fail_at: int = -1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Linear(2, 1))
        self._fail_at = fail_at

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layers(x)
        return out

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        if index == self._fail_at:
            raise ValueError("the data of this site is broken")
        x, y = batch
        return nn.functional.mse_loss(self(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch, log: Log) -> Any:
    """Makes a callback that will meet this SL."""

    def make(sl: FakeSL, **keywords: Any) -> SwarmCallback:
        monkeypatch.delenv("SWARM_LOOPBACK", raising=False)
        monkeypatch.setenv("SWARM_CHANNEL", str(sl.path))
        monkeypatch.setenv("SWARM_RECONNECT_SECONDS", "0")
        return SwarmCallback(**{"syncFrequency": 4, "minPeers": 1, "logger": log.logger} | keywords)

    return make


def fit(net: Net, callback: Any, **more: Any) -> pl.Trainer:
    trainer = pl.Trainer(
        **{
            "max_epochs": 2,
            "callbacks": [callback],
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        | more
    )
    trainer.fit(net, DATA)
    return trainer


def bits(net: Net) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in net.state_dict().items()}


def test_a_whole_lightning_module_is_sent_and_replaced_by_the_merged_one(tmp_path: Path, joined: Any) -> None:
    net = Net()
    first = bits(net)
    with FakeSL(tmp_path, merge=plus(1)) as sl:
        callback = joined(sl, totalEpochs=2, adsValData=DATA, lossFunction="MSELoss")
        assert sl.received == []  # the model is known when `fit` begins
        fit(net, callback)
        assert {name: array.tobytes() for name, array in sl.models[0].items()} == first
        assert len(sl.models) == 1 + 3 + 1  # at the beginning, every four of twelve batches, at the end
        assert [message.epochs for message in sl.of(Evaluated)] == [0, 0, 1, 1, 2]
        assert all(message.loss is not None for message in sl.of(Evaluated))
        assert bits(net) == {name: array.tobytes() for name, array in plus(1)(sl.models[-1]).items()}


def test_lightnings_optimizer_steps_are_counted_not_its_batches(tmp_path: Path, joined: Any) -> None:
    with FakeSL(tmp_path) as sl:
        fit(Net(), joined(sl, syncFrequency=1), accumulate_grad_batches=3)
        assert len(sl.models) == 1 + 4 + 1  # of twelve batches


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-true", "bf16-mixed"])
@pytest.mark.parametrize("loss", ["MSELoss", "BCEWithLogitsLoss"])
def test_merged_models_are_evaluated_in_the_precision_of_the_lightning_trainer(
    tmp_path: Path, joined: Any, precision: str, loss: str
) -> None:
    class Exact(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.dtype == {"64-true": torch.float64, "bf16-true": torch.bfloat16}.get(precision, torch.float32)
            assert torch.is_autocast_enabled("cpu") == (precision == "bf16-mixed")
            return super().forward(x)

    with FakeSL(tmp_path) as sl:
        fit(Exact(), joined(sl, adsValData=DATA, lossFunction=loss), precision=precision)
        assert all(message.loss is not None for message in sl.of(Evaluated))
        assert len(sl.of(Evaluated)) == 5


def test_a_lightning_trainer_is_stopped_when_swarm_training_is_over(tmp_path: Path, joined: Any, log: Log) -> None:
    net = Net()
    with FakeSL(tmp_path, merge=plus(1), over_at=2) as sl:
        callback = joined(sl)
        trainer = fit(net, callback)
        assert bits(net) == {name: array.tobytes() for name, array in plus(1)(sl.models[-1]).items()}
    assert callback.training_over
    assert trainer.global_step == 4
    assert "Swarm training is over. Stopping local training" in log.texts("INFO")


def test_a_lightning_training_that_fails_leaves_the_swarm_with_its_reason(tmp_path: Path, joined: Any) -> None:
    with FakeSL(tmp_path) as sl:
        with pytest.raises(ValueError, match="the data of this site is broken"):
            fit(Net(fail_at=2), joined(sl))
        sl.wait_until_left()
        assert sl.received[-1] == Kill("session-1", False, "ValueError: the data of this site is broken")
        assert sl.of(Close) == []


def test_a_second_fit_with_the_same_lightning_callback_is_refused(tmp_path: Path, joined: Any) -> None:
    net = Net()
    with FakeSL(tmp_path) as sl:
        callback = joined(sl)
        fit(net, callback)
        with pytest.raises(SwarmError, match="serve one training: do all epochs in it, or restart the script"):
            fit(net, callback)
        assert len(sl.of(Open)) == 1


class Sober(Net):
    """Without chance, and with FedProx in its loss."""

    def __init__(self, mu: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
        self._mu, self._first = mu, [each.detach().clone() for each in self.parameters()]

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(batch, index)
        pairs = zip(self.parameters(), self._first, strict=True)
        return loss + 0.5 * self._mu * sum((((now - then) ** 2).sum() for now, then in pairs), torch.tensor(0.0))


@pytest.mark.parametrize("settings", [{}, {"gradient_clip_val": 0.1}, {"accumulate_grad_batches": 3}], ids=str)
@pytest.mark.usefixtures("loopback")
def test_the_pull_in_lightning_is_the_gradient_of_the_loss_form(log: Log, settings: dict[str, Any]) -> None:
    """Without a swarm the model loaded is the first one."""
    net, other, alone = Sober(), Sober(0.7), Sober()
    fit(net, SwarmCallback(99, 1, logger=log.logger, proximalMu=0.7), **settings)
    fit(other, pl.Callback(), **settings)
    fit(alone, pl.Callback(), **settings)
    for mine, its, free in zip(net.parameters(), other.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(mine, its)
        assert not torch.equal(mine, free)


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"proximalMu": -1}, "proximalMu has to be a number, 0 or more; it is -1"),
        ({"localLayers": "layers.*"}, "localLayers has to be a list of patterns, such as ['head.*']; it is 'layers.*'"),
    ],
)
def test_what_is_wrong_for_sites_that_differ_is_refused_before_fit(keywords: dict[str, Any], text: str) -> None:
    with pytest.raises(SwarmError) as caught:
        SwarmCallback(1, 2, **keywords)
    assert str(caught.value) == text


def test_personal_layers_of_a_lightning_module_stay_here(tmp_path: Path, joined: Any) -> None:
    with FakeSL(tmp_path, merge=plus(1)) as sl:
        fit(Net(), joined(sl, localLayers=["layers.3.*"]))
        assert not any(name.startswith("layers.3") for sent in sl.models for name in sent)


@pytest.mark.usefixtures("loopback")
def test_a_lightning_trainer_with_a_loopback_callback_trains_alone(log: Log) -> None:
    trainer = fit(Net(), SwarmCallback(1, 2, logger=log.logger))
    assert trainer.global_step == 12


def test_the_lightning_callback_refuses_a_model_argument() -> None:
    with pytest.raises(SwarmError, match=r"Unknown parameter model\."):
        SwarmCallback(1, 2, model=1)


@pytest.mark.parametrize(("keywords", "text"), of_platforms("PYTORCH"), ids=str)
@pytest.mark.usefixtures("loopback")
def test_the_lightning_callback_raises_the_documented_errors(log: Log, keywords: dict[str, Any], text: str) -> None:
    with pytest.raises(SwarmError) as caught:
        SwarmCallback(**{"syncFrequency": 4, "minPeers": 2, "logger": log.logger} | keywords)
    assert str(caught.value) == text
    assert log.texts("ERROR") == []  # raised: not reported a second time
