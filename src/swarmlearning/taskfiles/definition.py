"""What a task says that has been read and checked: one structure for each type of task."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from swarmlearning.choices import ROOT_TASK, TaskType

MountType: TypeAlias = Literal["BIND", "VOLUME"]


class SharedContent(NamedTuple):
    """A folder or volume of the site that the ML process sees at `target`."""

    source: str
    target: str
    kind: MountType


class RunSwarm(NamedTuple):
    """Trains: each pair runs `entrypoint` with the words of `command` in `working_dir`."""

    command: str
    entrypoint: str
    working_dir: str
    environment: tuple[tuple[str, str], ...] = ()
    private_content: str | None = None
    shared_content: tuple[SharedContent, ...] = ()


class MakeUserContainer(NamedTuple):
    """Builds an image, or an environment, from Dockerfile lines and the files of a volume."""

    build_steps: tuple[str, ...]
    build_context: str | None = None


class Credentials(NamedTuple):
    """A login at an image registry."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, ...)"


class PullImage(NamedTuple):
    """Fetches an image; `auth`: a login, or the path of a Docker `config.json` at the site."""

    registry: str
    repository: str
    tag: str
    auth: Credentials | str | None = None


class Operation(NamedTuple):
    """One step that brings content in: `target` is a URL to download or an archive to extract, `out` a path within."""

    kind: Literal["DOWNLOAD", "EXTRACT"]
    target: str
    out: str | None = None


class MakeSwarmUserContent(NamedTuple):
    """Fills a volume: one for builds, or one for each node of the profile."""

    kind: Literal["BUILDCONTENT", "SWARMCONTENT"]
    operations: tuple[Operation, ...]


def made_volumes(content: MakeSwarmUserContent, outcome: str, indices: Sequence[int]) -> tuple[str, ...]:
    """The volumes that a task with this outcome fills at a site whose profile has nodes of these indices."""
    return (outcome,) if content.kind == "BUILDCONTENT" else tuple(f"{outcome}-{index}" for index in indices)


Definition: TypeAlias = RunSwarm | MakeUserContainer | MakeSwarmUserContent | PullImage

__all__ = [
    "ROOT_TASK",
    "Credentials",
    "Definition",
    "MakeSwarmUserContent",
    "MakeUserContainer",
    "MountType",
    "Operation",
    "PullImage",
    "RunSwarm",
    "SharedContent",
    "TaskType",
    "made_volumes",
]
