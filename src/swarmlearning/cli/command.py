"""Common parts of the commands of `swarm`: options that several share, as one value, and their end by errors."""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Final, cast, get_type_hints

import typer

from swarmlearning.errors import UserError, first_cause
from swarmlearning.views.names import escaped

NEWLINE_AND_TAB = "\n\t"
USAGE_ERROR: Final = cast("type[Exception]", typer.BadParameter.__bases__[0])
"""The base of typer's errors about a command line, which it gives no public name."""


def command(program: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that makes a function a command of `swarm`.

    A parameter whose type is a dataclass stands for the options that are its fields, and in turn for those of a field
    whose type is a dataclass; the function gets it with their values. A `UserError` is printed as `program: message`
    and ends the command with exit status 1.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        parameters = inspect.signature(function).parameters.values()
        options = [option for each in parameters for option in _options(each.name, each.annotation, each.default)]

        @functools.wraps(function)
        def run(**given: Any) -> None:
            try:
                function(**{each.name: _value(each.name, each.annotation, given) for each in parameters})
            except Exception as error:  # noqa: BLE001 - `fail` raises what it does not know
                fail(program, error)

        run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in options}
        return run

    return decorate


def _options(name: str, kind: Any, default: Any) -> Iterator[inspect.Parameter]:
    """The parameters that typer sees for one of the function's."""
    if not is_dataclass(kind):
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        return
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        yield from _options(
            field.name, hints[field.name], inspect.Parameter.empty if field.default is MISSING else field.default
        )


def _value(name: str, kind: Any, given: dict[str, Any]) -> Any:
    """The function's argument, made of the options given."""
    if not is_dataclass(kind):
        return given[name]
    hints = get_type_hints(kind)
    make: Callable[..., Any] = kind  # type: ignore[assignment]
    return make(**{field.name: _value(field.name, hints[field.name], given) for field in fields(kind)})


def fail(program: str, error: BaseException) -> None:
    """Prints an expected error as one clear message and exits with 1; raises any other."""
    cause = first_cause(error)
    if not isinstance(cause, UserError):
        raise cause
    print(f"{program}: {escaped(str(cause), keep=NEWLINE_AND_TAB)}", file=sys.stderr, flush=True)
    raise typer.Exit(1)
