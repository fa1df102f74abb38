"""The secrets that a process knows, which must not be in what it writes or what is collected (`redaction.py`)."""

import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from swarmlearning.files import open_plain
from swarmlearning.redaction import forms, is_secret

LONGEST_FILE: Final = 64 * 1024


def known_secrets(environ: Mapping[str, str], files: Iterable[Path] = ()) -> frozenset[str]:
    """What must not be seen: secrets in these variables, and in files with a key or a passphrase; in all forms."""
    values = [*_in_environment(environ), *(value for file in files for value in _in_file(file))]
    return frozenset(form for value in values for form in forms(value))


def _in_environment(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if is_secret(name):
            yield value
        with suppress(ValueError):
            if password := urllib.parse.urlsplit(value).password:
                yield from (password, urllib.parse.unquote(password))


def _in_file(path: Path) -> Iterator[str]:
    """The lines of a private key, or the first line of a file with a passphrase; nothing where it cannot be read."""
    with suppress(OSError), open_plain(path) as file:
        lines = file.read(LONGEST_FILE).decode(errors="surrogateescape").splitlines()
        if any(line.startswith("-----BEGIN") for line in lines):
            yield from (line for line in lines if len(line) >= 40 and not line.startswith("-"))
        elif lines:
            yield lines[0]
