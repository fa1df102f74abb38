"""The structure of a model as a node keeps and sends it: text with a line for each tensor."""

from pathlib import Path

from swarmlearning.tensors.structure import Structure


def read_structure(path: Path) -> Structure | None:
    """The structure of the model that a node's script has opened its last session with; None where there is none."""
    try:
        return Structure.parse((path / "structure.txt").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
