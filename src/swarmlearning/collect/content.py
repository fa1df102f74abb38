"""What an archive has, for its index and for `summary.json`."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from swarmlearning.views.chronicle import Chronicle


class Entry(NamedTuple):
    """A file of the archive: its name there, bytes, and what is special about it, such as that it is cut."""

    name: str
    size: int
    note: str = ""


@dataclass
class Source:
    """A node, or a folder of this host: its files, and by what it is lacking, why. Texts are safe to show.

    `facts`: what is known of it in a word each, by name: type, organisation, state, release, system.
    """

    name: str
    facts: dict[str, str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def lacking(self) -> list[str]:
        """A line for each reason why something is missing."""
        reasons: dict[str, list[str]] = {}
        for what, why in self.missing.items():
            reasons.setdefault(why, []).append(what)
        return [f"{self.name}, {' and '.join(names)}: {why}" for why, names in reasons.items()]


@dataclass
class Content:
    """All of it. `alerts`: what is wrong now, as people read it. `timeline`: None without a ledger."""

    title: str
    made: str
    facts: dict[str, str] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    alerts: list[str] = field(default_factory=list)
    chronicle: Chronicle | None = None

    def summary(self) -> dict[str, Any]:
        """The same as data."""
        return {
            "title": self.title,
            "made": self.made,
            **self.facts,
            "alerts": self.alerts,
            "files": [entry._asdict() for entry in self.entries],
            "missing": self.missing,
            "sources": [
                {
                    "name": source.name,
                    **source.facts,
                    "files": [entry._asdict() for entry in source.entries],
                    "missing": source.missing,
                }
                for source in self.sources
            ],
        }
