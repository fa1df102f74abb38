"""FedProx in PyTorch: each step's gradient pulls the parameters back to the merged model that was loaded last.

To the gradient of each parameter w that is trained, merged and of floats, mu * (w - w_loaded) is added: the gradient of
0.5 * mu * ||w - w_loaded||^2 (Li et al., Federated Optimization in Heterogeneous Networks, 2020). It belongs to the
complete, unscaled gradient of a step, before that is clipped. A parameter without a gradient is left alone.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from swarmlearning.client.errors import SwarmError

NOT_ADDED: Final = (
    "proximalMu is set, but no optimizer of torch.optim has stepped the parameters that are merged. Call the "
    "callback's on_gradients_ready() when a step's gradients are complete: after backward(), before they are clipped"
)
IN_CLOSURE: Final = (
    "proximalMu is set, and optimizer.step() was given a closure: call the callback's on_gradients_ready() in it, "
    "after backward()"
)
SKIPPED: Final = 20
"""Batches whose steps a GradScaler may skip at the beginning, while it finds its scale."""


class SupportsRemove(Protocol):
    def remove(self) -> None: ...


class _Pulled(NamedTuple):
    name: str
    parameter: torch.nn.Parameter
    loaded: torch.Tensor


class Proximal:
    """Adds the pull of strength `mu`; `current` returns the merged parameters by name.

    `automatic`: an optimizer of torch.optim whose step begins with gradients that `add` has not seen gets it then.
    """

    def __init__(self, mu: float, current: Callable[[], Mapping[str, torch.nn.Parameter]], automatic: bool) -> None:
        self._mu, self._current = mu, current
        self._pulled: dict[int, _Pulled] = {}
        self._done: set[int] = set()  # parameters whose gradients have it, until their step
        self._added = False
        self._hooks: list[SupportsRemove] = []
        if automatic:
            self.until_end(register_optimizer_step_pre_hook(self._before_step))
            self.until_end(register_optimizer_step_post_hook(self._after_step))

    def until_end(self, hook: SupportsRemove) -> None:
        """Removes this hook, too, when training ends."""
        self._hooks.append(hook)

    def load(self) -> None:
        """Remembers the parameters as they are now; `add` pulls towards them from here on."""
        before, self._pulled = self._pulled, {}
        for name, parameter in self._current().items():
            if parameter.requires_grad and parameter.is_floating_point():
                kept = before.get(id(parameter))
                value = parameter.detach()
                if kept is not None and kept.loaded.device == value.device and kept.loaded.dtype == value.dtype:
                    kept.loaded.copy_(value)
                    self._pulled[id(parameter)] = kept
                else:
                    self._pulled[id(parameter)] = _Pulled(name, parameter, value.clone())

    def add(self, optimizer: Any = None, scale: Any = 1.0) -> None:
        """Adds the pull to the gradients, of this optimizer's parameters only where one is given.

        `scale`: the factor that the gradients still have, a number or a tensor. Raises `SwarmError`.
        """
        keys = self._pulled.keys() if optimizer is None else self._of(optimizer)
        for key in keys:
            self._add(self._pulled[key], scale)
        self._done.update(keys)
        self._added = self._added or bool(keys)

    @property
    def is_added(self) -> bool:
        """True if the gradients at hand have it already, before their step."""
        return bool(self._done)

    def stepped(self) -> None:
        """Notes that the gradients have had their step, or that it was skipped: the next ones are new."""
        self._done.clear()

    def require_added(self, batches: int) -> None:
        """Raises `SwarmError` where none was ever added in so many batches."""
        if not self._added and batches > SKIPPED:
            raise SwarmError(NOT_ADDED)

    def end(self) -> None:
        """Ends what was begun by `automatic`, and frees the memory of the parameters loaded."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._pulled = [], {}

    @torch.no_grad()
    def _add(self, pulled: _Pulled, scale: Any) -> None:
        gradient = pulled.parameter.grad
        if gradient is None:
            return
        if gradient.layout != torch.strided:
            raise SwarmError(f"proximalMu: the gradient of {pulled.name!r} is sparse; make its layer with sparse=False")
        away = pulled.parameter - pulled.loaded.to(pulled.parameter.device)
        gradient.add_(away.mul_(scale), alpha=self._mu)

    def _of(self, optimizer: Any) -> list[int]:
        groups = optimizer.param_groups
        return [id(each) for group in groups for each in group["params"] if id(each) in self._pulled]

    def _before_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if _closure(args, kwargs) is None and (keys := [key for key in self._of(optimizer) if key not in self._done]):
            scale = getattr(optimizer, "grad_scale", None)  # a fused one unscales by itself, for a GradScaler
            for key in keys:
                self._add(self._pulled[key], 1.0 if scale is None else scale)
            self._done.update(keys)  # an optimizer may have others inside, whose steps are part of its own
            self._added = True

    def _after_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        own = set(self._of(optimizer))
        if _closure(args, kwargs) is not None and not own <= self._done:
            raise SwarmError(IN_CLOSURE)
        self._done -= own


def _closure(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The closure of `step(self, closure=None)`."""
    return kwargs.get("closure", args[1] if len(args) > 1 else None)
