"""How containers and volumes of a SWOP are named and labelled: so users know them, and a SWOP finds its own again."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from swarmlearning.swop.managing import Attempt

Part: TypeAlias = Literal["sl", "ml"]

SWOP: Final = "swarmlearning.swop"
ATTEMPT: Final = "swarmlearning.attempt"
INDEX: Final = "swarmlearning.index"
PART: Final = "swarmlearning.part"
OUTCOME: Final = "swarmlearning.outcome"
_LETTER: Final = {"sl": "s", "ml": "u"}
_UNUSABLE: Final = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST: Final = 60


@dataclass(frozen=True)
class PairName:
    """Names what belongs to a pair of an attempt of the SWOP `swop` (its UID), whose profile has this group."""

    swop: str
    group: str
    attempt: Attempt
    index: int

    def container(self, part: Part) -> str:
        """`<group>-<task>-u-<idx>-<16hex>` for the user container, with `s` for the SL's."""
        return f"{_plain(self.group)}-{_plain(self.attempt.task)}-{_LETTER[part]}-{self.index}-{self._suffix}"

    @property
    def volume(self) -> str:
        """The name of the volume that the two containers share."""
        return f"swop-{_plain(self.group)}-swif-{self.index}-{self._suffix}"

    def labels(self, part: Part | None = None) -> Mapping[str, str]:
        """The labels by which all of the pair's, or one part, is found again."""
        labels = {SWOP: self.swop, ATTEMPT: self.attempt.key, INDEX: str(self.index)}
        return labels if part is None else {**labels, PART: part}

    @property
    def _suffix(self) -> str:
        """16 hexadecimal digits: the same each time, so that a SWOP that was killed starts nothing twice."""
        text = f"{self.swop}\n{self.attempt.key}\n{self.index}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def label_filter(labels: Mapping[str, str]) -> dict[str, list[str]]:
    """The filter of an engine's lists for what has these labels."""
    return {"label": [f"{name}={value}" for name, value in labels.items()]}


def has_labels(listed: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether what an engine lists has all of these labels: for Podman, one of a filter's is enough with volumes."""
    found = listed["Labels"] or {}
    return all(found.get(name) == value for name, value in labels.items())


def _plain(text: str) -> str:
    """The text as part of a container's name: other characters are replaced, and it is cut off."""
    plain = _UNUSABLE.sub("-", text)[:_LONGEST]
    return plain if plain[:1].isalnum() else f"x{plain}"
