"""Personal layers: patterns name tensors that are never sent and never replaced."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import SGDRegressor
from torch import nn

from support.callbacks import ArrayCallback, Join, Log
from support.fake_sl import FakeSL, plus
from support.torch_models import bits
from swarmlearning import Swarm
from swarmlearning.channel.messages import Open
from swarmlearning.client.local_layers import local_names
from swarmlearning.pyt import SwarmCallback, SwarmError
from swarmlearning.sklearn import SwarmCallback as SklearnCallback

torch.set_num_threads(1)
NAMES = ["body.0.weight", "body.1.weight", "head.bias", "head.weight", "tied.weight"]
TIED = [frozenset({"head.weight", "tied.weight"})]


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ([], set()),
        (["body.*"], {"body.0.weight", "body.1.weight"}),
        (["body.[01].weight", "head.bias"], {"body.0.weight", "body.1.weight", "head.bias"}),
        (["body.?.weight"], {"body.0.weight", "body.1.weight"}),
        (["head.*", "tied.weight"], {"head.bias", "head.weight", "tied.weight"}),
    ],
)
def test_patterns_fit_whole_names(patterns: list[str], found: set[str]) -> None:
    assert local_names(patterns, NAMES, TIED) == found


@pytest.mark.parametrize(
    ("patterns", "text"),
    [
        (["body"], "localLayers: no tensor of the model fits 'body'. There are 'body.0.weight', "),
        (["body.*", "Head.*"], "localLayers: no tensor of the model fits 'Head.*'. There are "),
        (["body.*", "*"], "localLayers: '*' fits all tensors of the model, and nothing would be merged. There are "),
        (["b*", "h*", "t*"], "localLayers: 'b*', 'h*', 't*' fits all tensors of the model"),
        (
            ["body.*", "head.*"],
            "localLayers: 'head.*' fits 'head.weight', which is one tensor with 'tied.weight' (tied weights): name all "
            "of them, or none",
        ),
    ],
)
def test_a_pattern_that_cannot_be_meant_is_an_error_that_names_it(patterns: list[str], text: str) -> None:
    with pytest.raises(SwarmError) as caught:
        local_names(patterns, NAMES, TIED)
    assert str(caught.value).startswith(text)


class Net(nn.Module):
    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        torch.manual_seed(classes)
        self.body = nn.Sequential(nn.Linear(40, 40), nn.BatchNorm1d(40))
        self.head = nn.Linear(40, classes).to(torch.bfloat16)


def opened(sl: FakeSL) -> Open:
    message = sl.of(Open)[0]
    assert isinstance(message, Open)
    return message


def test_personal_layers_of_pytorch_are_never_sent_and_never_replaced(tmp_path: Path, join: Join, log: Log) -> None:
    net = Net()
    with FakeSL(tmp_path, merge=plus(1)) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=1, model=net, localLayers=["head.*", "body.1.running_*"])
        own = {name: bits(value) for name, value in net.state_dict().items()}
        callback.on_train_begin()
        callback.on_batch_end()
        with torch.no_grad():
            net.head.weight += 1  # trained: it is not the first one that stays
        own["head.weight"] = bits(net.head.weight)
        callback.on_train_end()
        assert all(set(sent) == {"body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias",
                                 "body.1.num_batches_tracked"} for sent in sl.models)  # fmt: skip
        merged = plus(1)(sl.models[-1])
        assert {spec.name for spec in opened(sl).structure} == set(merged)
        assert set(opened(sl).roles) == set(merged)
    for name, value in net.state_dict().items():
        assert bits(value) == (merged[name].tobytes() if name in merged else own[name])
    assert any("stay this site's own: 'body.1.running_mean', " in text for text in log.texts("INFO"))


def test_sites_whose_personal_layers_differ_have_the_same_structure(tmp_path: Path, join: Join) -> None:
    structures = []
    for classes in (2, 5):
        with FakeSL(tmp_path / str(classes)) as sl:
            join(sl, SwarmCallback, model=Net(classes), localLayers=["head.*"])
            structures.append(opened(sl).structure)
    assert structures[0] == structures[1]


@pytest.mark.parametrize("mode", ["active", "snapshot"])
def test_the_model_after_the_end_has_its_personal_layers(tmp_path: Path, join: Join, mode: str) -> None:
    net = Net()
    head = bits(net.head.weight)
    with FakeSL(tmp_path, merge=plus(1), over_at=2) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=1, model=net, localLayers=["head.*"],
                        checkinModelOnTrainEnd=mode)  # fmt: skip
        callback.on_train_begin()
        callback.on_batch_end()
        assert callback.training_over
        callback.on_train_end()
    assert bits(net.head.weight) == head


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        (
            {"localLayers": "head.*"},
            r"localLayers has to be a list of patterns, such as \['head.\*'\]; it is 'head.\*'",
        ),
        ({"localLayers": [1]}, "localLayers has to be a list of patterns"),
        ({"localLayers": ["haed.*"]}, "the swarm session cannot be opened: localLayers: no tensor of the model fits"),
        ({"localLayers": ["first.weight"]}, "'first.weight', which is one tensor with 'second.weight'"),
    ],
)
def test_wrong_patterns_are_refused_before_the_session_is_open(
    tmp_path: Path, join: Join, keywords: dict[str, Any], text: str
) -> None:
    net: Any = nn.ModuleDict({"first": nn.Linear(2, 2), "second": nn.Linear(2, 2), "third": nn.Linear(2, 2)})
    net["second"].weight = net["first"].weight
    with FakeSL(tmp_path) as sl:
        with pytest.raises(SwarmError, match=text):
            join(sl, SwarmCallback, model=net, **keywords)
        assert sl.received == []


def test_wrong_patterns_are_found_without_a_swarm_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_LOOPBACK", "True")
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(SwarmError, match="localLayers: no tensor of the model fits 'haed"):
        SwarmCallback(syncFrequency=1, minPeers=1, model=net, localLayers=["haed.*"])
    SwarmCallback(syncFrequency=1, minPeers=1, model=net, localLayers=["1.*"])


def test_evaluation_is_of_merged_and_personal_layers_together(tmp_path: Path, join: Join) -> None:
    model = {"body": np.zeros(3, np.float32), "head": np.full(3, 7, np.float32)}
    seen = []

    def evaluate(own: dict[str, Any]) -> tuple[float, float]:
        seen.append({name: float(each[0]) for name, each in own.items()})
        return 0.0, 0.0

    with FakeSL(tmp_path, merge=plus(1)) as sl:
        callback = join(
            sl,
            ArrayCallback,
            model=model,
            localLayers=["head"],
            evaluate=evaluate,
        )
        callback.on_train_begin()
        callback.on_train_end()
    assert seen == [{"body": 1.0, "head": 7.0}, {"body": 2.0, "head": 7.0}]


def test_a_plain_loop_and_scikit_learn_keep_personal_arrays(
    tmp_path: Path, join: Join, in_a_swarm: Callable[[FakeSL], None]
) -> None:
    with FakeSL(tmp_path / "sklearn", merge=plus(1)) as sl:
        samples = (np.zeros((2, 3)), np.zeros(2))
        callback = join(sl, SklearnCallback, model=SGDRegressor(), initData=samples, localLayers=["intercept_"])
        callback.on_train_begin()
        callback.on_train_end()
        assert set(sl.models[0]) == {"coef_"}
        assert callback.model.coef_.tolist() == [2.0] * 3
        assert callback.model.intercept_.tolist() == [0.0]
    arrays: dict[str, Any] = {"body": np.zeros(2), "head": {"bias": np.array([5.0]), "scale": 3}}
    with FakeSL(tmp_path / "plain", merge=plus(1)) as sl:
        in_a_swarm(sl)
        logger = logging.Logger("silent")
        with Swarm(arrays, sync_frequency=9, min_peers=1, local_layers=["head.*"], logger=logger) as swarm:
            pass
        assert set(sl.models[0]) == {"body"}
        assert swarm.parameters["body"].tolist() == [2.0, 2.0]
        assert swarm.parameters["head"] == {"bias": [5.0], "scale": 3}
