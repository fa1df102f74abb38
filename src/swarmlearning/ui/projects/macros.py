"""Macros in profiles, policies and tasks: `<CURRENT-PATH>` and the like, replaced when a file is deployed.

A value takes the place of a macro in the text of the YAML file, so values have characters only that mean nothing in
YAML. The one that means something is `null`, where there is no license server.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from swarmlearning.taskfiles.fields import PLACEHOLDER
from swarmlearning.ui.projects.kinds import ProjectError

CURRENT_PATH: Final = "<CURRENT-PATH>"
PROJECT: Final = "<PROJECT>"
PROJECT_MODEL: Final = "<PROJECT-MODEL>"
PROJECT_CERTS: Final = "<PROJECT-CERTS>"
PROJECT_CACERTS: Final = "<PROJECT-CACERTS>"
SWARM_NETWORK: Final = "<SWARM-NETWORK>"
LICENSE_SERVER: Final = "<LICENSE-SERVER-ADDRESS>"
HOST_ADDRESS: Final = "<HOST_ADDRESS>"

MACROS: Final[Mapping[str, str]] = {
    CURRENT_PATH: "the folder in which the product is installed on the host",
    PROJECT: "the project's folder on the host",
    PROJECT_MODEL: "its folder model",
    PROJECT_CERTS: "its folder certs: certificates, and the keys that were made on that host",
    PROJECT_CACERTS: "its folder cacerts",
    SWARM_NETWORK: "the container network of the nodes, which the project names",
    LICENSE_SERVER: "the license server that the project names; null without one: then no license is needed",
    HOST_ADDRESS: "the host's address",
}
"""Those of the original's UI. Of its samples for a reverse proxy and for SPIRE there are more, such as `<DNS>` and
`<SL-IP-1>`: the project gives them values, or they are open."""
NO_LICENSE_SERVER: Final = "null"
LONGEST: Final = 200
MOST_VALUES: Final = 100
LONGEST_LINE: Final = 400

_BY_PLACE: Final = (CURRENT_PATH, PROJECT, PROJECT_MODEL, PROJECT_CERTS, PROJECT_CACERTS, HOST_ADDRESS)
_VALUE: Final = re.compile(rf"[A-Za-z0-9/][A-Za-z0-9._/:@+=-]{{0,{LONGEST - 1}}}")


class Place(NamedTuple):
    """Where a project is deployed to: a host's address, and the folder of the product there."""

    address: str
    root: str
    project: str

    @property
    def folder(self) -> str:
        """The project's folder on the host."""
        return f"{self.root.rstrip('/')}/projects/{self.project}"


class Replaced(msgspec.Struct, frozen=True):
    """A macro that a value has taken the place of: where, and its line before and after all replacements there."""

    line: int
    column: int
    macro: str
    value: str
    before: str
    after: str


class Substituted(NamedTuple):
    """A text with its macros replaced; `open`: those for which there is no value, each once."""

    text: str
    replaced: tuple[Replaced, ...]
    open: tuple[str, ...]

    def original_column(self, line: int, column: int) -> int:
        """The column in the text before, of a place in the text after."""
        shift = 0
        for each in self.replaced:
            begin = each.column + shift
            if each.line != line or column < begin:
                continue
            if column < begin + len(each.value):
                return each.column
            shift += len(each.value) - len(each.macro)
        return column - shift


def check_values(values: Mapping[str, str]) -> None:
    """Raises `ProjectError` for what no macro of a project can have for its value."""
    if len(values) > MOST_VALUES:
        raise ProjectError(f"{len(values)} macros are named; a project names at most {MOST_VALUES}")
    for macro, value in values.items():
        if PLACEHOLDER.fullmatch(macro) is None:
            raise ProjectError(f"{macro[:60]!r} is no macro: one is written as {SWARM_NETWORK}")
        if macro in _BY_PLACE:
            raise ProjectError(f"{macro} follows from the host ({MACROS[macro]}); it cannot be given a value")
        if _VALUE.fullmatch(value) is None or value.endswith(":"):
            raise ProjectError(
                f"{macro}: {value[:60]!r} cannot be its value: 1 to {LONGEST} letters (a-z), digits and '._/:@+=-', "
                "which mean nothing in YAML; the first one a letter, a digit or '/', the last one no ':'"
            )


def values_at(place: Place, named: Mapping[str, str]) -> dict[str, str]:
    """The values of all macros at this place, with those that the project has `named`."""
    folder = place.folder
    return {
        LICENSE_SERVER: NO_LICENSE_SERVER,
        **named,
        CURRENT_PATH: place.root.rstrip("/"),
        PROJECT: folder,
        PROJECT_MODEL: f"{folder}/model",
        PROJECT_CERTS: f"{folder}/certs",
        PROJECT_CACERTS: f"{folder}/cacerts",
        HOST_ADDRESS: place.address,
    }


def substituted(text: str, values: Mapping[str, str]) -> Substituted:
    """The text with the macros replaced that have a value; what stands in comments is replaced too."""
    lines, replaced, left = [], list[Replaced](), dict[str, None]()
    for number, line in enumerate(text.split("\n"), 1):
        found = list(PLACEHOLDER.finditer(line)) if "<" in line else []
        if not found:
            lines.append(line)
            continue
        after = PLACEHOLDER.sub(lambda match: values.get(match[0], match[0]), line)
        lines.append(after)
        for match in found:
            if match[0] not in values:
                if not _is_comment(line, match.start()):
                    left[match[0]] = None
                continue
            shown = line[:LONGEST_LINE], after[:LONGEST_LINE]
            replaced.append(Replaced(number, match.start() + 1, match[0], values[match[0]], *shown))
    return Substituted("\n".join(lines), tuple(replaced), tuple(left))


def macros_in(text: str) -> tuple[str, ...]:
    """The macros of a text, each once, without those that stand in lines of comment only."""
    return tuple(dict.fromkeys(match[0] for match in _outside_comments(text)))


def differing(texts: Iterable[str], one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The macros of these texts that have another value at one place than at the other."""
    used = dict.fromkeys(macro for text in texts for macro in macros_in(text))
    return [macro for macro in used if one.get(macro) != other.get(macro)]


def _outside_comments(text: str) -> Iterable[re.Match[str]]:
    for line in text.split("\n"):
        for match in PLACEHOLDER.finditer(line):
            if not _is_comment(line, match.start()):
                yield match


def _is_comment(line: str, at: int) -> bool:
    return line.lstrip().startswith("#") or " #" in line[:at]
