"""Frozen parameters of a PyTorch model: they stay local with onlyTrainable, and all sites need the same ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from support.callbacks import Join
from support.fake_sl import FakeSL
from support.torch_models import Wrapper, bits
from swarmlearning.channel.messages import Open
from swarmlearning.client import torch_frozen
from swarmlearning.client.torch_frozen import Frozen
from swarmlearning.pyt import SwarmCallback, SwarmError

torch.set_num_threads(1)


def test_with_only_trainable_frozen_parameters_are_not_sent_and_statistics_are(tmp_path: Path, join: Join) -> None:
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
def test_freezing_or_unfreezing_layers_during_a_training_with_only_trainable_is_an_error(
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


def through_data(weight: nn.Parameter) -> None:
    weight.data.mul_(0.99)  # which PyTorch does not count as a change


def through_numpy(weight: nn.Parameter) -> None:
    weight.detach().numpy()[-1, -1] += 1


@pytest.mark.parametrize("change", [in_place, put_in_place, through_data, through_numpy])
def test_a_change_of_frozen_parameters_during_training_is_an_error(
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


def test_uncounted_changes_of_more_frozen_values_than_are_read_at_once_are_found_in_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch_frozen, "READ_AT_ONCE", 1)  # one at each look
    values = {name: torch.zeros(1000) for name in "abcd"}
    frozen = Frozen(lambda: values)
    frozen.digests()
    assert [frozen.changed() for _ in range(9)] == [[]] * 9
    values["d"].data[1] = 1  # which is not one of the values that are looked at each time
    assert sorted(frozen.changed() for _ in values) == [[], [], [], ["d"]]


def test_a_layer_added_after_the_callback_was_made_is_named_in_the_error(tmp_path: Path, join: Join) -> None:
    model = two_layers()
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=1, model=model)
        callback.on_train_begin()
        model.append(nn.Linear(1, 1))
        with pytest.raises(SwarmError, match=r"the model changed after the callback was made: '2\.bias' is extra"):
            callback.on_batch_end()


def frozen_digest(tmp_path: Path, join: Join, model: nn.Module, **keywords: Any) -> str:
    """Returns the digest that the SL node gets to compare between sites."""
    with FakeSL(tmp_path) as sl:
        join(sl, SwarmCallback, model=model, **keywords)
        digest = sl.of(Open)[0].fixed.frozen
    sl.path.unlink()
    assert isinstance(digest, str)
    return digest


def test_sites_send_equal_digests_exactly_if_their_frozen_parameters_are_equal(tmp_path: Path, join: Join) -> None:
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


def test_a_model_of_which_everything_is_merged_sends_no_digest(tmp_path: Path, join: Join) -> None:
    assert frozen_digest(tmp_path, join, two_layers()) == ""
    assert frozen_digest(tmp_path, join, nn.Linear(1, 1), onlyTrainable=True) == ""


@pytest.mark.parametrize(
    "weight",
    [torch.ones(2, 1, dtype=dtype) for dtype in (torch.float8_e4m3fn, torch.complex128, torch.bfloat16)]
    + [torch.ones(2, 1, device="meta"), torch.eye(2).to_sparse(), torch.ones(2, 1).t(), torch.tensor(1.0)],
    ids=str,
)
def test_frozen_parameters_of_any_dtype_and_layout_have_a_digest(
    tmp_path: Path, join: Join, weight: torch.Tensor
) -> None:
    model = nn.Linear(1, 1)
    model.register_parameter("frozen", nn.Parameter(weight, requires_grad=False))
    assert len(frozen_digest(tmp_path, join, model, onlyTrainable=True)) == 64
    with FakeSL(tmp_path / "sl") as sl:
        callback = join(sl, SwarmCallback, syncFrequency=1, model=model, onlyTrainable=True)
        callback.on_train_begin()  # looks whether they have changed
        callback.on_train_end()
