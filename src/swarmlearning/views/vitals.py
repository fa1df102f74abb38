"""What a node says of its own machine in its heartbeats. That is its word: bounded, and shown, never relied on."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

from swarmlearning.ledger.fields import Count

MOST_MS: Final = 2**53
LONGEST_VERSION: Final = 64


@dataclass(frozen=True)
class Vitals:
    """None, and an empty version, are not known. `disk_free` of `disk_total` bytes where the node's data directory is,
    for the node's user; `memory_free` of `memory_total` bytes that it may use: the machine's, or of its container.

    `clock_ms`: how far its clock is ahead of its SN's (an SN's: of most SNs'), in milliseconds, give or take
    `clock_error_ms`. `expires_ms`: the end of the certificate that it uses, in Unix time. `version` of its program.
    """

    disk_free: Count | None = None
    disk_total: Count | None = None
    memory_free: Count | None = None
    memory_total: Count | None = None
    clock_ms: Annotated[int, msgspec.Meta(gt=-MOST_MS, lt=MOST_MS)] | None = None
    clock_error_ms: Count | None = None
    expires_ms: Annotated[int, msgspec.Meta(gt=-MOST_MS, lt=MOST_MS)] | None = None
    version: Annotated[str, msgspec.Meta(max_length=LONGEST_VERSION)] = ""


def read_vitals(sent: Any) -> Vitals | None:
    """The vitals of a heartbeat as it was sent; None for what cannot be understood, such as those of another release:
    a heartbeat counts all the same."""
    try:
        return msgspec.convert(sent, Vitals) if sent is not None else None
    except msgspec.ValidationError:
        return None
