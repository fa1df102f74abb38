"""A task's definition as the lines that the ledger keeps, each shorter than 80 characters.

The lines are YAML, as people would write it, and equal definitions give equal lines. Texts that need it, or are too
long for a line, are quoted and folded so that they are read back equal.
"""

import re
from collections.abc import Iterator

from swarmlearning.taskfiles.definition import (
    Credentials,
    Definition,
    MakeSwarmUserContent,
    MakeUserContainer,
    Operation,
    PullImage,
    RunSwarm,
)

WIDTH = 79
MOST_LINES = 512
"""What the ledger keeps of one task."""

_BARE = re.compile(r"[A-Za-z0-9/_][A-Za-z0-9/_.@+=-]*(?: [A-Za-z0-9/_.@+=-]+)*")
"""Texts that need no quotes; whatever else YAML would make of them, readers take them as texts."""

_NAME = 50
"""Longer names of variables are written as explicit keys, which may be folded."""


def body_lines(what: Definition) -> tuple[str, ...]:
    """Returns the lines, from which `definition` in `taskfile.py` makes the same definition again."""
    if isinstance(what, RunSwarm):
        return tuple(_run_swarm(what))
    if isinstance(what, MakeUserContainer):
        return tuple(_make_user_container(what))
    return tuple(_pull_image(what) if isinstance(what, PullImage) else _make_swarm_user_content(what))


def _run_swarm(run: RunSwarm) -> Iterator[str]:
    yield from _entry("Command: ", run.command)
    yield from _entry("Entrypoint: ", run.entrypoint)
    yield from _entry("WorkingDir: ", run.working_dir)
    yield "Envvars:" if run.environment else "Envvars: null"
    for name, value in run.environment:
        yield from _variable(name, value)
    yield from _entry("PrivateContent: ", run.private_content)
    yield "SharedContent:" if run.shared_content else "SharedContent: null"
    for shared in run.shared_content:
        yield from _entry("- Src: ", shared.source)
        yield from _entry("  Tgt: ", shared.target)
        yield from _entry("  MType: ", shared.kind)


def _variable(name: str, value: str) -> Iterator[str]:
    if len(name) <= _NAME:
        yield from _entry(f"- {name}: ", value)
    else:
        yield from _entry("- ? ", name)
        yield from _entry("  : ", value)


def _make_user_container(build: MakeUserContainer) -> Iterator[str]:
    yield from _entry("BuildContext: ", build.build_context)
    yield "BuildType: INLINE"
    yield "BuildSteps:"
    for step in build.build_steps:
        yield from _entry("- ", step)


def _pull_image(pull: PullImage) -> Iterator[str]:
    yield from _entry("OrgAndReg: ", pull.registry)
    yield from _entry("RepoName: ", pull.repository)
    yield from _entry("Tag: ", pull.tag)
    if isinstance(pull.auth, Credentials):
        yield "Auth:"
        yield from _entry("  Username: ", pull.auth.username)
        yield from _entry("  Password: ", pull.auth.password)
    else:
        yield from _entry("Auth: ", pull.auth)


def _make_swarm_user_content(content: MakeSwarmUserContent) -> Iterator[str]:
    yield f"ContentType: {content.kind}"
    yield "OpsList:"
    for operation in content.operations:
        yield from _operation(operation)


def _operation(operation: Operation) -> Iterator[str]:
    yield f"- Operation: {operation.kind}"
    yield from _entry("  Target: ", operation.target)
    if operation.out is not None:
        yield "  Options:"
        yield from _entry("  - Out: ", operation.out)


def _entry(prefix: str, text: str | None) -> Iterator[str]:
    """The lines of `prefix` and the text; what follows the first one is indented further than any prefix."""
    if text is None:
        yield f"{prefix}null"
    elif _BARE.fullmatch(text) and text.lower() != "null" and len(prefix) + len(text) <= WIDTH:
        yield prefix + text
    else:
        yield from _quoted(prefix, text)


def _quoted(prefix: str, text: str) -> Iterator[str]:
    line = f'{prefix}"'
    for character in text:
        escaped = _escaped(character)
        if len(line) + len(escaped) + 1 > WIDTH:
            yield f"{line}\\"
            line = "      " + ("\\ " if character == " " else escaped)
        else:
            line += escaped
    yield f'{line}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character == "\n":
        return "\\n"
    if character == "\t":
        return "\\t"
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
