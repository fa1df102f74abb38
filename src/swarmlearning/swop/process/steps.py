"""The lines of a MAKE_USER_CONTAINER task as a recipe for a virtual environment: pure.

Meaningful for an environment are the packages that pip installs, variables, and copied files that pip installs or
reads. Instructions that only describe a container are noted and have no effect; anything else is refused by its line.
"""

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from swarmlearning.swop.managing import ManagerError
from swarmlearning.taskfiles.dockerfile import instructions

_WITHOUT_EFFECT: Final = frozenset(
    {
        "LABEL",
        "EXPOSE",
        "CMD",
        "ENTRYPOINT",
        "MAINTAINER",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "VOLUME",
        "USER",
        "SHELL",
        "ARG",
    }
)
_FLAGS: Final = frozenset(
    {"-U", "--upgrade", "--no-deps", "--pre", "-I", "--ignore-installed", "--force-reinstall", "--prefer-binary"}
)
_NOT_NEEDED: Final = frozenset(
    {
        *("-q", "-qq", "--quiet", "-v", "--verbose", "--no-cache-dir", "--no-cache", "--user", "--no-input"),
        *("--break-system-packages", "--disable-pip-version-check", "--no-warn-script-location"),
    }
)
_NOT_NEEDED_WITH_VALUE: Final = frozenset({"--root-user-action", "--progress-bar", "--cache-dir"})
_WITH_VALUE: Final = frozenset(("--timeout", "--default-timeout", "--retries", "--only-binary", "--no-binary"))
_WITH_URL: Final = frozenset(("-i", "--index-url", "--extra-index-url"))
_WITH_FILE: Final = {"-r": "-r", "--requirement": "-r", "-c": "-c", "--constraint": "-c"}
_PIP: Final = re.compile(r"(?:/\S*/)?pip3?(?:\.\d+)?")
_PYTHON: Final = re.compile(r"(?:/\S*/)?python3?(?:\.\d+)?")
_REQUIREMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[^\]]*\])?\s*(?:[<>=!~(;].*)?")
_URL: Final = re.compile(r"https?://\S+")
_NAMED_URL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[^\]]*\])?\s*@\s*https?://\S+")
_OWN: Final = re.compile(
    r"swarmlearning(?:[-_.]client)?(?:(?![A-Za-z0-9._-]).*|[-_](?:\d|py\d).*\.(?:whl|tar\.gz))", re.IGNORECASE
)
"""Requirements by name, and file names, of this client and of the original's."""


@dataclass(frozen=True)
class Copy:
    """A file or folder `source` of the build context, which later lines find at `target`."""

    source: str
    target: str


@dataclass
class Install:
    """One call of pip: options, requirements as in a requirements file, local files, and requirements files (`-r`) or
    constraints (`-c`) with their paths."""

    options: list[str] = field(default_factory=list)
    requirements: list[str] = field(default_factory=list)
    wheels: list[str] = field(default_factory=list)
    files: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Recipe:
    """What an environment is made of, in the order of the lines; `notes` say what has no effect."""

    variables: dict[str, str] = field(default_factory=dict)
    installs: list[Install] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_steps(steps: Sequence[str]) -> Recipe:
    """The recipe that these Dockerfile lines are. Raises `ManagerError` for what no environment can do."""
    reader = _Reader()
    for each in instructions(steps):
        place = f"BuildSteps, line {each.step + 1}, {each.text!r}"
        try:
            reader.take(each.name, each.arguments)
        except _Unsuitable as error:
            raise ManagerError("unsupported", f"{place}: {error}") from error
        except ValueError as error:
            raise ManagerError("unsupported", f"{place}: cannot be read ({error})") from error
    return reader.recipe


def requirement(line: str) -> str | None:
    """A line of a requirements file as pip may get it; None for one that every environment fulfils.

    Raises `ValueError` for what is neither a requirement by name nor a URL.
    """
    bare = line.split(" --hash", 1)[0].strip()
    if _is_own(bare):
        return None
    if not any(pattern.fullmatch(bare) for pattern in (_REQUIREMENT, _URL, _NAMED_URL)):
        raise ValueError(f"{bare!r} is neither a package's name nor an http(s) URL")
    return line


def _is_own(word: str) -> bool:
    """Whether this names the client, which every environment has: as a package, by the file of a wheel, or by a URL."""
    name = word.partition("@")[0].strip() if _NAMED_URL.fullmatch(word) else PurePosixPath(word).name
    return bool(_OWN.fullmatch(name))


class _Unsuitable(Exception):
    """A line that an environment cannot carry out."""


