"""The command line of a script: `--option value`, `--option=value`, in any case; `--` ends the options.

A container beside the main one, a *sidecar*, has the same options with its name before them: `--ml-image`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from swarmscripts.errors import ScriptError

MAIN = ""
"""The owner of options that belong to the main container."""

_TRUE = ("true", "1", "t")
_FALSE = ("false", "0", "f")


@dataclass(frozen=True)
class Option:
    """`--name`, with one value described by `metavar`, or a flag where that is empty; `letter`: its short form."""

    name: str
    metavar: str = ""
    help: str = ""
    letter: str = ""
    handed_on: bool = False
    """Whether it is an option of the container runtime."""

    @property
    def is_flag(self) -> bool:
        return not self.metavar


class Table:
    """Options by name. Of two with one name or letter the first one counts."""

    def __init__(self, options: Iterable[Option]) -> None:
        self._names: dict[str, Option] = {}
        self._letters: dict[str, Option] = {}
        for option in options:
            self._names.setdefault(option.name.lower(), option)
            if option.letter:
                self._letters.setdefault(option.letter, option)

    def named(self, name: str) -> Sequence[Option]:
        """The options behind two dashes: a long name in any case, a letter, or the letters of several flags."""
        if found := self._names.get(name.lower()):
            return [found]
        found_all = [self._letters[letter] for letter in name if letter in self._letters]
        if len(found_all) == len(name) and (len(name) == 1 or all(each.is_flag for each in found_all)):
            return found_all
        return []

    def letters(self, word: str) -> Sequence[tuple[Option, str | None]]:
        """The options behind one dash, `-itv`, `-p80:80`: flags and, as the last, one whose value may follow."""
        found: list[tuple[Option, str | None]] = []
        for position, letter in enumerate(word):
            option = self._letters.get(letter)
            if option is None:
                return []
            rest = word[position + 1 :]
            if not option.is_flag:
                return [*found, (option, rest.removeprefix("=") if rest else None)]
            if rest.startswith("="):
                return [*found, (option, rest[1:])]
            found.append((option, "true"))
        return found


class Given:
    """The options that were given to one container, in their order."""

    def __init__(self, values: Iterable[tuple[Option, str]] = ()) -> None:
        self.values = list(values)

    def all(self, name: str) -> list[str]:
        """Every value of an option that may be repeated."""
        return [value for option, value in self.values if option.name == name]

    def last(self, *names: str) -> str:
        """The value that was given last, to an option of one of these names; empty where none was."""
        found = [value for option, value in self.values if option.name in names]
        return found[-1] if found else ""

    def flag(self, name: str) -> bool:
        """Whether a flag is set."""
        return self.last(name) == "true"

    def __contains__(self, name: object) -> bool:
        return any(option.name == name for option, _ in self.values)


def parse(words: Sequence[str], tables: Mapping[str, Table]) -> tuple[dict[str, Given], list[str]]:
    """The options given, by owner (`MAIN` or a sidecar's name), and the words that are none, in their order.

    Raises `ScriptError` for an option without its value, and for a flag with another value than true or false.
    """
    given = {owner: Given() for owner in tables}
    rest: list[str] = []
    ahead = list(reversed(words))
    while ahead:
        word = ahead.pop()
        if word == "--":
            rest += reversed(ahead)
            break
        owner, found = _options(word, tables)
        if not found:
            rest.append(word)
        for option, value in found:
            if value is None and not ahead:
                raise ScriptError(f"{word}: missing argument")
            text = ahead.pop() if value is None else value
            given[owner].values.append((option, _truth(word, text) if option.is_flag else text))
    return given, rest


def _options(word: str, tables: Mapping[str, Table]) -> tuple[str, Sequence[tuple[Option, str | None]]]:
    """Whose options a word is, and their values as far as it has them; no options for another word."""
    if not word.startswith("--"):
        return MAIN, tables[MAIN].letters(word[1:]) if word.startswith("-") else []
    name, equals, value = word[2:].partition("=")
    for owner, table in tables.items():
        prefix = f"{owner}-" if owner else ""
        if name.lower().startswith(prefix.lower()) and (found := table.named(name[len(prefix) :])):
            return owner, [
                (option, value if equals and option is found[-1] else "true" if option.is_flag else None)
                for option in found
            ]
    return MAIN, []


def _truth(word: str, text: str) -> str:
    if text.lower() in _TRUE:
        return "true"
    if text.lower() in _FALSE:
        return "false"
    raise ScriptError(f"{word}: a flag takes =true or =false, not {text!r}")
