"""Names of container images, and patterns for them."""

from fnmatch import fnmatchcase
from typing import NamedTuple

from swarmlearning.taskfiles.definition import PullImage

_DEFAULT_REGISTRY = "docker.io"


def full_name(pull: PullImage) -> str:
    """The name of the image that a PULL_IMAGE task fetches."""
    return f"{pull.registry.rstrip('/')}/{pull.repository}:{pull.tag}"


def matches(pattern: str, image: str) -> bool:
    """Whether an image's name fits a pattern, in which `*` stands for any characters.

    A name without registry is one of Docker Hub, and one without tag is `latest`. A pattern without tag and digest
    fits every tag.
    """
    wanted, given = _parsed(pattern), _parsed(image)
    if not fnmatchcase(given.path, wanted.path):
        return False
    return not wanted.version or fnmatchcase(given.version or ":latest", wanted.version)


def may_be_same(one: str, other: str) -> bool:
    """Whether two names may stand for the same image: an engine completes a name without registry as it likes."""
    (path, version), (other_path, other_version) = _parsed(one), _parsed(other)
    return _local(path) == _local(other_path) and (version or ":latest") == (other_version or ":latest")


def _local(path: str) -> str:
    for registry in (f"{_DEFAULT_REGISTRY}/", "localhost/"):
        path = path.removeprefix(registry)
    return path.removeprefix("library/")


class _Name(NamedTuple):
    path: str
    version: str


def _parsed(name: str) -> _Name:
    """Path with registry, and tag or digest with the mark before it (empty where there is none)."""
    path, at, digest = name.partition("@")
    head, slash, last = path.rpartition("/")
    last, colon, tag = last.partition(":")
    path = f"{head}{slash}{last}"
    first, slash, _ = path.partition("/")
    if not slash and path != "*":
        path = f"{_DEFAULT_REGISTRY}/library/{path}"
    elif first != "*" and first != "localhost" and "." not in first and ":" not in first:
        path = f"{_DEFAULT_REGISTRY}/{path}"
    return _Name(path, f"{at}{digest}" if at else f"{colon}{tag}")
