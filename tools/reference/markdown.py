"""Markdown of generated pages."""

import inspect
import re
from collections.abc import Iterable


def cell(text: str) -> str:
    """Text as it may stand in a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; its cells are Markdown without line breaks."""
    names = list(heads)
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def code(*words: str) -> str:
    """Words as code, with commas between them."""
    return ", ".join(f"`{word}`" for word in words)


def prose(docstring: str | None) -> str:
    """A docstring as Markdown; its indented parts and its columns keep their form."""
    return prose_of(inspect.cleandoc(docstring or ""))


def prose_of(text: str) -> str:
    """The same of text whose margin is gone."""
    return "\n\n".join(map(_paragraph, text.split("\n\n")))


def _paragraph(text: str) -> str:
    if re.search(r"\S {2,}\S", text) and not text.startswith("    "):
        return f"```text\n{text.strip()}\n```"
    return text if text.startswith("    ") else re.sub(r"<(?=[a-z])", "&lt;", text)


def first_sentence(docstring: str | None) -> str:
    """What a docstring begins with."""
    paragraph = inspect.cleandoc(docstring or "").partition("\n\n")[0]
    return cell(re.split(r"(?<=\.)\s+(?=[A-Z`])", paragraph)[0])
