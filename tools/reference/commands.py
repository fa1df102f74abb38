"""The page of all commands and options, from the parsers of `swarm`."""

from collections.abc import Iterator
from typing import Any

import typer

from reference.markdown import cell, code, prose, table
from swarmlearning.cli.main import app


def page() -> str:
    """The page."""
    parts = [
        "# Commands\n\nEvery command and option of `swarm`, as its `--help` shows them. An option's variable stands "
        "for it where the option is not given.\n"
    ]
    parts += [_command(words, command) for words, command in every_command() if len(words) > 1]
    return "\n".join(parts)


def every_command() -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands with their words, groups before what is in them."""
    yield from _below(("swarm",), typer.main.get_command(app))


def _below(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    for name in list(getattr(command, "commands", ())):
        yield from _below((*words, name), command.commands[name])


def options_of(command: Any) -> list[Any]:
    """The options that are shown, without `--help`."""
    return [each for each in command.params if each.param_type_name == "option" and not each.hidden]


def _command(words: tuple[str, ...], command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    names = [each.metavar or each.name.upper() for each in arguments]
    within = list(getattr(command, "commands", ()))
    lines = [f"{'#' * len(words)} `{' '.join(words)}`\n", prose(command.help) + "\n"]
    if not within or arguments:
        lines.append(f"    {' '.join((*words, '[OPTIONS]' if options_of(command) else '', *names)).strip()}\n")
    described = [(name, getattr(each, "help", None)) for name, each in zip(names, arguments, strict=True)]
    if any(text for _, text in described):
        lines.append(table(("argument", ""), ((code(name), cell(text or "")) for name, text in described)))
    if options := options_of(command):
        lines.append(table(("option", "variable", "default", ""), map(_option, options)))
    if command.epilog:
        lines.append(cell(command.epilog) + "\n")
    return "\n".join(lines)


def _option(option: Any) -> tuple[str, str, str, str]:
    variables = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
    names = [*option.opts, *option.secondary_opts]
    return code(*names), code(*variables), _default(option), cell(option.help or "")


def _default(option: Any) -> str:
    if option.required:
        return "required"
    value = option.default() if callable(option.default) else option.default
    value = getattr(value, "value", value)
    return "" if value in (None, "", False, (), []) or option.is_flag else code(str(value))
