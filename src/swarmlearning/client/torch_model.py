"""A PyTorch model's `state_dict` as named tensors, and back."""

from collections.abc import Mapping
from typing import Any

import torch

from swarmlearning.client.arrays import not_mergeable
from swarmlearning.tensors.file import Array, Tensor, TensorFileError

COMPILED = "_orig_mod."  # what torch.compile puts before the names of a module's entries
EXTRA_STATE = "_extra_state"  # the name PyTorch gives to what a module's get_extra_state() returns


class TorchModel:
    """The merged part of a module's `state_dict`: all its tensors, or without the frozen parameters.

    Buffers are merged in either case: the statistics of a batch normalisation change although its module is frozen.
    """

    def __init__(self, module: torch.nn.Module, only_trainable: bool = False) -> None:
        self.module = unwrapped(module)
        entries = self.entries()
        self.local = [name for name, value in entries.items() if not _is_merged(name, value)]
        """Names of what is neither merged nor frozen: extra state and what is no tensor."""
        frozen = set(_frozen(self.module)) if only_trainable else set()
        self._merged = entries.keys() - frozen - set(self.local)

    def entries(self) -> dict[str, Any]:
        """All there is to merge."""
        return self.module.state_dict()

    def tensors(self) -> dict[str, Tensor]:
        """Shares the memory of what is contiguous on the CPU. Raises `SwarmError`."""
        return {_own(name): tensor_of(value, name) for name, value in self.entries().items() if name in self._merged}

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Copies in place."""
        state = self.entries()
        names = {_own(name): name for name in state}
        for own, array in arrays.items():
            name = names[own]
            state[name] = torch.from_numpy(array).view(state[name].dtype)  # to the same width: the same bits
        self.put(state)
        torch.clear_autocast_cache()  # within autocast, the model would go on with its parameters of before

    def put(self, state: dict[str, Any]) -> None:
        """Takes `entries()` with other values."""
        # The model's own way in: copies in place without gradients, and heeds modules that load in a way of their own.
        self.module.load_state_dict(state)


def unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """The user's own module, whose names are the same with and without DistributedDataParallel and `torch.compile`."""
    while True:
        match module:
            case torch.nn.parallel.DistributedDataParallel() | torch.nn.DataParallel():
                module = module.module
            case torch.nn.Module(_orig_mod=torch.nn.Module() as compiled):
                module = compiled
            case _:
                return module


def _own(name: str) -> str:
    """The same name whether the module, or any part of it, is compiled or not."""
    return name.replace(COMPILED, "")


def tensor_of(value: torch.Tensor, name: str) -> Tensor:
    """Shares the memory of a contiguous tensor on the CPU. Raises `SwarmError` for what has no array of values."""
    try:
        if value.dtype == torch.bfloat16:  # which NumPy does not have
            return Tensor.of(value.view(torch.int16).numpy(force=True), name)._replace(dtype="BF16")
        return Tensor.of(value.numpy(force=True), name)
    except (TypeError, ValueError, RuntimeError, TensorFileError) as error:  # quantized, sparse, meta, lazy, float8, …
        raise not_mergeable(name, value, error) from error


def _is_merged(name: str, value: object) -> bool:
    # A module's extra state may be a tensor, but then of pickled bytes: no mean of those makes sense.
    return isinstance(value, torch.Tensor) and name.rpartition(".")[2] != EXTRA_STATE


def _frozen(module: torch.nn.Module) -> list[str]:
    named = module.named_parameters(remove_duplicate=False)
    return [name for name, parameter in named if not parameter.requires_grad]
