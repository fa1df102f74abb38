"""What only the source says: calls with their literal arguments."""

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import swarmlearning

PACKAGE: Final = Path(swarmlearning.__file__).parent


def modules(below: str, naming: Sequence[str] = ("",)) -> Iterator[tuple[Path, ast.Module]]:
    """The modules of the package at or below this path that have one of these names in them."""
    place = PACKAGE / below
    for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
        if any(name in path.read_text() for name in naming):
            yield path, _parsed(path)


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def _calls_in(tree: ast.AST) -> list[ast.Call]:
    """All calls, in their order; for several names, the whole source is walked through once."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return sorted(found, key=lambda call: (call.lineno, call.col_offset))


def calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    """Calls of a function or method of this name, in their order."""
    yield from (call for call in _calls_in(tree) if _called(call) == name)


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def text_of(node: ast.expr) -> str:
    """A literal text, with `…` for what is put into it; empty for any other expression."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(text_of(each) if isinstance(each, ast.Constant) else "…" for each in values)
        case ast.IfExp(body=body, orelse=orelse):
            return " / ".join(filter(None, (text_of(body), text_of(orelse))))
    return ""
