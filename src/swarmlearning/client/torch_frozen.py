"""Parameters of a PyTorch model that are not merged, because they stay what they are and are the same at all sites."""

from collections.abc import Callable, Mapping
from contextlib import suppress

import torch

from swarmlearning.client.fixed import tensor_digest
from swarmlearning.tensors.file import Array

Mark = tuple[int, int, bytes]
"""A tensor's place in memory, PyTorch's count of its changes, and some of its values: changes through `tensor.data` are
not counted."""

PROBED = 256
"""About so many values of each tensor are looked at."""


class Frozen:
    """The values of frozen parameters, which `current` returns by name."""

    def __init__(self, current: Callable[[], Mapping[str, torch.Tensor]]) -> None:
        self._current = current
        self._digests: dict[str, str] = {}  # empty until they were first computed
        self._marks: dict[str, Mark] = {}

    def digests(self) -> dict[str, str]:
        """Returns a digest of each, computed now: reads all of them once."""
        self._digests = {name: _digest(value) for name, value in self._current().items()}
        self.mark()
        return self._digests

    def mark(self) -> None:
        """Remembers their state as unchanged."""
        self._marks = {name: _mark(value) for name, value in self._current().items()}

    def changed(self) -> list[str]:
        """Returns the names of those that changed since `digests`; reads only what was written to since."""
        current = self._current()
        written = [name for name in self._digests if _mark(current[name]) != self._marks[name]]
        changed = [name for name in written if _digest(current[name]) != self._digests[name]]
        self.mark()
        return changed


def _mark(value: torch.Tensor) -> Mark:
    with suppress(RuntimeError):
        return value.data_ptr(), value._version, _probe(value)
    return 0, 0, b""  # a tensor of a kind that has no place of its own


def _probe(value: torch.Tensor) -> bytes:
    """Returns the bytes of values at regular intervals; none where they cannot be read."""
    with suppress(RuntimeError, TypeError, NotImplementedError):
        places = torch.arange(0, value.numel(), 1 + value.numel() // PROBED, device=value.device)
        found = _bytes(value.detach().take(places))
        return b"" if found is None else found.tobytes()
    return b""


def _digest(value: torch.Tensor) -> str:
    return tensor_digest(str(value.dtype), value.shape, _bytes(value))


def _bytes(value: torch.Tensor) -> Array | None:
    """Returns the bytes; None where they cannot be read: without data, sparse, or of a library's own kind."""
    with suppress(RuntimeError, TypeError, NotImplementedError):
        plain = value.detach().resolve_conj().resolve_neg().cpu().contiguous()
        array: Array = plain.reshape(-1).view(torch.uint8).numpy()
        return array
    return None
