"""Loss and metric of a PyTorch model on validation data, without a trace in the training."""

import importlib
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.utils.data import DataLoader

from swarmlearning.client.errors import SwarmError

Forward: TypeAlias = Callable[[torch.Tensor], Any]
"""A batch of inputs to the model's outputs."""


@dataclass(frozen=True)
class Validation:
    """Validation data with a `torch.nn` loss and a `torchmetrics` metric; either may be None."""

    data: DataLoader[Any]
    loss: torch.nn.Module | None
    metric: Any | None

    @classmethod
    def of(cls, data: DataLoader[Any], options: Mapping[str, Any]) -> "Validation":
        """Makes it from documented keyword arguments. Raises `SwarmError` for names and arguments that do not exist."""
        loss = metric = None
        if options.get("lossFunction") is not None:
            loss = _make("lossFunction", torch.nn, options)
        if options.get("metricFunction") is not None:
            try:
                torchmetrics = importlib.import_module("torchmetrics")
            except ImportError as error:
                raise SwarmError(
                    f"metricFunction needs torchmetrics, which cannot be imported: {error}. "
                    "Install it (pip install torchmetrics) or leave metricFunction out"
                ) from error
            metric = _make("metricFunction", torchmetrics, options)
        return cls(data, loss, metric)

    def evaluate(self, model: torch.nn.Module, forward: Forward | None = None) -> tuple[float | None, float | None]:
        """Returns mean loss per sample, and the metric over all samples. `forward` calls the model in another way.

        Batches are weighted by their size, so the loss is the true mean for `reduction="mean"` as well as for "sum"
        (for which it is what the original product reports: the sum over batches by the number of samples).
        """
        if self.loss is None and self.metric is None:
            return None, None
        device = _device(model)
        forward = forward or partial(_forward, model, _only_dtype(model))
        total, samples = 0.0, 0
        with undisturbed(model, self.data):
            model.eval()
            for part in (self.loss, self.metric):
                if part is not None:
                    part.to(device)
            if self.metric is not None:
                self.metric.reset()
            for batch in self.data:
                x, y = _pair(batch)
                x, y = x.to(device), y.to(device)
                output = _comparable(forward(x), y)
                samples += len(x)
                if self.loss is not None:
                    is_mean = getattr(self.loss, "reduction", "mean") == "mean"
                    total += self.loss(output, y).sum().item() * (len(x) if is_mean else 1)
                if self.metric is not None:
                    self.metric.update(output, y)
            if not samples:
                raise SwarmError("adsValData has no samples")
            return (
                None if self.loss is None else total / samples,
                None if self.metric is None else float(self.metric.compute()),
            )


@contextmanager
def undisturbed(model: torch.nn.Module, data: DataLoader[Any]) -> Iterator[None]:
    """Puts back what an evaluation changes: each module's mode, gradient mode, and the states of the random numbers.

    These are PyTorch's (CPU and the CUDA devices of the model), NumPy's global one, Python's, and the generators of
    `data`: iterating a DataLoader draws from them even where nothing is shuffled.
    """
    modes = [(module, module.training) for module in model.modules()]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    owned = (getattr(holder, "generator", None) for holder in (data, data.sampler))
    generators = [(generator, generator.get_state()) for generator in owned if generator is not None]
    tensors = chain(model.parameters(), model.buffers())
    cuda = {tensor.device.index for tensor in tensors if tensor.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(cuda), device_type="cuda"), torch.no_grad():
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode  # not train(mode), which would overrule the children
            random.setstate(python_state)
            np.random.set_state(numpy_state)
            for generator, state in generators:
                generator.set_state(state)


def _make(parameter: str, library: ModuleType, options: Mapping[str, Any]) -> Any:
    """Returns an object of the class that `options[parameter]` names, made with `options[parameter + "Args"]`."""
    name, arguments = options[parameter], options.get(f"{parameter}Args") or {}
    made: Callable[..., Any] | None = getattr(library, name, None) if isinstance(name, str) else None
    if not isinstance(made, type) or not issubclass(made, torch.nn.Module):
        raise SwarmError(f"Invalid value {parameter}: {name}. It has to be the name of a class in {library.__name__}")
    try:
        return made(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SwarmError(f"Invalid value {parameter}Args for {name}: {arguments}: {error}") from error


def _device(model: torch.nn.Module) -> torch.device:
    first = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def _only_dtype(model: torch.nn.Module) -> torch.dtype | None:
    """Returns the floating-point dtype of all parameters; None where there is none, or more than one."""
    found = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    return found.pop() if len(found) == 1 else None


def _forward(model: torch.nn.Module, dtype: torch.dtype | None, x: torch.Tensor) -> Any:
    """Casts inputs as training loops do: a model that is wholly in bfloat16, for example, computes only with that."""
    return model(x.to(dtype) if dtype is not None and x.is_floating_point() else x)


def _comparable(output: Any, y: torch.Tensor) -> Any:
    """Returns outputs in the precision of the targets, in which losses and metrics are computed."""
    if not isinstance(output, torch.Tensor) or not output.is_floating_point():
        return output
    return output.to(y.dtype if y.is_floating_point() else torch.promote_types(output.dtype, torch.float32))


def _pair(batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    match batch:
        case [torch.Tensor() as x, torch.Tensor() as y] if x.ndim:
            return x, y
    raise SwarmError(f"adsValData has to yield batches (x, y) of two tensors; it yielded a {type(batch).__name__}")
