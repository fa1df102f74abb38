"""The chunk lists of models, as files in the folder of their store.

<digest>.chunks    the list of a model whose root is its name, which proves it
<name>.stated      what is known of the list of a result that is merged in parts, whose root nobody knows yet
"""

from collections.abc import Callable
from pathlib import Path

from swarmlearning.tensors.digest import DigestError, ModelDigest


class ChunkLists:
    """Any thread may call. What writes raises OSError."""

    def __init__(self, directory: Path, temporary: Callable[[], Path]) -> None:
        """`temporary` makes an empty file in the same folder."""
        self._directory = directory
        self._temporary = temporary

    def proven(self, digest: str) -> ModelDigest | None:
        """The chunk list of this root, None when it is not here or damaged."""
        info = _read(self._directory / f"{digest}.chunks")
        return info if info is not None and info.root == digest else None

    def known(self, name: str) -> ModelDigest | None:
        """The chunk list of a model by its root, or by the name under which its parts are kept."""
        return self.proven(name) or _read(self._directory / f"{name}.stated")

    def write(self, name: str, info: ModelDigest) -> None:
        """Keeps a list, as far as it is known where the name is not its root."""
        if name != info.root:
            self._write(self._directory / f"{name}.stated", info)
        elif self.proven(name) is None:
            self._write(self._directory / f"{name}.chunks", info)

    def forget(self, name: str) -> None:
        for suffix in ("chunks", "stated"):
            (self._directory / f"{name}.{suffix}").unlink(missing_ok=True)

    def _write(self, path: Path, info: ModelDigest) -> None:
        temporary = self._temporary()
        temporary.write_bytes(info.to_bytes())
        temporary.replace(path)


def _read(path: Path) -> ModelDigest | None:
    try:
        return ModelDigest.from_bytes(path.read_bytes())
    except (OSError, DigestError):
        return None
