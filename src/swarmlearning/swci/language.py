"""SWCI's command language: a line becomes a call, its completions or an error with the column. Pure.

Commands and keywords are told apart by their place, so that a name may be any word, `WITH` and `PEERS` included.
"""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Final, NamedTuple

from swarmlearning.errors import UserError
from swarmlearning.swci.pattern import Mismatch, Value, following, furthest, match, tokens
from swarmlearning.swci.table import COMMANDS, Command
from swarmlearning.views.names import displayed

MOST_CHARACTERS: Final = 4096
"""Of a line; the longest commands have a few hundred."""

NAMES: Final = tuple(sorted({each.name for each in COMMANDS}))


class LanguageError(UserError):
    """A line that is no command; the message names the column and what is expected there."""


class Call(NamedTuple):
    """A command and the values of its arguments, None for each that is left out."""

    command: Command
    values: tuple[Value, ...]


def is_remark(line: str) -> bool:
    """True for a comment or a blank line, which does nothing."""
    return not line.strip() or line.lstrip().startswith("#")


def parse(line: str) -> Call:
    """The command in a line. Raises `LanguageError`."""
    if len(line) > MOST_CHARACTERS:
        raise LanguageError(f"the line has {len(line)} characters; at most {MOST_CHARACTERS} are taken")
    failed = []
    for command in COMMANDS:
        found = match(command.form, line)
        if not isinstance(found, Mismatch):
            return Call(command, found)
        if not command.older:
            failed.append((found, command))
    raise _error(line, failed)


def completions(line: str, names: Mapping[str, Collection[str]]) -> list[tuple[str, int]]:
    """What the last word of a line, or the word after it, may be, and how many characters of it stand there already.

    `names`: by the name of an argument, those there are.
    """
    words = tokens(line)
    partial = words.pop().text if words and not line.endswith(" ") else ""
    before = line[: len(line) - len(partial)]
    found: dict[str, None] = {}
    for command in COMMANDS:
        for element in () if command.older else following(command.form, before):
            for choice in element.words or names.get(element.name, ()):
                if choice.upper().startswith(partial.upper()):
                    found[choice] = None
    return [(choice, len(partial)) for choice in found]


def help_lines(named: str) -> list[str]:
    """The text of HELP, for one command or with the names of all. Raises `LanguageError` for a command that is none."""
    if not named:
        ours = sorted({each.name for each in COMMANDS if each.ours})
        return [*NAMES, f"Not among the original's commands: {', '.join(ours)}."]
    name = " ".join(named.upper().split())
    found = [each for each in COMMANDS if each.name == name]
    if not found:
        near = get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]}?" if near else "HELP lists the commands"
        raise LanguageError(f"there is no command {displayed(named)}; {hint}")
    lines = [_shown_form(each) for each in found if not each.older]
    for text in dict.fromkeys(each.help for each in found):
        lines += text.split("\n")
    return [*lines, "This command is not one of the original's."] if found[0].ours else lines


def _shown_form(command: Command) -> str:
    """The form as HELP shows it."""
    return command.form.replace("[command : words]", "[command:string]").replace(" : words]", " : string ...]")


def _error(line: str, failed: list[tuple[Mismatch, Command]]) -> LanguageError:
    """The error of a line that has none of the forms."""
    where = furthest([mismatch for mismatch, _ in failed])
    if where.at == 0:
        return _unknown(line)
    nearest = [command for mismatch, command in failed if mismatch.at == where.at]
    names = dict.fromkeys(command.name for command in nearest)
    stands = next((word.text for word in tokens(line) if word.start == where.column), "")
    found = f"found {displayed(stands)!r}" if stands else "the line ends"
    expected = " or ".join(map(str, where.expected)) or "the end of the line"
    shows = f"; see HELP {next(iter(names))}" if len(names) == 1 else ""
    return LanguageError(f"column {where.column + 1}: expected {expected}, {found}{shows}")


def _unknown(line: str) -> LanguageError:
    words = [word.text.upper() for word in tokens(line)]
    tries = [" ".join(words[:count]) for count in range(min(len(words), 4), 0, -1)]
    near = next((found[0] for each in tries if (found := get_close_matches(each, NAMES, n=1, cutoff=0.75))), "")
    hint = f"did you mean {near}?" if near else "HELP lists the commands"
    return LanguageError(f"column 1: {displayed(' '.join(words[:1]))} is no command; {hint}")
