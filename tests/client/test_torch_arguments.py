"""Models and arguments that the PyTorch callback refuses, or warns about, before training begins."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.ao import quantization
from torch.utils.data import DataLoader, TensorDataset

from support.callbacks import Join, Log
from support.documented import of_platforms
from support.fake_sl import FakeSL
from swarmlearning.channel.messages import Sync
from swarmlearning.pyt import SwarmCallback, SwarmError

torch.set_num_threads(1)
EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (torch.eye(3).to_sparse(), "'odd'"),
        (torch.zeros(3, dtype=torch.complex128), "tensor 'odd': dtype complex128 cannot be stored"),
        (torch.zeros(3, device="meta"), "'odd'"),
        *((torch.zeros(3).to(dtype), "model entry 'odd' of type Tensor cannot be merged: ") for dtype in EIGHT_BITS),
    ],
    ids=["sparse", "complex128", "meta", *map(str, EIGHT_BITS)],
)
def test_a_model_with_an_entry_that_cannot_be_merged_is_refused_before_the_session_opens(
    tmp_path: Path, join: Join, entry: torch.Tensor, text: str
) -> None:
    model = nn.Linear(1, 1)
    model.register_buffer("odd", entry)
    with FakeSL(tmp_path) as sl, pytest.raises(SwarmError, match="the swarm session cannot be opened: ") as caught:
        join(sl, SwarmCallback, model=model)
    assert text in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_constants_that_are_not_finite_are_named_in_a_warning(
    tmp_path: Path, join: Join, log: Log, dtype: torch.dtype, value: float
) -> None:
    model = nn.Linear(1, 1)
    model.register_buffer("mask", torch.full((6, 6), value, dtype=dtype).triu(1))
    model.register_buffer("sound", torch.full((6, 6), 1e4, dtype=dtype))
    with FakeSL(tmp_path) as sl:
        join(sl, SwarmCallback, model=model)
    [warning] = log.texts("WARNING")
    assert "hold infinity or NaN: 'mask'. " in warning


def quantization_aware(backend: str) -> nn.Module:
    """A model whose observers hold infinities, and for `fbgemm` some entries without elements, until a first batch."""
    untyped: Any = quantization
    model = nn.Sequential(untyped.QuantStub(), nn.Linear(6, 3), untyped.DeQuantStub())
    model.qconfig = untyped.get_default_qat_qconfig(backend)
    prepared: nn.Module = untyped.prepare_qat(model.train())
    return prepared


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("backend", "batches_before"), [("qnnpack", 0), ("fbgemm", 1)])
def test_a_model_in_quantization_aware_training_trains(
    tmp_path: Path, join: Join, backend: str, batches_before: int
) -> None:
    model = quantization_aware(backend)
    for _ in range(batches_before):
        model(torch.randn(4, 6))
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=1, model=model)
        callback.on_train_begin()
        for _ in range(2):
            model(torch.randn(4, 6)).sum().backward()
            callback.on_batch_end()
        callback.on_train_end()
        assert len(sl.of(Sync)) == 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_entries_that_get_their_shape_from_the_first_batch_are_an_error_that_explains_what_to_do(
    tmp_path: Path, join: Join
) -> None:
    model = quantization_aware("fbgemm")
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=1, model=model)
        callback.on_train_begin()
        model(torch.randn(4, 6)).sum().backward()
        with pytest.raises(
            SwarmError, match=r"max_val' has shape \[3\], expected \[0\].* run one batch through it before"
        ):
            callback.on_batch_end()


def test_a_lazy_module_without_parameters_is_refused(tmp_path: Path, join: Join) -> None:
    with FakeSL(tmp_path) as sl, pytest.raises(SwarmError, match=r"'weight' of type UninitializedParameter"):
        join(sl, SwarmCallback, model=nn.LazyLinear(2))


LOADER = DataLoader(TensorDataset(torch.zeros(1, 2), torch.zeros(1, 1)))
DATA = {"adsValData": LOADER}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "no model is given: pass the torch.nn.Module that is trained, model=..."),
    ({"model": [1]}, "model has to be a torch.nn.Module; it is a list"),
    ({"adsValData": (1, 2)}, "adsValData type passed is <class 'tuple'>"),
    ({"adsValData": LOADER.dataset, "adsValBatchSize": 0}, "adsValBatchSize has to be a positive integer"),
    (DATA | {"useAdaptiveSync": True}, "For adaptive sync, lossFunction is mandatory"),
    (DATA | {"lossFunction": "MSELos"}, "lossFunction: MSELos. It has to be the name of a class in torch.nn"),
    (DATA | {"lossFunction": nn.MSELoss()}, "Invalid value lossFunction: MSELoss()."),
    (DATA | {"lossFunction": "functional"}, "Invalid value lossFunction: functional."),
    (DATA | {"lossFunction": "MSELoss", "lossFunctionArgs": {"redu": "sum"}}, "Invalid value lossFunctionArgs for MSE"),
    ({"losFunction": "MSELoss"}, "Unknown parameter losFunction. Did you mean lossFunction?"),
    ({"tf": None}, "Unknown parameter tf."),
]  # fmt: skip


@pytest.mark.parametrize(("keywords", "text"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.usefixtures("loopback")
def test_invalid_arguments_of_the_pytorch_callback_are_refused(log: Log, keywords: dict[str, Any], text: str) -> None:
    with pytest.raises(SwarmError) as caught:
        SwarmCallback(4, 2, logger=log.logger, **{"model": nn.Linear(2, 1)} | keywords)
    assert text in str(caught.value)
    assert log.texts("ERROR") == []  # raised: not reported a second time


@pytest.mark.usefixtures("loopback")
def test_the_documented_call_of_the_pytorch_callback_is_accepted(log: Log) -> None:
    callback = SwarmCallback(
        syncFrequency=128,
        minPeers=4,
        adsValData=LOADER,
        adsValBatchSize=8,
        useAdaptiveSync=True,
        model=nn.Linear(2, 1),
        ml_platform="PYTORCH",
        totalEpochs=5,
        lossFunction="CrossEntropyLoss",
        lossFunctionArgs={"reduction": "sum"},
        logger=log.logger,
    )
    callback.on_train_begin()
    callback.on_batch_end()
    callback.on_epoch_end(0)
    callback.on_train_end()


@pytest.mark.parametrize(("keywords", "text"), of_platforms("PYTORCH"), ids=str)
@pytest.mark.usefixtures("loopback")
def test_the_pytorch_callback_raises_the_documented_errors(log: Log, keywords: dict[str, Any], text: str) -> None:
    with pytest.raises(SwarmError) as caught:
        SwarmCallback(**{"syncFrequency": 4, "minPeers": 2, "logger": log.logger, "model": nn.Linear(2, 1)} | keywords)
    assert str(caught.value) == text
    assert log.texts("ERROR") == []  # raised: not reported a second time
