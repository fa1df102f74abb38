"""Build steps: the lines of a Dockerfile, one a step, as instructions; and the images that they take part of."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_DIRECTIVE = re.compile(r"#\s*(?:syntax|escape)\s*=", re.IGNORECASE)
_HEREDOC = re.compile(r"<<-?[\"']?[A-Za-z_]")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")
_FROM_OPTION = re.compile(r"--from=(\S+)", re.IGNORECASE)
_MOUNT = re.compile(r"--mount=(\S+)", re.IGNORECASE)
_MOUNT_FROM = re.compile(r"(?:^|,)from=([^,]*)", re.IGNORECASE)


class Instruction(NamedTuple):
    """One instruction; `step` is the index of the step in which it begins, `name` in capitals."""

    step: int
    name: str
    arguments: str

    @property
    def text(self) -> str:
        return f"{self.name} {self.arguments}".rstrip()


def instructions(steps: Sequence[str]) -> tuple[Instruction, ...]:
    """Returns the instructions of these steps, without comments and blank lines.

    A step that ends with a backslash goes on in the next one, as in a Dockerfile.
    """
    return tuple(_instructions(steps))


def bases(steps: Sequence[str]) -> tuple[str, ...] | None:
    """Returns the images that a build begins from, copies from or mounts, as they are written.

    None where only the build decides that: by arguments, a parser directive or a here-document.
    """
    if any(_DIRECTIVE.match(step.strip()) or _HEREDOC.search(step) for step in steps):
        return None
    found: list[str] = []
    stages = {"scratch"}
    for image, stage in _images(instructions(steps)):
        if image.lower() not in stages and not image.isdigit():
            found.append(image)
        if stage is not None:
            stages.add(stage.lower())
    return tuple(found) if all(_IMAGE.fullmatch(image) for image in found) else None


def _instructions(steps: Sequence[str]) -> Iterator[Instruction]:
    begun: int | None = None
    words = ""
    for index, step in enumerate(steps):
        for line in step.split("\n"):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            begun = index if begun is None else begun
            if text.endswith("\\"):
                words += f"{text[:-1].rstrip()} "
                continue
            name, _, arguments = f"{words}{text}".partition(" ")
            yield Instruction(begun, name.upper(), arguments.strip())
            begun, words = None, ""
    if begun is not None:
        name, _, arguments = words.strip().partition(" ")
        yield Instruction(begun, name.upper(), arguments.strip())


def _images(found: Sequence[Instruction]) -> Iterator[tuple[str, str | None]]:
    """Each image that is named, and the name of the stage that begins with it."""
    for _, name, arguments in found:
        words = [word for word in arguments.split() if not word.startswith("--")]
        if name == "FROM" and words:
            yield words[0], words[2] if len(words) == 3 and words[1].upper() == "AS" else None
        elif name == "FROM":
            yield "", None
        for option in _FROM_OPTION.findall(arguments) if name in ("COPY", "ADD") else ():
            yield option, None
        for mount in _MOUNT.findall(arguments) if name == "RUN" else ():
            for image in _MOUNT_FROM.findall(mount):
                yield image, None
