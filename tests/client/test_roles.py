"""The role of each tensor, as callbacks state it when they open their session."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import SGDRegressor
from torch import nn

from support.callbacks import ArrayCallback, Join, array_model
from support.fake_sl import FakeSL
from support.torch_models import Wrapper
from swarmlearning import Swarm, SwarmError
from swarmlearning.channel.messages import Open
from swarmlearning.pyt import SwarmCallback
from swarmlearning.sklearn import SwarmCallback as SklearnCallback

torch.set_num_threads(1)


def stated(tmp_path: Path, join: Join, kind: Any, **keywords: Any) -> dict[str, str]:
    with FakeSL(tmp_path) as sl:
        join(sl, kind, **keywords)
        [opened] = sl.of(Open)
    return dict(opened.roles)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3, 4)
        self.body.requires_grad_(False)
        self.norm = nn.BatchNorm1d(4)
        self.embedding = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5)
        self.head.weight = self.embedding.weight  # tied
        self.register_buffer("shared", self.head.bias.detach())  # a buffer that is a parameter's memory


ROLES = {
    "body.weight": "frozen",
    "body.bias": "frozen",
    "norm.weight": "parameter",
    "norm.bias": "parameter",
    "norm.running_mean": "buffer",
    "norm.running_var": "buffer",
    "norm.num_batches_tracked": "buffer",
    "embedding.weight": "parameter",
    "head.weight": "parameter",
    "head.bias": "parameter",
    "shared": "parameter",
}


def test_parameters_of_pytorch_that_need_gradients_are_told_from_frozen_ones_and_buffers(
    tmp_path: Path, join: Join
) -> None:
    assert stated(tmp_path, join, SwarmCallback, model=Net()) == ROLES


def test_frozen_parameters_of_pytorch_that_are_not_merged_have_no_role(tmp_path: Path, join: Join) -> None:
    merged = {name: role for name, role in ROLES.items() if role != "frozen"}
    assert stated(tmp_path, join, SwarmCallback, model=Net(), onlyTrainable=True) == merged


def test_a_wrapped_module_has_the_roles_of_its_own_names(tmp_path: Path, join: Join) -> None:
    net: Any = Net()
    net.head = Wrapper(net.head)  # a part of it is compiled
    assert stated(tmp_path, join, SwarmCallback, model=Wrapper(net)) == ROLES


@pytest.mark.parametrize("average", [False, True])
def test_averages_of_a_linear_model_are_no_parameters(tmp_path: Path, join: Join, average: bool) -> None:
    model = SGDRegressor(average=average)
    found = stated(tmp_path, join, SklearnCallback, model=model, initData=(np.zeros((2, 3)), np.zeros(2)))
    assert found == (
        {
            "intercept_": "buffer",  # another name of the average, once there is one
            "_standard_coef": "parameter",
            "_standard_intercept": "parameter",
            "_average_coef": "buffer",
            "_average_intercept": "buffer",
        }
        if average
        else {"coef_": "parameter", "intercept_": "parameter"}
    )


def test_plain_arrays_are_parameters_unless_stated(tmp_path: Path, in_a_swarm: Callable[[FakeSL], None]) -> None:
    arrays = {"params": {"kernel": np.zeros(2)}, "batch_stats": {"mean": np.zeros(2), "var": np.ones(2)}}
    logger = logging.Logger("silent")
    with FakeSL(tmp_path) as sl:
        in_a_swarm(sl)
        with Swarm(arrays, sync_frequency=9, min_peers=1, buffers=["batch_stats.*"], logger=logger):
            [opened] = sl.of(Open)
    assert opened.roles == {
        "params.kernel": "parameter",
        "batch_stats.mean": "buffer",
        "batch_stats.var": "buffer",
    }


@pytest.mark.parametrize(
    ("buffers", "text"),
    [
        (["stats.*"], r"buffers: no tensor of the model fits 'stats.\*'. There are 'kernel', 'stat'"),
        ("stat", "buffers has to be a list of patterns"),
        ([""], "buffers has to be a list of patterns"),
    ],
)
def test_patterns_that_name_no_array_are_refused(
    tmp_path: Path, in_a_swarm: Callable[[FakeSL], None], buffers: Any, text: str
) -> None:
    with FakeSL(tmp_path) as sl:
        in_a_swarm(sl)
        arrays = {"kernel": np.zeros(2), "stat": np.zeros(2)}
        with pytest.raises(SwarmError, match=text):
            Swarm(arrays, sync_frequency=9, min_peers=1, buffers=buffers, logger=logging.Logger("silent"))


def test_a_platform_that_does_not_know_roles_states_none(tmp_path: Path, join: Join) -> None:
    assert stated(tmp_path, join, ArrayCallback, model=array_model()) == {}
