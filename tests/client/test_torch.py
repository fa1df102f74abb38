"""A PyTorch model's whole state goes out and comes back, and nothing else of the training changes."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from support.callbacks import Join, Log
from support.documented import of_platforms
from support.fake_sl import Arrays, FakeSL
from swarmlearning.channel.messages import Open
from swarmlearning.pyt import SwarmCallback, SwarmError

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


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


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


def test_every_entry_survives_with_dtype_shape_and_bits(tmp_path: Path, join: Join) -> None:
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


def test_other_values_arrive_in_every_entry_and_structure_stays(tmp_path: Path, join: Join) -> None:
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


def test_the_optimizer_goes_on_as_if_nothing_had_happened(tmp_path: Path, join: Join) -> None:
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
def test_what_is_contributed_after_the_end_keeps_its_dtypes(tmp_path: Path, join: Join, mode: str) -> None:
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


def test_training_over_restores_the_last_merged_model(tmp_path: Path, join: Join) -> None:
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


def test_only_trainable_parameters(tmp_path: Path, join: Join) -> None:
    """Transfer learning: frozen parameters stay local, statistics are merged all the same."""
    base = nn.Linear(3, 4)
    model = nn.Sequential(base, nn.BatchNorm1d(4), nn.Linear(4, 1))
    base.requires_grad_(False)
    frozen = bits(base.weight)
    with FakeSL(tmp_path, merge=lambda arrays: {name: array + 1 for name, array in arrays.items()}) as sl:
        callback = join(sl, SwarmCallback, model=model, onlyTrainable=True)
        callback.on_train_begin()
        assert sorted(sl.models[0]) == [
            "1.bias", "1.num_batches_tracked", "1.running_mean", "1.running_var", "1.weight", "2.bias", "2.weight",
        ]  # fmt: skip
        assert bits(base.weight) == frozen
        callback.on_train_end()
    assert model[1].num_batches_tracked == 2


def two_layers(seed: int = 0) -> Any:
    """The first is frozen."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
    model[0].requires_grad_(False)
    return model


def unfreeze(model: nn.Sequential) -> None:
    model[0].requires_grad_(True)


def freeze_more(model: nn.Sequential) -> None:
    model[1].bias.requires_grad_(False)


def replace_a_layer(model: nn.Sequential) -> None:
    model[0] = nn.Linear(3, 4)


@pytest.mark.parametrize(
    ("change", "names"),
    [(unfreeze, "'0.bias', '0.weight'"), (freeze_more, "'1.bias'"), (replace_a_layer, "'0.bias', '0.weight'")],
)
def test_layers_frozen_or_unfrozen_while_only_the_trainable_ones_are_merged_end_the_training(
    tmp_path: Path, join: Join, change: Callable[[nn.Sequential], None], names: str
) -> None:
    model = two_layers()
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=2, model=model, onlyTrainable=True)
        callback.on_train_begin()
        callback.on_batch_end()
        change(model)
        with pytest.raises(SwarmError, match=f"frozen or unfrozen after the callback was made: {names}. With only"):
            callback.on_batch_end()
        assert len(sl.models) == 1


def in_place(weight: nn.Parameter) -> None:
    with torch.no_grad():
        weight.mul_(0.99).add_(0.01)  # as the average of a teacher


def put_in_place(weight: nn.Parameter) -> None:
    weight.data = weight.data + 1


@pytest.mark.parametrize("change", [in_place, put_in_place])
def test_frozen_parameters_that_change_all_the_same_end_the_training(
    tmp_path: Path, join: Join, change: Callable[[nn.Parameter], None]
) -> None:
    model = two_layers()
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=1, model=model, onlyTrainable=True)
        callback.on_train_begin()
        model.load_state_dict(model.state_dict())  # written to, with the same values
        callback.on_batch_end()
        change(model[0].weight)
        with pytest.raises(SwarmError, match=r"frozen parameters have changed: '0\.weight'\. They are not merged"):
            callback.on_batch_end()


def test_a_layer_added_after_the_callback_was_made_is_named(tmp_path: Path, join: Join) -> None:
    model = two_layers()
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=1, model=model)
        callback.on_train_begin()
        model.append(nn.Linear(1, 1))
        with pytest.raises(SwarmError, match=r"the model changed after the callback was made: '2\.bias' is extra"):
            callback.on_batch_end()


def frozen_digest(tmp_path: Path, join: Join, model: nn.Module, **keywords: Any) -> str:
    """What the SL node is given to compare between sites."""
    with FakeSL(tmp_path) as sl:
        join(sl, SwarmCallback, model=model, **keywords)
        digest = sl.of(Open)[0].fixed.frozen
    sl.path.unlink()
    assert isinstance(digest, str)
    return digest


def test_sites_with_equal_frozen_parameters_state_one_digest_and_others_another(tmp_path: Path, join: Join) -> None:
    def stated(model: nn.Module) -> str:
        return frozen_digest(tmp_path, join, model, onlyTrainable=True)

    alike = [two_layers(), two_layers(), nn.DataParallel(two_layers()), Wrapper(two_layers())]
    nn.init.ones_(alike[1][1].weight)  # what is merged may differ
    [digest] = {stated(model) for model in alike}
    assert len(digest) == 64
    halves = two_layers()
    halves[0].half()
    last_bit = two_layers()
    with torch.no_grad():
        last_bit[0].bias[-1] = torch.nextafter(last_bit[0].bias[-1], torch.tensor(9.0))
    others = {stated(model) for model in (two_layers(seed=1), halves, last_bit)}
    assert len(others | {digest}) == 4


