"""The structure of a model as a node keeps and sends it: text with a line for each tensor."""

from pathlib import Path

import msgspec

from swarmlearning.tensors.structure import Spec


def read_structure(path: Path) -> list[Spec] | None:
    """The structure of the model that a node's script has opened its last session with; None where there is none."""
    try:
        return structure_of((path / "structure.txt").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def structure_of(text: str) -> list[Spec]:
    """The structure that `structure_text` has listed. Raises `ValueError` for another text."""
    try:
        return [_spec(line) for line in text.splitlines()]
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error


def _spec(line: str) -> Spec:
    """A line of `tensors.structure.structure_text`."""
    begin = line.rindex("[")
    name, _, dtype = line[:begin].rstrip().rpartition(" ")
    return msgspec.json.decode(name, type=str), dtype, msgspec.json.decode(line[begin:], type=tuple[int, ...])
