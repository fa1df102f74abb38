"""Forms of commands, written as HELP shows them, and what a line has to do with one. Pure.

`CREATE CONTEXT <ContextName : string> WITH IP <IP : string> [Port : integer]`: words in capitals are keywords, in
whatever case they are typed; `<…>` is an argument, `[…]` one that may be left out. `[ON|OFF]` is one of these words.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final, NamedTuple, TypeAlias

Value: TypeAlias = str | int | float | None
"""An argument of a call; None for one that is left out."""

_ELEMENT = re.compile(r"<(\w+) : (\w+)>|\[(\w+) : (\w+)\]|\[([A-Z|]+)\]|([A-Z]+)")
_TOKEN = re.compile(r"\"[^\"]*\"(?=\s|$)|'[^']*'(?=\s|$)|\S+")
_LARGEST: Final = 10**9


class Token(NamedTuple):
    """A word of a line, without its quotes, and the columns where it begins and ends, counted from 0."""

    text: str
    start: int
    end: int


class Element(NamedTuple):
    """A part of a form: one of these `words`, or an argument of this `kind`: string, path, integer, number, words (all
    that are left) or text (the rest of the line as it is)."""

    words: tuple[str, ...] = ()
    name: str = ""
    kind: str = ""
    optional: bool = False

    @property
    def is_value(self) -> bool:
        """True if a call gets a value for it."""
        return bool(self.kind) or self.optional

    def __str__(self) -> str:
        return " or ".join(self.words) if self.words else f"<{self.name} : {self.kind}>"


class Mismatch(NamedTuple):
    """The column at which a line has no such form, and what would have to stand there; `at` counts the words before
    it."""

    at: int
    column: int
    expected: tuple[Element, ...]


def tokens(line: str) -> list[Token]:
    """The words of a line; one in double or single quotes may have spaces."""
    return [Token(_unquoted(found[0]), found.start(), found.end()) for found in _TOKEN.finditer(line)]


@cache
def elements(form: str) -> tuple[Element, ...]:
    """The parts of a form."""
    found = []
    for name, kind, left_out, of_kind, words, keyword in _ELEMENT.findall(form):
        if keyword:
            found.append(Element(words=(keyword,)))
        elif words:
            found.append(Element(words=tuple(words.split("|")), optional=True))
        else:
            found.append(Element(name=name or left_out, kind=kind or of_kind, optional=bool(left_out)))
    return tuple(found)


def match(form: str, line: str) -> tuple[Value, ...] | Mismatch:
    """The values of the arguments in a line of this form, in their order, or where it is none."""
    words = tokens(line)
    return _match(elements(form), words, 0, line)


def following(form: str, line: str) -> tuple[Element, ...]:
    """What may stand after a line that is the beginning of this form."""
    return tuple(dict.fromkeys(_following(elements(form), [word.text for word in tokens(line)])))


def _following(rest: tuple[Element, ...], words: Sequence[str]) -> Iterator[Element]:
    if not rest:
        return
    if not words:
        yield rest[0]
    elif _value(rest[0], words[0]) is not None:
        yield from _following(rest[1:], words[1:])
    if rest[0].optional:
        yield from _following(rest[1:], words)


def _match(rest: tuple[Element, ...], words: Sequence[Token], at: int, line: str) -> tuple[Value, ...] | Mismatch:
    """Matches the rest of a form with the words from number `at` on; an optional part is taken where that fits."""
    if not rest:
        return () if at == len(words) else _mismatch((), words, at, line)
    first, others = rest[0], rest[1:]
    if first.kind in ("text", "words"):
        return (_remainder(first, words, at, line),)
    failed = []
    if at < len(words) and (value := _value(first, words[at].text)) is not None:
        taken = _match(others, words, at + 1, line)
        if not isinstance(taken, Mismatch):
            return (value, *taken) if first.is_value else taken
        failed.append(taken)
    else:
        failed.append(_mismatch((first,), words, at, line))
    if first.optional:
        without = _match(others, words, at, line)
        if not isinstance(without, Mismatch):
            return (None, *without)
        failed.append(without)
    return furthest(failed)


def furthest(failed: Sequence[Mismatch]) -> Mismatch:
    """Of several mismatches those that come latest, as one."""
    latest = max(each.at for each in failed)
    found = [each for each in failed if each.at == latest]
    return Mismatch(latest, found[0].column, tuple(dict.fromkeys(one for each in found for one in each.expected)))


def _mismatch(expected: tuple[Element, ...], words: Sequence[Token], at: int, line: str) -> Mismatch:
    return Mismatch(at, words[at].start if at < len(words) else len(line.rstrip()), expected)


def _value(element: Element, text: str) -> Value:
    """The value of a word as this element; None if it is none."""
    if element.words:
        return text.upper() if text.upper() in element.words else None
    if element.kind == "integer":
        return int(text) if text.isascii() and text.isdigit() and int(text) <= _LARGEST else None
    if element.kind == "number":
        return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) else None
    return text


def _remainder(element: Element, words: Sequence[Token], at: int, line: str) -> str:
    """All that stands after the word before: for a text with its own spaces, but for the one that separates them."""
    start = words[at - 1].end if at else 0
    return line[start + 1 :] if element.kind == "text" else line[start:].strip()


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] in "\"'" and text[-1] == text[0] else text
