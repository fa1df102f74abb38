"""The catalogue of texts: `text("de", "login.title")`. A missing text is a defect that a test finds, not a fallback."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

Language: TypeAlias = Literal["en", "de"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
FOLDER: Final = Path(__file__).parent
PLACE: Final = re.compile(r"\{(\w+)\}")
"""Where a value stands in a text."""


@cache
def catalogue() -> Mapping[str, Mapping[Language, str]]:
    """All texts by key: the file's name, a dot, and the text's name in it."""
    found: dict[str, Mapping[Language, str]] = {}
    for path in sorted(FOLDER.glob("*.json")):
        found |= {f"{path.stem}.{name}": both for name, both in json.loads(path.read_text("utf-8")).items()}
    return found


def text(language: Language, key: str, **values: object) -> str:
    """The text of this key, with the values in their places. Raises `KeyError` for a key or value that is missing."""
    return PLACE.sub(lambda place: str(values[place[1]]), catalogue()[key][language])


@cache
def of_scripts(language: Language) -> Mapping[str, str]:
    """The texts that scripts of pages use, by name: those of the area `charts`."""
    area = "charts."
    return {key.removeprefix(area): both[language] for key, both in catalogue().items() if key.startswith(area)}


def chosen(preferred: str, accepted: str) -> Language:
    """The language to use: the one a person has chosen, else the first of the browser's (`Accept-Language`) known."""
    wanted = [preferred, *(part.split(";")[0].strip().lower()[:2] for part in accepted[:200].split(","))]
    return next((language for wish in wanted for language in LANGUAGES if wish == language), "en")
