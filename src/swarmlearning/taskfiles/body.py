"""The body of a task, for each of the four types: read from values, with all rules of the documented schema."""

import re
from collections.abc import Callable, Mapping
from typing import Literal, get_args
from urllib.parse import unquote, urlsplit

from swarmlearning.documents.reading import Value, distinct
from swarmlearning.taskfiles.definition import (
    Credentials,
    Definition,
    MakeSwarmUserContent,
    MakeUserContainer,
    Operation,
    PullImage,
    RunSwarm,
    SharedContent,
    TaskType,
)
from swarmlearning.taskfiles.fields import MOUNT_TYPES, absolute_path, environment, filled, inner_path, source, volume

BUILD_STEPS = 80
SHARED_FOLDERS = 10
OPERATIONS = 20
VARIABLES = 200

_REGISTRY = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_BUILD_TYPES: tuple[Literal["INLINE", "REMOTE"], ...] = ("INLINE", "REMOTE")
_CONTENT_TYPES: tuple[Literal["BUILDCONTENT", "SWARMCONTENT"], ...] = ("BUILDCONTENT", "SWARMCONTENT")
_OPERATIONS: tuple[Literal["DOWNLOAD", "EXTRACT"], ...] = ("DOWNLOAD", "EXTRACT")
_SCHEMES = ("http", "https", "file")

TASK_TYPES: tuple[TaskType, ...] = get_args(TaskType)


def body(task_type: TaskType, value: Value) -> Definition:
    """What a task of this type says."""
    return _READERS[task_type](value)


def run_swarm(value: Value) -> RunSwarm:
    fields = value.fields(("Command", "Entrypoint", "WorkingDir", "Envvars", "PrivateContent", "SharedContent"))
    variables = environment(fields["Envvars"])
    if len(variables) > VARIABLES:
        fields["Envvars"].fault(f"expected at most {VARIABLES} variables, found {len(variables)}")
    private = fields["PrivateContent"].optional(absolute_path)
    shared = fields["SharedContent"]
    contents = [] if shared.is_null else [_shared_content(item) for item in shared.items(1, SHARED_FOLDERS)]
    mounts = [(fields["PrivateContent"], private), *((target, content.target) for content, target in contents)]
    distinct(mounts, "mount")
    return RunSwarm(
        filled(fields["Command"]),
        filled(fields["Entrypoint"]),
        absolute_path(fields["WorkingDir"]),
        tuple(variables.items()),
        private,
        tuple(content for content, _ in contents),
    )


def _shared_content(value: Value) -> tuple[SharedContent, Value]:
    """The content, and the field of its target."""
    fields = value.fields(("Src", "Tgt", "MType"))
    kind = fields["MType"].choice(MOUNT_TYPES)
    return SharedContent(source(fields["Src"], kind), absolute_path(fields["Tgt"]), kind), fields["Tgt"]


def make_user_container(value: Value) -> MakeUserContainer:
    fields = value.fields(("BuildType", "BuildSteps"), ("BuildContext",))
    if fields["BuildType"].choice(_BUILD_TYPES) == "REMOTE":
        fields["BuildType"].fault("REMOTE builds do not exist; use INLINE")
    steps = tuple(filled(item) for item in fields["BuildSteps"].items(1, BUILD_STEPS))
    return MakeUserContainer(steps, fields["BuildContext"].optional(lambda name: volume(name, 3, 160)))


def pull_image(value: Value) -> PullImage:
    fields = value.fields(("Tag", "RepoName", "OrgAndReg"), ("Auth",))
    return PullImage(
        _matching(fields["OrgAndReg"], _REGISTRY, "a registry and organisation, such as registry.example.org/team"),
        _matching(fields["RepoName"], _REPOSITORY, "a repository's name in small letters"),
        _matching(fields["Tag"], _TAG, "a tag of letters, digits, '_', '.' and '-'"),
        fields["Auth"].optional(_auth),
    )


def _auth(value: Value) -> Credentials | str:
    if not value.is_mapping:
        return absolute_path(value)
    fields = value.fields(("Username", "Password"))
    return Credentials(fields["Username"].text(), fields["Password"].text())


def make_swarm_user_content(value: Value) -> MakeSwarmUserContent:
    fields = value.fields(("ContentType", "OpsList"))
    kind = fields["ContentType"].choice(_CONTENT_TYPES)
    return MakeSwarmUserContent(kind, tuple(_operation(item) for item in fields["OpsList"].items(1, OPERATIONS)))


def _operation(value: Value) -> Operation:
    fields = value.fields(("Operation", "Target"), ("Options",))
    kind = fields["Operation"].choice(_OPERATIONS)
    target = _url(fields["Target"]) if kind == "DOWNLOAD" else _archive(fields["Target"])
    return Operation(kind, target, _out(fields["Options"]))


def _out(value: Value) -> str | None:
    """The path in the volume: `Options` is a list of maps, or one map, that may have the key `Out` alone."""
    if value.is_null:
        return None
    maps = [value] if value.is_mapping else value.items(0, 1)
    found = [fields["Out"].optional(inner_path) for fields in (item.fields((), ("Out",)) for item in maps)]
    return found[0] if found else None


def _url(value: Value) -> str:
    text = filled(value)
    scheme, host, path = _parts(text)
    if text and (scheme not in _SCHEMES or (scheme == "file") == bool(host) or any(c.isspace() for c in text)):
        value.fault(f"expected a URL that begins with http://, https:// or file:///, found {text[:60]!r}")
    elif scheme == "file" and ".." in unquote(path).split("/"):
        value.fault(f"the path of {text[:60]!r} contains '..'; write the path that is meant")
    return text


def _archive(value: Value) -> str:
    """A path in the volume, or a URL as for downloads."""
    return _url(value) if "://" in value.text() else inner_path(value, 160)


def _parts(url: str) -> tuple[str, str, str]:
    """Scheme, host and path of a URL; empty where it is none."""
    try:
        parts = urlsplit(url)
        return parts.scheme.lower(), parts.hostname or "", parts.path
    except ValueError:
        return "", "", ""


def _matching(value: Value, pattern: re.Pattern[str], what: str) -> str:
    text = filled(value)
    if text and pattern.fullmatch(text) is None:
        value.fault(f"expected {what}, found {text[:60]!r}")
    return text


_READERS: Mapping[TaskType, Callable[[Value], Definition]] = {
    "RUN_SWARM": run_swarm,
    "MAKE_USER_CONTAINER": make_user_container,
    "PULL_IMAGE": pull_image,
    "MAKE_SWARM_USER_CONTENT": make_swarm_user_content,
}
