"""FedProx in PyTorch is the gradient of its loss form, whatever the loop does with gradients."""

import copy
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn
from torch.optim import optimizer as optimizers

from support.callbacks import Join, Log
from support.fake_sl import FakeSL, plus
from swarmlearning.client.torch_proximal import IN_CLOSURE, NOT_ADDED, SKIPPED
from swarmlearning.pyt import SwarmCallback, SwarmError

torch.set_num_threads(1)
MU = 0.3


class Net(nn.Module):
    calls: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(4, 3).double()
        self.fixed = nn.Linear(3, 3).double().requires_grad_(False)
        self.head = nn.Linear(3, 1).double()
        self.register_buffer("calls", torch.tensor(0.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        out: torch.Tensor = self.head(torch.tanh(self.fixed(self.body(x))))
        return out


def loss_of(net: nn.Module, batch: int) -> torch.Tensor:
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(batch)).double()
    return nn.functional.mse_loss(net(x), x.sum(1, keepdim=True))


def trained(net: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in net.parameters() if parameter.requires_grad]


def gradients(net: nn.Module) -> dict[str, set[float]]:
    """The values in the gradient of each parameter that has one, rounded."""
    named = net.named_parameters()
    return {name: {round(x, 9) for x in each.grad.flatten().tolist()} for name, each in named if each.grad is not None}


def sgd(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(trained(net), lr=0.1, momentum=0.9)


def fused(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(trained(net), lr=0.01, fused=True)


def scaler() -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", init_scale=2.0**10)


def loop(
    net: nn.Module,
    make: Callable[[nn.Module], Any],
    clip: bool,
    parts: int,
    scale: Any,
    ready: Any,
    extra: Any,
    end: Any,
) -> None:
    """Six steps. `extra`: a further loss; `ready`: called before clipping; `end`: after each step."""
    optimizer = make(net)
    for step in range(6):
        optimizer.zero_grad()
        for part in range(parts):
            scale.scale(loss_of(net, step * parts + part) / parts).backward()
        scale.scale(extra()).backward()
        if clip:
            scale.unscale_(optimizer)
            ready()
            nn.utils.clip_grad_norm_(trained(net), 0.4)
        scale.step(optimizer)
        scale.update()
        end()


@pytest.mark.parametrize(
    ("make", "clip", "parts", "scaled"),
    [(sgd, False, 1, False), (sgd, False, 3, False), (sgd, True, 1, False), (sgd, False, 1, True), (sgd, True, 2, True),
     (fused, False, 1, True), (fused, True, 2, True)],
)  # fmt: skip
@pytest.mark.usefixtures("loopback")
def test_the_pull_is_the_gradient_of_the_loss_form(
    log: Log, make: Callable[[nn.Module], Any], clip: bool, parts: int, scaled: bool
) -> None:
    """Without a swarm the model loaded is the first one."""
    net = Net()
    other, first = copy.deepcopy(net), copy.deepcopy(net)
    scales = [torch.amp.GradScaler("cpu", enabled=False)] * 2 if not scaled else [scaler(), scaler()]

    def proximal_loss() -> torch.Tensor:
        pairs = zip(trained(other), trained(first), strict=True)
        return 0.5 * MU * sum((((now - then.detach()) ** 2).sum() for now, then in pairs), torch.tensor(0.0))

    callback = SwarmCallback(4, 1, logger=log.logger, model=net, proximalMu=MU)
    callback.on_train_begin()
    nothing = trained(net)[0].new_zeros((), requires_grad=True)
    loop(net, make, clip, parts, scales[0], callback.on_gradients_ready, lambda: nothing * 0, callback.on_batch_end)
    callback.on_train_end()
    loop(other, make, clip, parts, scales[1], lambda: None, proximal_loss, lambda: None)
    for mine, expected, start in zip(net.parameters(), other.parameters(), first.parameters(), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-11)
        assert not mine.requires_grad or not torch.equal(mine, start)


@pytest.fixture
def left(join: Join) -> Iterator[Join]:
    """Callbacks whose hooks on optimizers end with the test."""
    yield join
    for callback in join.made:
        with suppress(SwarmError):
            callback.abandon("the test has ended")


def test_parameters_are_pulled_to_the_merged_model_that_was_loaded_last(tmp_path: Path, left: Join) -> None:
    net = Net()
    with FakeSL(tmp_path, merge=plus(1)) as sl:
        callback = left(sl, SwarmCallback, syncFrequency=2, model=net, proximalMu=2)
        optimizer = torch.optim.SGD(trained(net), lr=0.25)
        callback.on_train_begin()
        for _ in range(2):
            loaded = [parameter.detach().clone() for parameter in trained(net)]
            for gradient, expected in ((-12.0, 3.0), (0.0, 1.5)):  # 3 away, then half of that back: 0.25 * 2 * 3
                for parameter in trained(net):
                    parameter.grad = torch.full_like(parameter, gradient)
                optimizer.step()
                moved = [now - then for now, then in zip(trained(net), loaded, strict=True)]
                assert all(torch.allclose(each, torch.tensor(expected).double()) for each in moved)
                callback.on_batch_end()


@pytest.mark.usefixtures("loopback")
def test_personal_layers_frozen_ones_and_those_without_gradient_are_not_pulled(log: Log) -> None:
    net = Net()
    callback = SwarmCallback(4, 1, logger=log.logger, model=net, proximalMu=1)
    callback._local = frozenset({"head.weight", "head.bias"})
    callback.on_train_begin()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    for weight in (net.body.weight, net.head.weight):
        weight.grad = torch.zeros_like(weight)
    callback.on_gradients_ready()
    assert gradients(net) == {"body.weight": {1.0}, "head.weight": {0.0}}
    callback.abandon("the test has ended")


@pytest.mark.usefixtures("loopback")
def test_of_several_optimizers_each_step_pulls_its_own_parameters(log: Log) -> None:
    net = Net()
    body, head = (torch.optim.SGD(part.parameters(), lr=1) for part in (net.body, net.head))
    callback = SwarmCallback(4, 1, logger=log.logger, model=net, proximalMu=1)
    callback.on_train_begin()
    for parameter in trained(net):
        parameter.grad = torch.ones_like(parameter)
    body.step()
    for parameter in trained(net):
        parameter.grad = torch.zeros_like(parameter)
    callback.on_gradients_ready(head)  # which is where it was loaded
    assert set().union(*gradients(net).values()) == {0.0}
    callback.on_gradients_ready(body)
    pulled = {"body.weight": {-1.0}, "body.bias": {-1.0}}
    assert gradients(net) == {"head.weight": {0.0}, "head.bias": {0.0}, **pulled}
    callback.abandon("the test has ended")


class Wrapping(torch.optim.Optimizer):
    """As ZeroRedundancyOptimizer: the step is another optimizer's."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        super().__init__(inner.param_groups, {})
        self.inner = inner

    def step(self, closure: Any = None) -> Any:
        self.inner.step()


@pytest.mark.usefixtures("loopback")
def test_an_optimizer_within_another_is_one_step(log: Log) -> None:
    net = Net()
    callback = SwarmCallback(4, 1, logger=log.logger, model=net, proximalMu=1)
    callback.on_train_begin()
    optimizer = Wrapping(torch.optim.SGD(net.body.parameters(), lr=1))
    for _ in range(2):
        for parameter in net.body.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    assert gradients(net) == {"body.weight": {0.0}, "body.bias": {0.0}}  # 1, and 1 back
    callback.abandon("the test has ended")


@pytest.mark.usefixtures("loopback")
def test_a_closure_has_to_call_the_hook_itself(log: Log) -> None:
    net = Net()
    callback = SwarmCallback(4, 1, logger=log.logger, model=net, proximalMu=1)
    callback.on_train_begin()
    optimizer: Any = torch.optim.LBFGS(trained(net), lr=0.1, max_iter=3)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss: Any = loss_of(net, 0)
        loss.backward()
        return cast(torch.Tensor, loss)

    with pytest.raises(SwarmError) as caught:
        optimizer.step(closure)
    assert str(caught.value) == IN_CLOSURE

    def pulling() -> torch.Tensor:
        loss = closure()
        callback.on_gradients_ready()
        return loss

    optimizer.step(pulling)
    callback.abandon("the test has ended")


def test_an_optimizer_that_pytorch_does_not_know_is_an_error_at_the_next_merge(tmp_path: Path, left: Join) -> None:
    net = Net()
    with FakeSL(tmp_path) as sl:
        callback = left(sl, SwarmCallback, syncFrequency=SKIPPED + 1, model=net, proximalMu=1)
        callback.on_train_begin()
        for _ in range(SKIPPED):
            callback.on_batch_end()
        with pytest.raises(SwarmError, match="on_gradients_ready") as caught:
            callback.on_batch_end()
        assert str(caught.value).endswith(NOT_ADDED)


@pytest.mark.usefixtures("loopback")
def test_a_sparse_gradient_is_refused_by_name(log: Log) -> None:
    net = nn.Sequential(nn.Embedding(4, 2, sparse=True))
    callback = SwarmCallback(4, 1, logger=log.logger, model=net, proximalMu=1)
    callback.on_train_begin()
    net(torch.tensor([1])).sum().backward()
    with pytest.raises(SwarmError, match=r"the gradient of '0\.weight' is sparse"):
        callback.on_gradients_ready()
    callback.abandon("the test has ended")


@pytest.mark.parametrize("mu", [None, 0, 0.0])
@pytest.mark.usefixtures("loopback")
def test_nothing_is_pulled_without_a_strength(log: Log, mu: Any) -> None:
    hooks = dict(optimizers._global_optimizer_pre_hooks)
    callback = SwarmCallback(4, 1, logger=log.logger, model=Net(), proximalMu=mu)
    callback.on_train_begin()
    callback.on_gradients_ready()
    assert dict(optimizers._global_optimizer_pre_hooks) == hooks


@pytest.mark.usefixtures("loopback")
def test_hooks_on_optimizers_end_with_the_training(log: Log) -> None:
    hooks = dict(optimizers._global_optimizer_pre_hooks)
    callback = SwarmCallback(4, 1, logger=log.logger, model=Net(), proximalMu=1)
    callback.on_train_begin()
    assert dict(optimizers._global_optimizer_pre_hooks) != hooks
    callback.on_train_end()
    assert dict(optimizers._global_optimizer_pre_hooks) == hooks


@pytest.mark.parametrize("mu", [-0.1, float("nan"), float("inf"), "0.1", True, [1]])
@pytest.mark.usefixtures("loopback")
def test_a_strength_that_is_no_number_is_refused(log: Log, mu: Any) -> None:
    with pytest.raises(SwarmError) as caught:
        SwarmCallback(4, 1, logger=log.logger, model=Net(), proximalMu=mu)
    assert str(caught.value) == f"proximalMu has to be a number, 0 or more; it is {mu!r}"