def test_a_model_of_which_everything_is_merged_states_no_digest(tmp_path: Path, join: Join) -> None:
    assert frozen_digest(tmp_path, join, two_layers()) == ""
    assert frozen_digest(tmp_path, join, nn.Linear(1, 1), onlyTrainable=True) == ""


@pytest.mark.parametrize(
    "weight",
    [torch.ones(2, 1, dtype=dtype) for dtype in (torch.float8_e4m3fn, torch.complex128, torch.bfloat16)]
    + [torch.ones(2, 1, device="meta"), torch.eye(2).to_sparse(), torch.ones(2, 1).t(), torch.tensor(1.0)],
    ids=str,
)
def test_frozen_parameters_of_any_kind_are_no_obstacle(tmp_path: Path, join: Join, weight: torch.Tensor) -> None:
    model = nn.Linear(1, 1)
    model.register_parameter("frozen", nn.Parameter(weight, requires_grad=False))
    assert len(frozen_digest(tmp_path, join, model, onlyTrainable=True)) == 64


class Wrapper(nn.Module):
    """As `torch.compile` wraps a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._orig_mod = module


@pytest.mark.parametrize(
    ("wrap", "prefix"),
    [
        (Wrapper, ""),
        (nn.DataParallel, ""),
        (lambda module: Wrapper(nn.DataParallel(module)), ""),
        (lambda module: nn.Sequential(Wrapper(nn.Sequential(module)), nn.Tanh()), "0.0."),  # one part of the model
    ],
)
def test_wrapped_models_have_the_names_of_the_users_own(tmp_path: Path, join: Join, wrap: Any, prefix: str) -> None:
    """One site may wrap what another does not."""
    model = nn.Linear(2, 1)
    with FakeSL(tmp_path, merge=lambda arrays: {name: array * 0 + 3 for name, array in arrays.items()}) as sl:
        callback = join(sl, SwarmCallback, model=wrap(model))
        callback.on_train_begin()
        assert sorted(sl.models[0]) == [f"{prefix}bias", f"{prefix}weight"]
    assert model.bias.tolist() == [3]


def test_mixed_precision_and_gradient_accumulation(tmp_path: Path, join: Join) -> None:
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


def test_within_autocast_the_merged_parameters_are_used_at_once(tmp_path: Path, join: Join) -> None:
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


def test_extra_state_stays_local_with_one_warning(tmp_path: Path, join: Join, log: Log) -> None:
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


def test_modules_that_load_in_their_own_way(tmp_path: Path, join: Join) -> None:
    model = nn.Sequential(OwnLoading())
    with FakeSL(tmp_path, merge=lambda arrays: {name: array + 1 for name, array in arrays.items()}) as sl:
        callback = join(sl, SwarmCallback, model=model)
        callback.on_train_begin()
        callback.on_train_end()
    assert model[0].value == 3.0


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
def test_a_session_is_not_opened_with_an_entry_that_cannot_be_merged(
    tmp_path: Path, join: Join, entry: torch.Tensor, text: str
) -> None:
    model = nn.Linear(1, 1)
    model.register_buffer("odd", entry)
    with FakeSL(tmp_path) as sl, pytest.raises(SwarmError, match="the swarm session cannot be opened: ") as caught:
        join(sl, SwarmCallback, model=model)
    assert text in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_constants_that_are_not_finite_are_named_when_the_session_opens(
    tmp_path: Path, join: Join, log: Log, dtype: torch.dtype, value: float
) -> None:
    model = nn.Linear(1, 1)
    model.register_buffer("mask", torch.full((6, 6), value, dtype=dtype).triu(1))
    model.register_buffer("sound", torch.full((6, 6), 1e4, dtype=dtype))
    with FakeSL(tmp_path) as sl:
        join(sl, SwarmCallback, model=model)
    [warning] = log.texts("WARNING")
    assert "hold infinity or NaN: 'mask'. " in warning


def test_a_lazy_module_is_named(tmp_path: Path, join: Join) -> None:
    with FakeSL(tmp_path) as sl, pytest.raises(SwarmError, match=r"'weight' of type UninitializedParameter"):
        join(sl, SwarmCallback, model=nn.LazyLinear(2))


# --- parameters of this platform

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
def test_wrong_values(log: Log, keywords: dict[str, Any], text: str) -> None:
    with pytest.raises(SwarmError) as caught:
        SwarmCallback(4, 2, logger=log.logger, **{"model": nn.Linear(2, 1)} | keywords)
    assert text in str(caught.value)
    assert log.texts("ERROR") == []  # raised: not reported a second time


@pytest.mark.usefixtures("loopback")
def test_documented_call(log: Log) -> None:
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
def test_documented_texts(log: Log, keywords: dict[str, Any], text: str) -> None:
    with pytest.raises(SwarmError) as caught:
        SwarmCallback(**{"syncFrequency": 4, "minPeers": 2, "logger": log.logger, "model": nn.Linear(2, 1)} | keywords)
    assert str(caught.value) == text
    assert log.texts("ERROR") == []  # raised: not reported a second time
