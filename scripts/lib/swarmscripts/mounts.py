"""Files and folders that a container shares with its host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from swarmscripts.errors import ScriptError


@dataclass(frozen=True)
class Mount:
    """`source` on the host, or the name of a volume, at `target` in the container; `mode`: such as `ro`."""

    source: str
    target: str
    mode: str = ""

    @property
    def is_bind(self) -> bool:
        """Whether the source is a path, not the name of a volume."""
        return "/" in self.source

    @property
    def text(self) -> str:
        """As `--volume` takes it."""
        return ":".join(part for part in (self.source, self.target, self.mode) if part)


def read_mount(text: str) -> Mount:
    """`source:target[:mode]`, or the target of a volume without a name. A source with a `/` is made absolute.

    Raises `ScriptError` where it does not exist.
    """
    source, colon, rest = text.partition(":")
    if not colon:
        return Mount("", text)
    target, _, mode = rest.partition(":")
    if "/" not in source:
        return Mount(source, target, mode)
    if not target or not Path(source).exists():
        raise ScriptError(f"{text}: bad mount")
    return Mount(str(Path(source).absolute()), target, mode)
