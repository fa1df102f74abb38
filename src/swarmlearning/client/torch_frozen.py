"""Parameters of a PyTorch model that are not merged, because they stay what they are and are the same at all sites."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final

import torch

from swarmlearning.client.fixed import tensor_digest
from swarmlearning.tensors.file import Array

Mark = tuple[int, int, bytes]
"""A tensor's place in memory, PyTorch's count of its changes, and some of its values: changes through `tensor.data` are
not counted."""

PROBED = 256
"""About so many values of each tensor are looked at."""

READ_AT_ONCE: Final = 2**26
"""Bytes of values not known to be written to that are read at each look, in about a tenth of a second."""


class Frozen:
    """The values of frozen parameters, which `current` returns by name."""

    def __init__(self, current: Callable[[], Mapping[str, torch.Tensor]]) -> None:
        self._current = current
        self._digests: dict[str, str] = {}  # empty until they were first computed
        self._marks: dict[str, Mark] = {}
        self._turn = 0  # number of the next one that is read although nothing shows that it was written to

    def digests(self) -> dict[str, str]:
        """Returns a digest of each, computed now: reads all of them once."""
        self._digests = {name: _digest(value) for name, value in self._current().items()}
        self.mark()
        return self._digests

    def mark(self) -> None:
        """Remembers their state as unchanged."""
        self._marks = {name: _mark(value) for name, value in self._current().items()}

    def changed(self) -> list[str]:
        """Returns the names of those that changed since `digests`.

        Reads those whose marks show that they were written to. What is written through `tensor.data` or NumPy may not
        show there: so the others are read too, a part at each call, and all of them in turn.
        """
        current = self._current()
        suspected = {name for name in self._digests if _mark(current[name]) != self._marks[name]}
        suspected.update(self._in_turn(current))
        changed = [
            name for name in self._digests if name in suspected and _digest(current[name]) != self._digests[name]
        ]
        self.mark()
        return changed

    def _in_turn(self, current: Mapping[str, torch.Tensor]) -> Iterator[str]:
        names, size = list(self._digests), 0
        for _ in names:
            name = names[self._turn % len(names)]
            self._turn += 1
            yield name
            size += current[name].numel() * current[name].element_size()  # `nbytes` raises for sparse tensors
            if size >= READ_AT_ONCE:
                return


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