class _Reader:
    def __init__(self) -> None:
        self.recipe = Recipe()
        self._folder = PurePosixPath("/")
        self._handlers: dict[str, Callable[[str], None]] = {
            "FROM": self._from,
            "ENV": self._env,
            "WORKDIR": self._workdir,
            "RUN": self._run,
            "COPY": self._copy,
            "ADD": self._copy,
        }
        self._bases = 0

    def take(self, instruction: str, rest: str) -> None:
        if instruction in _WITHOUT_EFFECT:
            self.recipe.notes.append(f"{instruction} {rest}: without effect in an environment")
        elif instruction in self._handlers:
            self._handlers[instruction](rest)
        else:
            raise _Unsuitable(f"{instruction} is no instruction that an environment knows")

    def _from(self, rest: str) -> None:
        self._bases += 1
        if self._bases > 1:
            raise _Unsuitable("an environment has one stage")
        self.recipe.notes.append(f"FROM {rest}: the environment is based on the SWOP's own")

    def _env(self, rest: str) -> None:
        words = shlex.split(rest)
        if words and "=" not in words[0]:
            words = ["=".join(rest.split(maxsplit=1))]
        for word in words:
            name, equals, value = word.partition("=")
            if not equals or not name:
                raise _Unsuitable("ENV takes NAME=VALUE")
            if "$" in value:
                raise _Unsuitable("variables are not replaced in an environment: write the value itself")
            self.recipe.variables[name] = value

    def _workdir(self, rest: str) -> None:
        self._folder /= rest
        self.recipe.notes.append(f"WORKDIR {rest}: only where later lines look for files")

    def _copy(self, rest: str) -> None:
        words = [word for word in shlex.split(rest) if not word.startswith(("--chown=", "--chmod="))]
        if any(word.startswith("--") for word in words) or len(words) < 2:
            raise _Unsuitable("only files of the build context are copied: COPY SOURCE… TARGET")
        *sources, target = words
        into = target.endswith("/") or target in (".", "..") or len(sources) > 1
        for source in sources:
            if "://" in source or ".." in PurePosixPath(source).parts:
                raise _Unsuitable("only files of the build context are copied, by a path within it")
            place = self._folder / target / (PurePosixPath(source).name if into else "")
            self.recipe.copies.append(Copy(source.lstrip("/") or ".", str(place)))

    def _run(self, rest: str) -> None:
        commands = [[str(word) for word in json.loads(rest)]] if rest.startswith("[") else _commands(rest)
        for words in commands:
            arguments = _pip_arguments(words)
            if arguments is not None:
                self._pip(arguments)
            elif words[0] == "mkdir":
                self.recipe.notes.append(f"{' '.join(words)}: without effect in an environment")
            else:
                raise _Unsuitable(f"{words[0]}: an environment is made by `pip install` alone; DOCKER can do the rest")

    def _pip(self, arguments: list[str]) -> None:
        if arguments[:1] != ["install"]:
            raise _Unsuitable("of pip's commands only install makes an environment")
        install, words = Install(), iter(arguments[1:])
        for word in words:
            option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
            if word in _NOT_NEEDED:
                continue
            if word in _FLAGS:
                install.options.append(word)
            elif option in _NOT_NEEDED_WITH_VALUE | _WITH_VALUE | _WITH_URL | _WITH_FILE.keys():
                self._option(install, option, value if equals else next(words, ""))
            elif word.startswith("-"):
                raise _Unsuitable(f"pip's option {word} is not taken")
            else:
                self._requirement(install, word)
        self.recipe.installs.append(install)

    def _option(self, install: Install, option: str, value: str) -> None:
        if not value or value.startswith("-"):
            raise _Unsuitable(f"pip's option {option} needs a value")
        if option in _WITH_FILE:
            install.files.append((_WITH_FILE[option], str(self._folder / value)))
        elif option in _WITH_URL and not _URL.fullmatch(value):
            raise _Unsuitable(f"pip's option {option} takes an http(s) URL")
        elif option not in _NOT_NEEDED_WITH_VALUE:
            install.options += [option, value]

    def _requirement(self, install: Install, word: str) -> None:
        if _is_own(word):
            self.recipe.notes.append(f"{word}: this release's client is in every environment")
        elif word.endswith(".whl") and "://" not in word:
            install.wheels.append(str(self._folder / word))
        else:
            try:
                install.requirements += [line] if (line := requirement(word)) else []
            except ValueError as error:
                raise _Unsuitable(str(error)) from error


def _commands(text: str) -> list[list[str]]:
    """The commands of a shell line that are joined by && or ;. Raises `_Unsuitable` for all else that a shell does."""
    words = _shell_words(text)
    commands: list[list[str]] = [[]]
    for word in words:
        if word in ("&&", ";"):
            commands.append([])
        elif word in ("|", "||", "&", "(", ")"):
            raise _Unsuitable(f"{word!r}: an environment is made without a shell")
        else:
            commands[-1].append(word)
    if any("$" in word or "`" in word for word in words):
        raise _Unsuitable("variables are not replaced in an environment: write the value itself")
    if not all(commands):
        raise _Unsuitable("a command is missing")
    return commands


def _shell_words(text: str) -> list[str]:
    # < and > stand in requirements too: `numpy<2` redirects in a shell, and here means what its author meant.
    lexer = shlex.shlex(text, posix=True, punctuation_chars="&|;()")
    lexer.whitespace_split = True
    lexer.commenters = ""
    return list(lexer)


def _pip_arguments(words: Sequence[str]) -> list[str] | None:
    """What pip is called with; None where this is no call of pip."""
    if _PIP.fullmatch(words[0]):
        return list(words[1:])
    if _PYTHON.fullmatch(words[0]) and list(words[1:3]) == ["-m", "pip"]:
        return list(words[3:])
    return None
