"""A PyTorch model's whole state goes out and comes back, and nothing else of the training changes."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from support.callbacks import Join, Log
from support.fake_sl import Arrays, FakeSL
from support.torch_models import Wrapper, bits
from swarmlearning.pyt import SwarmCallback

torch.set_num_threads(1)
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.uint16: "U16",
    torch.uint32: "U32",
    torch.uint64: "U64",
    torch.bool: "BOOL",
}


def random_of(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """Random bytes as that dtype: NaNs with payloads, infinities and subnormals among them."""
    if dtype == torch.bool:
        return torch.rand(shape) < 0.5
    width = torch.empty((), dtype=dtype).element_size()
    return torch.randint(0, 256, (*shape[:-1], shape[-1] * width), dtype=torch.uint8).view(dtype)


class Zoo(nn.Module):
    """Every kind of entry that a state_dict has."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 3)
        self.head = nn.Linear(3, 4, bias=False)
        self.head.weight = self.embedding.weight  # tied
        self.norm = nn.BatchNorm1d(3)  # num_batches_tracked: a 0-d integer
        self.narrow = nn.Linear(3, 2).to(torch.float16)
        self.brain = nn.Linear(3, 2).to(torch.bfloat16)
        self.transposed = nn.Parameter(torch.randn(5, 2).t())
        shared = torch.arange(6.0)
        for name, buffer in {
            "scalar": torch.tensor(2.5, dtype=torch.bfloat16),
            "flag": torch.tensor(True),
            "nothing": torch.zeros(0, 3),
            "slice": torch.arange(12.0).reshape(3, 4)[:, 1:3],
            "conjugate": torch.complex(torch.randn(3), torch.randn(3)).conj(),
            "shared": shared,
            "half_of_it": shared[:3],
            **{f"of_{tag}": random_of(dtype, 3, 2) for dtype, tag in DTYPES.items()},
        }.items():
            self.register_buffer(name, buffer)
        self.register_buffer("temporary", torch.ones(1), persistent=False)


def test_every_entry_of_a_state_dict_keeps_dtype_shape_and_bits_through_a_merge(tmp_path: Path, join: Join) -> None:
    torch.manual_seed(0)
    zoo = Zoo()
    zoo.norm(torch.randn(5, 3))
    before = copy.deepcopy(zoo.state_dict())
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, model=zoo)
        callback.on_train_begin()
        callback.on_train_end()
        [first, _] = sl.headers
    assert {entry.name: entry.shape for entry in first.entries} == {
        name: tuple(value.shape) for name, value in before.items()
    }
    tags = {entry.name: entry.dtype for entry in first.entries}
    assert tags == {name: DTYPES[value.dtype] for name, value in before.items()}
    after = zoo.state_dict()
    assert list(after) == list(before)
    for name, value in after.items():
        assert (value.dtype, value.shape) == (before[name].dtype, before[name].shape)
        assert bits(value.resolve_conj()) == bits(before[name].resolve_conj()), name


def values_of(model: nn.Module) -> dict[str, bytes]:
    return {name: bits(value.resolve_conj()) for name, value in model.state_dict().items()}


def becomes(model: nn.Module) -> Callable[[Arrays], Arrays]:
    """A merge whose result are the values of `model`."""
    values = values_of(model)
    return lambda arrays: {
        name: np.frombuffer(values[name], array.dtype).reshape(array.shape) for name, array in arrays.items()
    }


def test_merged_values_are_loaded_into_every_entry_in_place(tmp_path: Path, join: Join) -> None:
    torch.manual_seed(1)
    zoo, other = Zoo(), Zoo()
    other.norm(torch.randn(5, 3))
    places = {name: value.data_ptr() for name, value in zoo.state_dict().items()}
    parameters = list(zoo.parameters())
    with FakeSL(tmp_path, merge=becomes(other)) as sl:
        callback = join(sl, SwarmCallback, model=zoo)
        callback.on_train_begin()
        assert values_of(zoo) == values_of(other)
        assert {name: value.data_ptr() for name, value in zoo.state_dict().items()} == places
        assert all(now is before for now, before in zip(zoo.parameters(), parameters, strict=True))
        assert zoo.head.weight is zoo.embedding.weight
        assert zoo.get_buffer("half_of_it").data_ptr() == zoo.get_buffer("shared").data_ptr()
        assert zoo.state_dict()["norm.num_batches_tracked"] == 1
        callback.on_train_end()


def test_an_optimizer_keeps_gradients_and_momentum_through_a_merge(tmp_path: Path, join: Join) -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    gradient, momentum = model.weight.grad, optimizer.state[model.weight]["momentum_buffer"].clone()
    with FakeSL(tmp_path, merge=lambda arrays: {name: array * 0 for name, array in arrays.items()}) as sl:
        callback = join(sl, SwarmCallback, model=model)
        callback.on_train_begin()
        assert model.weight.grad is gradient
        assert torch.equal(optimizer.state[model.weight]["momentum_buffer"], momentum)
        assert (model.weight.requires_grad, model.bias.requires_grad) == (True, False)
        optimizer.step()
        assert model.weight.abs().sum() > 0  # the step moved the loaded parameters, not forgotten ones
        callback.on_train_end()


