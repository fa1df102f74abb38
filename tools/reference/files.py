"""The page of YAML files: their keys, as their readers name them."""

import ast
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final

from reference.markdown import code, prose, table
from reference.source import PACKAGE, calls, modules

FILES: Final = {
    "Tasks": ("taskfiles/taskfile.py", "taskfiles/body.py"),
    "A SWOP's profile": ("swop/profilefile.py",),
    "A site's policy": ("swop/policyfile.py",),
    "A contract": ("operator/contractfile.py",),
    "A privacy lock": ("privacy/policyfile.py",),
}


def page() -> str:
    """The page."""
    parts = [
        "# YAML files\n\nThe keys that each reader takes; any other is refused, with its line and column. Texts are "
        "taken as they are written, and no key may be there twice.\n"
    ]
    for title, paths in FILES.items():
        parts.append(f"## {title}\n")
        for path in paths:
            [(_, tree)] = modules(path)
            if "\n    " in (described := prose(ast.get_docstring(tree))):
                parts.append(f"{described}\n")
            if rows := list(_mappings(path, tree)):
                parts.append(table(("what is read", "required keys", "optional keys"), rows))
    return "\n".join(parts)


def keys(path: str) -> set[str]:
    """All keys that the reader at this path takes."""
    [(_, tree)] = modules(path)
    return {key for _, required, optional in _found(path, tree) for key in (*required, *optional)}


def _mappings(path: str, tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    for where, required, optional in _found(path, tree):
        yield where, code(*required), code(*optional)


def _found(path: str, tree: ast.Module) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    module = import_module("swarmlearning." + path.removesuffix(".py").replace("/", "."))
    for function in tree.body:
        if isinstance(function, ast.FunctionDef):
            for call in calls(function, "fields"):
                groups = [_names(module, each) for each in call.args[:2]]
                if any(groups):
                    required, optional = (*groups, (), ())[:2]
                    yield function.name.strip("_").replace("_", " "), required, optional


def _names(module: Any, expression: ast.expr) -> tuple[str, ...]:
    try:
        value = eval(compile(ast.Expression(expression), str(PACKAGE), "eval"), vars(module))
    except NameError:
        return ()  # the function's own parameter
    return tuple(value)
