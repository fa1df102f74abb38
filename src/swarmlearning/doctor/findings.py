"""What an examination finds, and in which order it is told: causes before what they bring about."""

from dataclasses import dataclass, field
from typing import Final

import msgspec

RANK: Final = (
    # the host and the node's own files
    "clock",
    "disk-full",
    "command-line",
    "no-identity",
    "certificate-file",
    "key-file",
    "passphrase",
    "key-mismatch",
    "expired",
    "not-yet-valid",
    "wrong-ca",
    "wrong-role",
    "settings",
    "in-use",
    "frozen",
    "not-writable",
    "record-damaged",
    "wrong-network",
    "chain-damaged",
    "chain-gone",
    "program-missing",
    "port-taken",
    "address-not-here",
    "crashed",
    # the way to the network
    "proxy",
    "unknown-host",
    "large-lost",
    "stalled",
    "another",
    "no-service",
    "distrusted-there",
    "distrusted-here",
    "refused",
    "silent",
    "no-route",
    "license",
    "shut-out",
    "revoked",
    "old-version",
    "superseded",
    # the network
    "no-majority",
    "quarantine",
    "ledger-space",
    "leader-lost",
    "ml-stopped",
    "ml-hangs",
    "no-way-in",
    "unreachable-address",
    "one-way",
    "link",
    "slow-link",
    "relay",
    "node-lost",
    "no-gpu",
    "memory-low",
    "disk-low",
    "model-differs",
    "terms-differ",
    "awaiting-approval",
    "task-failed",
    "ended",
    "waits",
    "alarm",
    "killed",
)
"""The codes of all findings: the earlier one is the likelier cause of the others."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong. `subject`: whose fault it is; `text`: what is wrong, without a full stop; `remedy`."""

    code: str
    subject: str
    text: str
    remedy: str


class Way(msgspec.Struct, frozen=True):
    """What came of trying to reach a service of one node from another; see `node.outcomes.Outcome`."""

    origin: str
    target: str
    service: str
    code: str
    rtt_ms: float | None = None
    rate: float | None = None


@dataclass
class Report:
    """All that an examination has found. `fine`: what is in order; `notes`: what will be of importance, or is unusual;
    `unknown`: what was not examined, and why; each is one line. `ways`: who has tried to reach whom."""

    wrong: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fine: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    ways: list[Way] = field(default_factory=list)

    def find(self, code: str, subject: str, text: str, remedy: str) -> None:
        """Adds a finding, unless the same is there already."""
        found = Finding(code, subject, text, remedy)
        if found not in self.wrong:
            self.wrong.append(found)

    def has(self, *codes: str) -> bool:
        """True if something of these codes has been found."""
        return any(found.code in codes for found in self.wrong)

    def drop(self, *codes: str, subject: str = "") -> None:
        """Takes out findings of these codes that another one explains; with `subject` only those about it."""
        self.wrong = [
            found for found in self.wrong if found.code not in codes or found.subject != (subject or found.subject)
        ]

    def add(self, other: "Report") -> None:
        """Takes over what another examination has found."""
        for found in other.wrong:
            self.find(*msgspec.structs.astuple(found))
        for own, more in ((self.notes, other.notes), (self.fine, other.fine), (self.unknown, other.unknown)):
            own.extend(line for line in more if line not in own)
        self.ways.extend(other.ways)

    @property
    def ordered(self) -> list[Finding]:
        """What is wrong, the likeliest cause first."""
        return sorted(self.wrong, key=lambda found: RANK.index(found.code))
