"""Sentences that nodes and `views/` state in English, in the language of whoever reads them.

What is wrong in a network is an SN's word, in English, and may come from another release; so it is a sentence that is
read here, by the phrases of `phrases.json`, not a key. One that is in no phrase stays as it is, as a whole: no sentence
is in two languages. Names are taken over as they are. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Final, NamedTuple

from swarmlearning.ui.texts.catalogue import PLACE, Language, catalogue

LONGEST: Final = 1000
DEPTH: Final = 5
MOST_PARTS: Final = 12
ATTEMPTS: Final = 500
_AREA: Final = "phrases."
_MORE: Final = "more"
_FORMS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("count", "number", "height", "have", "need", "all", "of"), r"\d{1,20}"),
    "at": r"[\d: TZ+.-]{4,40}",
    "span": r"\d[\d.]{0,6} (?:s|min|h|d)(?: \d{1,2} (?:s|min|h))?",
    "rate": r"[\d,.]{1,20}",
    "time": r"\d{1,12} (?:s|min|h|days)",
    "usual": r"(?: \(its rounds take about \d{1,12} (?:s|min|h|days)\))?",
    "last": r"(?: \(the last one: an operator has stopped the training\))?",
    "list": r"[^;]{1,1000}",
    **dict.fromkeys(("node", "first"), r"[^\s;:]{1,100}"),
    "command": r"[^;]{1,400}",
}
"""What can stand in a place, by its name. The name of one that is a phrase itself ends with `_`."""
_PHRASE: Final = r".{1,1000}"
_NAME: Final = r"[^;]{1,100}?"
_REST: Final = re.compile(r"^(.*) and (\d+) more$", re.DOTALL)


class _Phrase(NamedTuple):
    """`parts`: the texts in it that never change, the first and the last one empty where a value stands there."""

    parts: tuple[str, ...]
    form: re.Pattern[str]
    said: str

    def may_be(self, sentence: str) -> bool:
        """Whether it is worth an attempt; this takes far less time than one."""
        begins, ends = sentence.startswith(self.parts[0]), sentence.endswith(self.parts[-1])
        return begins and ends and all(part in sentence for part in self.parts)


@lru_cache(maxsize=4096)
def said(language: Language, sentence: str) -> str:
    """The sentence in this language, or as it is."""
    if language == "en" or len(sentence) > LONGEST:
        return sentence
    return _Reader(language).sentence(sentence, DEPTH) or sentence


class _Reader:
    """Reads one sentence, which may be made to take long: after so many attempts it is in no phrase."""

    def __init__(self, language: Language) -> None:
        self._language = language
        self._left = ATTEMPTS

    def sentence(self, sentence: str, depth: int) -> str | None:
        """The whole of it, or each of its parts; None where one is in no phrase."""
        if (found := self._phrase(sentence, depth)) is not None or "; " not in sentence:
            return found
        said_parts: list[str] = []
        for part in sentence.split("; ", MOST_PARTS):
            if (one := self._phrase(part, depth)) is None:
                return None
            said_parts.append(one)
        return "; ".join(said_parts)

    def _phrase(self, sentence: str, depth: int) -> str | None:
        if depth == 0:
            return None
        for phrase in _phrases(self._language):
            if not phrase.may_be(sentence):
                continue
            self._left -= 1
            match = phrase.form.fullmatch(sentence) if self._left >= 0 else None
            if match is None:
                continue
            values = {place: self._value(place, text, depth - 1) for place, text in match.groupdict().items()}
            if None not in values.values():
                return _filled(phrase.said, values)
        return None

    def _value(self, place: str, text: str, depth: int) -> str | None:
        """What stands in a place; None for a phrase that is none."""
        if place.endswith("_"):
            return self.sentence(text, depth)
        if place == "list":
            return ", ".join(self._items(text, depth))
        if place == "time":
            return self._phrase(text, depth) or text
        if place in ("usual", "last"):  # there or not, behind a space
            return " " + (self._phrase(text[1:], depth) or text[1:]) if text else ""
        return text

    def _items(self, text: str, depth: int) -> Iterator[str]:
        """The parts of a list: names, with a reason in brackets where there is one."""
        rest = _REST.match(text)
        for item in re.split(r", (?![^(]*\))", rest[1] if rest else text):
            yield self._phrase(item, depth) or item
        if rest:
            yield catalogue()["phrases." + _MORE][self._language].replace("{count}", rest[2])


@cache
def _phrases(language: Language) -> tuple[_Phrase, ...]:
    """Those that say most come first."""
    found = [both for key, both in catalogue().items() if key.startswith(_AREA)]
    found.sort(key=lambda both: len(PLACE.sub("", both["en"])), reverse=True)
    return tuple(_Phrase(tuple(PLACE.split(both["en"])[::2]), _form(both["en"]), both[language]) for both in found)


def _filled(phrase: str, values: Mapping[str, str | None]) -> str:
    return PLACE.sub(lambda place: str(values[place[1]]), phrase)


def _form(phrase: str) -> re.Pattern[str]:
    """What a phrase matches."""
    parts = PLACE.split(phrase)
    return re.compile(
        "".join(re.escape(part) if at % 2 == 0 else f"(?P<{part}>{_place(part)})" for at, part in enumerate(parts)),
        re.DOTALL,
    )


def _place(name: str) -> str:
    return _FORMS.get(name) or (_PHRASE if name.endswith("_") else _NAME)
