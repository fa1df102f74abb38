"""A PyTorch model's `state_dict` as named tensors, and back."""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch

from swarmlearning.choices import Role
from swarmlearning.client.arrays import not_mergeable
from swarmlearning.client.errors import SwarmError
from swarmlearning.client.torch_frozen import Frozen
from swarmlearning.tensors.file import Array, Tensor, TensorFileError
from swarmlearning.tensors.structure import labels

COMPILED = "_orig_mod."  # what torch.compile puts before the names of a module's entries
EXTRA_STATE = "_extra_state"  # the name PyTorch gives to what a module's get_extra_state() returns

SMALL = 1024
"""Elements of a tensor that is copied. PyTorch never again resizes one that has shared its memory, and the observers of
quantization-aware training resize theirs with the first batch."""


class TorchModel:
    """The merged part of a module's `state_dict`: all its tensors, or without the frozen parameters.

    Buffers are merged in either case: the statistics of a batch normalisation change although its module is frozen.
    """

    def __init__(self, module: torch.nn.Module, only_trainable: bool = False) -> None:
        self.module = unwrapped(module)
        self._only_trainable = only_trainable
        self._left_out = self.left_out()
        self.frozen = Frozen(self._frozen_parameters)

    @property
    def local(self) -> list[str]:
        """Returns the names of what is neither merged nor frozen: extra state and what is no tensor."""
        return [name for name, value in self.entries().items() if not _is_merged(name, value)]

    def entries(self) -> dict[str, Any]:
        """Returns everything that could be merged."""
        return self.module.state_dict()

    def left_out(self) -> frozenset[str]:
        """Returns the names of the parameters that are not merged at present, and have to be the same at all sites."""
        return frozenset(_frozen(self.module) if self._only_trainable else ())

    def tensors(self) -> dict[str, Tensor]:
        """Returns the merged tensors. Shares the memory of large ones that are contiguous on the CPU.

        Raises `SwarmError` for what cannot be merged, and when what was left out is now trained or has changed.
        """
        self.require_frozen()
        return {
            _own(name): tensor_of(value, name)
            for name, value in self.entries().items()
            if name not in self._left_out and _is_merged(name, value)
        }

    def roles(self) -> dict[str, Role]:
        """Returns the role of each merged tensor: what is no parameter is a buffer, as statistics are.

        A second name of a parameter (tied weights), and a name that only the entries have (an adapter's), has its role.
        """
        return {
            name: "buffer" if found is None else "parameter" if found.requires_grad else "frozen"
            for name, found in self.parameters().items()
        }

    def parameters(self) -> dict[str, torch.nn.Parameter | None]:
        """Returns the parameter behind each merged tensor; None where there is none, as behind a buffer."""
        named = dict(self.module.named_parameters(remove_duplicate=False))
        stored = {_place(parameter): parameter for parameter in named.values()}
        stored.pop(None, None)
        return {
            _own(name): named.get(name, stored.get(_place(value)))
            for name, value in self.entries().items()
            if name not in self._left_out and _is_merged(name, value)
        }

    def tied(self) -> list[frozenset[str]]:
        """Returns the names of each merged tensor that has several."""
        names: dict[tuple[int, torch.Size], set[str]] = defaultdict(set)
        for name, value in self.entries().items():
            if name not in self._left_out and _is_merged(name, value) and (place := _place(value)):
                names[place].add(_own(name))
        return [frozenset(group) for group in names.values() if len(group) > 1]

    def require_frozen(self) -> None:
        """Raises `SwarmError`, naming them, when other parameters are left out now, or those that are have changed."""
        if other := self._left_out ^ self.left_out():
            raise SwarmError(
                f"parameters were frozen or unfrozen after the callback was made: {labels(sorted(other))}. With "
                "onlyTrainable=True the parameters that are trainable then are merged, the same at all sites: freeze "
                "before making the callback, or leave onlyTrainable out"
            )
        if changed := self.frozen.changed():
            raise SwarmError(
                f"frozen parameters have changed: {labels(changed)}. They are not merged, so they have to stay the "
                "same at all sites: leave onlyTrainable out, or do not change them"
            )

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Copies the values into the model in place."""
        state = self.entries()
        names = {_own(name): name for name in state}
        for own, array in arrays.items():
            name = names[own]
            state[name] = torch.from_numpy(array).view(state[name].dtype)  # to the same width: the same bits
        self.put(state)
        self.frozen.mark()  # loading writes their own values
        torch.clear_autocast_cache()  # within autocast, the model would go on with its parameters of before

    def _frozen_parameters(self) -> dict[str, torch.Tensor]:
        named = self.module.named_parameters(remove_duplicate=False)
        return {_own(name): parameter for name, parameter in named if name in self._left_out}

    def put(self, state: dict[str, Any]) -> None:
        """Loads `entries()` with other values."""
        # By the model's own method: copies in place without gradients, and respects modules with their own loading.
        self.module.load_state_dict(state)


def unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """Returns the user's own module: its names are the same without DistributedDataParallel and `torch.compile`."""
    while True:
        match module:
            case torch.nn.parallel.DistributedDataParallel() | torch.nn.DataParallel():
                module = module.module
            case torch.nn.Module(_orig_mod=torch.nn.Module() as compiled):
                module = compiled
            case _:
                return module


def _own(name: str) -> str:
    """Returns the name without prefixes: the same whether the module, or any part of it, is compiled or not."""
    return name.replace(COMPILED, "")


def tensor_of(value: torch.Tensor, name: str) -> Tensor:
    """Returns the tensor of a value; shares the memory of a large one that is contiguous on the CPU.

    Raises `SwarmError` for what has no array of values.
    """
    try:
        if value.numel() <= SMALL:
            value = value.clone()
        if value.dtype == torch.bfloat16:  # which NumPy does not have
            return Tensor.of(value.view(torch.int16).numpy(force=True), name)._replace(dtype="BF16")
        return Tensor.of(value.numpy(force=True), name)
    except (TypeError, ValueError, RuntimeError, TensorFileError) as error:  # quantized, sparse, meta, lazy, float8, …
        raise not_mergeable(name, value, error) from error


def _is_merged(name: str, value: object) -> bool:
    # A module's extra state may be a tensor, but then of pickled bytes: no mean of those makes sense.
    return isinstance(value, torch.Tensor) and name.rpartition(".")[2] != EXTRA_STATE


def _place(value: torch.Tensor) -> tuple[int, torch.Size] | None:
    """Returns where the values are in memory, and their shape; None where that is not known."""
    with suppress(RuntimeError, NotImplementedError):
        if address := value.data_ptr():
            return address, value.shape
    return None


def _frozen(module: torch.nn.Module) -> list[str]:
    named = module.named_parameters(remove_duplicate=False)
    return [name for name, parameter in named if not parameter.requires_grad]
