"""Values that task files and profiles have in common: paths, environments, mounts, placeholders."""

import posixpath
import re
from collections.abc import Mapping
from typing import Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from swarmlearning.documents.reading import Value
from swarmlearning.taskfiles.definition import MountType

MOUNT_TYPES: tuple[MountType, ...] = ("BIND", "VOLUME")
PATH_LENGTH = 240
ENVIRONMENT_VALUE = 4096
PLACEHOLDER = re.compile(r"<[A-Z][A-Za-z0-9]*(?:[-_][A-Za-z0-9]+)*>")
"""Such as `<CURRENT-PATH>`: files are handed round with these, and whoever uses one puts values in."""

_Named: TypeAlias = Literal["variable", "label"]
_NAMES: Mapping[_Named, re.Pattern[str]] = {
    "variable": re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,159}"),
    "label": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,159}"),
}
_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def filled(value: Value, least: int = 1, most: int = 160) -> str:
    """Text whose placeholders have been replaced; empty where it is wrong."""
    text = value.text(least, most)
    return text if _is_filled(value, text) else ""


def absolute_path(value: Value, most: int = PATH_LENGTH) -> str:
    """A normalised absolute path without `..`."""
    text = filled(value, 1, most)
    path = posixpath.normpath(f"/{text.lstrip('/')}")
    if text and not text.startswith("/"):
        value.fault(f"expected an absolute path, found {text!r}")
    elif text and _leads_out(text):
        value.fault(f"the path {text!r} contains '..'; write the path that is meant")
    elif text and path == "/":
        value.fault("the root folder cannot be used here; name a folder below it")
    return path


def inner_path(value: Value, most: int = PATH_LENGTH) -> str:
    """A path within a volume, relative to its root, without `..`; a slash before it changes nothing."""
    text = filled(value, 1, most)
    if _leads_out(text):
        value.fault(f"the path {text!r} contains '..'; it must stay within the volume")
    return posixpath.normpath(text.lstrip("/") or ".")


def volume(value: Value, least: int = 2, most: int = PATH_LENGTH) -> str:
    """The name of a volume."""
    text = filled(value, least, most)
    if text and _VOLUME.fullmatch(text) is None:
        value.fault(f"expected a volume's name (letters, digits, '_', '.', '-'), found {text[:60]!r}")
    return text


def source(value: Value, kind: MountType) -> str:
    """What is mounted: a path of the site, or a volume's name."""
    return absolute_path(value) if kind == "BIND" else volume(value)


def environment(value: Value) -> dict[str, str]:
    """Variables from a list of single-key maps or `NAME=value` texts, or from one map; null is none.

    Values are texts as written; a variable whose value is null is left out.
    """
    return dict(_pairs(value, "variable"))


def labels(value: Value) -> dict[str, str]:
    """Labels of a container, written in the same ways; a label without a value is empty."""
    return dict(_pairs(value, "label"))


def _pairs(value: Value, what: _Named) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    seen = set[str]()
    for key, entry in _entries(value, what):
        name = key.strip()
        if _NAMES[what].fullmatch(name) is None:
            entry.fault(f"{name[:60]!r} cannot name a {what}; use letters, digits and '_'")
        if name in seen:
            entry.fault(f"the {what} {name[:60]} is already there")
        seen.add(name)
        if not entry.is_null:
            text = entry.text(0, ENVIRONMENT_VALUE, lines=True)
            _is_filled(entry, text)
            pairs.append((name, text))
        elif what == "label":
            pairs.append((name, ""))
    return pairs


def _entries(value: Value, what: _Named) -> list[tuple[str, Value]]:
    if value.is_null:
        return []
    if value.is_mapping:
        return value.entries()
    if not value.is_list:
        value.fault(f"expected a list or a mapping of {what}s")
        return []
    found: list[tuple[str, Value]] = []
    for item in value.items():
        if item.is_mapping:
            found += item.entries()
        elif item.is_null or item.is_list:
            item.fault(f"expected one {what}, as NAME: value")
        else:
            found.append(_assignment(item, what))
    return found


def _assignment(item: Value, what: _Named) -> tuple[str, Value]:
    name, equals, value = item.text(1, ENVIRONMENT_VALUE).partition("=")
    if equals or what == "label":
        return name, item.part(value)
    item.fault(f"expected one {what}, as NAME: value, found {name[:40]!r}; a space must follow the colon")
    return "_", item.part("")


def _is_filled(value: Value, text: str) -> bool:
    """Notes a fault for a text whose placeholders have not been replaced."""
    found = PLACEHOLDER.search(text)
    if found:
        value.fault(f"the placeholder {found[0]} has not been replaced; put your site's value there")
    return found is None


def file_path(url: str) -> str | None:
    """The path of the site that a `file:` URL names; None for other ones."""
    parts = urlsplit(url)
    return posixpath.normpath(f"/{unquote(parts.path).lstrip('/')}") if parts.scheme.lower() == "file" else None


def _leads_out(path: str) -> bool:
    return ".." in path.split("/")