@pytest.mark.parametrize("mode", ["active", "snapshot"])
def test_the_parameters_sent_at_the_end_keep_their_dtypes(tmp_path: Path, join: Join, mode: str) -> None:
    torch.manual_seed(2)
    zoo, other = Zoo(), Zoo()
    with FakeSL(tmp_path, merge=becomes(other)) as sl:
        callback = join(sl, SwarmCallback, model=zoo, checkinModelOnTrainEnd=mode)
        callback.on_train_begin()
        with torch.no_grad():
            zoo.brain.weight.zero_()
        callback.on_train_end()
        assert sl.headers[1] == sl.headers[0]
        sent = sl.models[1]["brain.weight"]
        assert sent.tobytes() == (bits(other.brain.weight) if mode == "active" else bytes(sent.nbytes))


def test_the_last_merged_model_is_restored_when_swarm_training_ended_first(tmp_path: Path, join: Join) -> None:
    torch.manual_seed(3)
    zoo, other = Zoo(), Zoo()
    with FakeSL(tmp_path, over_at=1, merge=becomes(other)) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=1, model=zoo)
        callback.on_train_begin()
        assert callback.training_over
        with torch.no_grad():
            for parameter in zoo.parameters():
                parameter.zero_()
        callback.on_batch_end()
        callback.on_train_end()
        assert values_of(zoo) == values_of(other)


@pytest.mark.parametrize(
    ("wrap", "prefix"),
    [
        (Wrapper, ""),
        (nn.DataParallel, ""),
        (lambda module: Wrapper(nn.DataParallel(module)), ""),
        (lambda module: nn.Sequential(Wrapper(nn.Sequential(module)), nn.Tanh()), "0.0."),  # one part of the model
    ],
)
def test_wrapped_models_are_sent_under_the_names_of_the_unwrapped_ones(
    tmp_path: Path, join: Join, wrap: Any, prefix: str
) -> None:
    """One site may wrap what another does not."""
    model = nn.Linear(2, 1)
    with FakeSL(tmp_path, merge=lambda arrays: {name: array * 0 + 3 for name, array in arrays.items()}) as sl:
        callback = join(sl, SwarmCallback, model=wrap(model))
        callback.on_train_begin()
        assert sorted(sl.models[0]) == [f"{prefix}bias", f"{prefix}weight"]
    assert model.bias.tolist() == [3]


def test_a_training_with_autocast_and_gradient_accumulation_sends_float32_parameters(
    tmp_path: Path, join: Join
) -> None:
    """Under autocast the parameters keep their precision; hooks are called after the optimizer's steps."""
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu")
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=2, model=model)
        callback.on_train_begin()
        for part in range(8):
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(torch.ones(2, 3)).square().mean() / 2
            torch.autograd.backward(scaler.scale(loss))
            if part % 2:
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
                callback.on_batch_end()
        assert {entry.dtype for header in sl.headers for entry in header.entries} == {"F32"}
        assert len({arrays["weight"].tobytes() for arrays in sl.models}) == len(sl.models) == 3
        callback.on_train_end()


def test_merged_parameters_are_used_at_once_within_autocast(tmp_path: Path, join: Join) -> None:
    """Autocast keeps the narrow copies of parameters that it made before the merge."""
    model, x = nn.Linear(3, 2), torch.ones(1, 3)
    with FakeSL(tmp_path, merge=lambda arrays: {name: 0 * array for name, array in arrays.items()}) as sl:
        callback = join(sl, SwarmCallback, model=model)
        with torch.autocast("cpu", torch.bfloat16):
            assert model(x).any()
            callback.on_train_begin()
            assert not model(x).any()


class WithExtra(nn.Linear):
    """Extra state: `extra` may be anything."""

    def __init__(self, extra: object) -> None:
        super().__init__(2, 1)
        self.extra = extra

    def get_extra_state(self) -> object:
        return self.extra

    def set_extra_state(self, state: object) -> None:
        self.extra = state


def test_extra_state_of_modules_stays_local_with_one_warning(tmp_path: Path, join: Join, log: Log) -> None:
    secret = torch.tensor([1, 2], dtype=torch.uint8)
    model = nn.Sequential(WithExtra({"any": "thing"}), WithExtra(secret))
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=1, model=model)
        callback.on_train_begin()
        callback.on_batch_end()
        callback.on_train_end()
        assert sorted(sl.models[0]) == ["0.bias", "0.weight", "1.bias", "1.weight"]
    assert [module.extra for module in model] == [{"any": "thing"}, secret]
    [warning] = log.texts("WARNING")
    assert "['0._extra_state', '1._extra_state']" in warning


class OwnLoading(nn.Module):
    """A state_dict entry that is made, not kept: writing into it would be lost."""

    def __init__(self) -> None:
        super().__init__()
        self.value = 1.0

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[prefix + "value"] = torch.tensor(self.value)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        self.value = float(state_dict[prefix + "value"])


def plus_one(arrays: Arrays) -> Arrays:
    """Merges in each array's own dtype: NumPy 1.26 adds 1 to a float32 scalar in float64."""
    return {name: np.add(array, 1, dtype=array.dtype) for name, array in arrays.items()}


def test_modules_with_their_own_loading_receive_the_merged_values(tmp_path: Path, join: Join) -> None:
    model = nn.Sequential(OwnLoading())
    with FakeSL(tmp_path, merge=plus_one) as sl:
        callback = join(sl, SwarmCallback, model=model)
        callback.on_train_begin()
        callback.on_train_end()
    assert model[0].value == 3.0
