"""One rank of a training that a framework distributes: `python framework_rank.py huggingface|accelerate|lightning`.

The ranks find each other by the environment that `torchrun` sets, at a store that is somebody else's. It prints the
losses of merged models and the digest of the model that it ends with.
"""

import hashlib
import os
import sys
import tempfile
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

DATA = TensorDataset(torch.randn(32, 3, generator=torch.Generator().manual_seed(0)), torch.ones(32, 1))


class Regression(nn.Module):
    """A model with the interface that the Trainer expects: inputs by name, the loss first in its output."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        out = self.layers(x)
        return out if labels is None else (nn.functional.mse_loss(out, labels), out)


def huggingface(model: nn.Module) -> None:
    from transformers import Trainer, TrainingArguments

    from swarmlearning.hf_transformers import SwarmCallback

    rows = [{"x": x, "labels": y} for x, y in zip(*DATA.tensors, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(
            output_dir=folder,
            num_train_epochs=2,
            per_device_train_batch_size=4,
            use_cpu=True,
            ddp_backend="gloo",
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = Trainer(model=model, args=args, train_dataset=rows)

        class Printing(SwarmCallback):
            def _evaluate(self) -> tuple[float | None, float | None]:
                return printed(super()._evaluate())

        trainer.add_callback(Printing(4, 1, model=model, trainer=trainer, adsValData=rows[:9], totalEpochs=2))
        trainer.train()


def accelerate(model: nn.Module) -> None:
    from accelerate import Accelerator

    from swarmlearning.pyt import SwarmCallback

    class Printing(SwarmCallback):
        def _evaluate(self) -> tuple[float | None, float | None]:
            return printed(super()._evaluate())

    accelerator = Accelerator(cpu=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    prepared, optimizer, loader = accelerator.prepare(model, optimizer, DataLoader(DATA, batch_size=4))
    validation = DataLoader(DATA, batch_size=8)
    callback = Printing(4, 1, model=prepared, adsValData=validation, lossFunction="MSELoss", totalEpochs=2)
    callback.on_train_begin()
    for _ in range(2):
        for x, y in loader:
            optimizer.zero_grad()
            accelerator.backward(prepared(x, y)[0])
            optimizer.step()
            callback.on_batch_end()
        callback.on_epoch_end()
    callback.on_train_end()


def lightning(model: nn.Module) -> None:
    import lightning.pytorch as pl

    from swarmlearning.lightning import SwarmCallback

    class Module(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: torch.Tensor) -> Any:
            return self.model(x)

        def training_step(self, batch: Any, index: int) -> Any:
            return self.model(*batch)[0]

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.01)

    validation = DataLoader(DATA, batch_size=8)
    callback = SwarmCallback(4, 1, adsValData=validation, lossFunction="MSELoss", totalEpochs=2)
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(Module(), DataLoader(DATA, batch_size=4))


def printed(found: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    print("LOSS", found[0])
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    regression = Regression()
    {"huggingface": huggingface, "accelerate": accelerate, "lightning": lightning}[sys.argv[1]](regression)
    values = b"".join(value.numpy().tobytes() for value in regression.state_dict().values())
    print("DIGEST", hashlib.sha256(values).hexdigest())
    sys.stdout.flush()
    os._exit(0)  # see rank.py
