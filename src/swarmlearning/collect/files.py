"""How files get into an archive, and into what is said about it."""

import json

from swarmlearning.collect.archive import Archive
from swarmlearning.collect.content import Entry, Source
from swarmlearning.views.names import displayed


def add_text(archive: Archive, source: Source, name: str, text: str, note: str = "") -> None:
    """Adds a file of text to a source. Raises `CollectError`."""
    data = text.encode(errors="backslashreplace")
    if chosen := archive.add(name, data):
        source.entries.append(Entry(chosen, len(data), note))
    else:
        source.missing[displayed(name, 200)] = "the archive is full"


def add_data(archive: Archive, source: Source, name: str, data: object) -> None:
    """Adds a file of JSON to a source. Raises `CollectError`."""
    add_text(archive, source, name, f"{as_json(data)}\n")


def as_json(data: object) -> str:
    """Data as JSON in ASCII, for people too."""
    return json.dumps(data, indent=2)
