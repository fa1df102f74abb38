"""The page of environment variables: those that the original documents, and all that options and settings read."""

from collections import defaultdict
from typing import Final

from reference.commands import every_command, options_of
from reference.markdown import cell, code, prose, table
from swarmlearning.client import environment
from swarmlearning.node import settings
from swarmlearning.node.variables import VARIABLES
from swarmlearning.ui.settings import UiEnvironment

ROLES: Final = {"sn": "SN", "sl": "SL", "swop": "SWOP", "swci": "SWCI", "ml": "training script"}
SETTINGS: Final[tuple[type[settings.Environment], ...]] = (
    *(
        each
        for each in vars(settings).values()
        if isinstance(each, type) and issubclass(each, settings.Environment) and each is not settings.Environment
    ),
    UiEnvironment,
)


def page() -> str:
    """The page."""
    parts = [
        "# Environment variables\n\nAn option goes before its variable.\n\n## Variables of options\n",
        table(("variable", "option", "of", ""), _of_options()),
        "## Variables that the original documents\n",
        table(("variable", "of", "effect"), _of_the_original()),
        "## Variables of a training script\n",
        table(("variable",), ([code(name)] for name in sorted(of_scripts()))),
        "`SWARM_INDEX`, `SWARM_COUNT`, `SWARM_SITE` and `SWARM_RUN_DIR` are set for scripts: see `swarm run --help`.\n",
    ]
    for each in SETTINGS:
        kind = each.__name__.removesuffix("Environment").upper()
        parts.append(f"## Settings that have no option: {kind}\n\n{prose(each.__doc__)}\n")
    return "\n".join(parts)


def of_options() -> dict[tuple[str, str], list[str]]:
    """The commands that read a variable, by its name and its option."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for words, command in every_command():
        for option in options_of(command):
            for name in [option.envvar] if isinstance(option.envvar, str) else option.envvar or ():
                found[name, option.opts[0]].append(" ".join(words[1:]))
    return found


def of_scripts() -> set[str]:
    """The variables that the client reads."""
    return {
        value
        for name, value in vars(environment).items()
        if name.isupper() and isinstance(value, str) and value.startswith("SWARM_")
    }


def _of_options() -> list[tuple[str, str, str, str]]:
    helps = {
        (name, option.opts[0]): option.help or ""
        for _, command in every_command()
        for option in options_of(command)
        for name in ([option.envvar] if isinstance(option.envvar, str) else option.envvar or ())
    }
    rows = []
    for (name, option), commands in sorted(of_options().items()):
        of = code(*commands) if len(commands) <= 4 else f"{len(commands)} commands"
        rows.append((code(name), code(option), of, cell(helps[name, option])))
    return rows


def _of_the_original() -> list[tuple[str, str, str]]:
    return [
        (code(each.name), ", ".join(ROLES[kind] for kind in each.kinds), _effect(each.without_effect))
        for each in VARIABLES
    ]


def _effect(without: str) -> str:
    return f"none: {cell(without)}" if without else "as documented"
