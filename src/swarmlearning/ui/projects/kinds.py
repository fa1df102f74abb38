"""What a project consists of: the kinds of its files, where each lies, how it is named and how large it may be."""

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from swarmlearning.documents.parsing import BYTES as YAML_BYTES
from swarmlearning.errors import UserError

KindName: TypeAlias = Literal["model", "profile", "policy", "task", "certificate", "authority", "readme"]

MOST_PROJECTS: Final = 200
MOST_BYTES: Final = 4 * 2**30
"""Of all files of a project."""

_YAML: Final = (".yaml", ".yml")
_PEM: Final = (".pem", ".crt", ".cer")
_PROJECT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@=-]{0,99}")
_RESERVED: Final = frozenset({"new", "create", "tasks", "taskrunners", "contracts", "approvals", "logs"})
"""Pages beside those of projects."""
_SHOWN: Final = 60


class ProjectError(UserError):
    """What cannot be done with a project; the message says what, where and what to do."""


class Kind(NamedTuple):
    """Files of one kind: their folder in the project and on hosts, the ends of their names (none: any), the largest
    one in bytes, how many there may be, and in how many folders within `folder` one may lie."""

    folder: str
    ends: tuple[str, ...]
    most_bytes: int
    most_files: int
    levels: int = 0


KINDS: Final[Mapping[KindName, Kind]] = {
    "model": Kind("model", (), 2 * 2**30, 1000, 8),
    "profile": Kind("profiles", _YAML, YAML_BYTES, 64),
    "policy": Kind("policies", _YAML, YAML_BYTES, 64),
    "task": Kind("tasks", _YAML, YAML_BYTES, 64),
    "certificate": Kind("certs", _PEM, 64 * 1024, 256),
    "authority": Kind("cacerts", _PEM, 256 * 1024, 64),
    "readme": Kind("", (".md", ".txt"), 256 * 1024, 1),
}
MACROS_IN: Final[tuple[KindName, ...]] = ("profile", "policy", "task")
"""Kinds whose macros are replaced. A script keeps all its text: what looks like a macro there may be its own."""


def check_project_name(name: str) -> None:
    """Raises `ProjectError` for what cannot name a project."""
    if _PROJECT.fullmatch(name) is None or name.endswith((".", ".json")) or name.lower() in _RESERVED:
        raise ProjectError(
            f"{_shown(name)} cannot name a project: use 1 to 40 letters (a-z), digits, '.', '_' and '-', and begin "
            f"with a letter or digit{'; this word is reserved' if name.lower() in _RESERVED else ''}"
        )


def kind_named(word: str) -> KindName:
    """The kind of this name. Raises `ProjectError`."""
    names: tuple[KindName, ...] = get_args(KindName)
    for name in names:
        if name == word:
            return name
    raise ProjectError(f"{_shown(word)} is no kind of a project's files; there are {', '.join(names)}")


def path_of(kind: KindName, name: str) -> str:
    """The path within the project of a file with this name, which may contain folders for a model.

    Raises `ProjectError` for a name that cannot be used.
    """
    rules, parts = KINDS[kind], name.split("/")
    if kind == "readme":
        parts = [f"README{_end(name)}"]
    if len(parts) > rules.levels + 1:
        where = f"at most {rules.levels} folders deep" if rules.levels else "without folders"
        raise ProjectError(f"{_shown(name)}: a file of kind {kind} is named {where}")
    if (bad := next((part for part in parts if _PART.fullmatch(part) is None), None)) is not None:
        raise ProjectError(
            f"{_shown(name)}: {_shown(bad)} cannot be used as a name; use 1 to 100 letters (a-z), digits and "
            "'._+@=-', and begin with a letter, a digit or '_'"
        )
    if rules.ends and _end(parts[-1]) not in rules.ends:
        raise ProjectError(f"{_shown(name)}: a file of kind {kind} has a name that ends with {_either(rules.ends)}")
    return "/".join((*((rules.folder,) if rules.folder else ()), *parts))


def kind_of(path: str) -> KindName | None:
    """The kind of the file at this path within a project; None for what is none of its files."""
    folder, _, rest = path.partition("/")
    if not rest:
        return "readme" if folder in ("README.md", "README.txt") else None
    return next((name for name, kind in KINDS.items() if kind.folder == folder), None)


def _end(name: str) -> str:
    return f".{name.rpartition('.')[2].lower()}" if "." in name else ""


def _either(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _shown(text: str) -> str:
    """A name that somebody has sent, in quotes and not too long."""
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}...")
