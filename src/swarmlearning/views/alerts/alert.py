"""An alert, and the facts that alerts follow from."""

from collections.abc import Mapping, Sequence
from typing import Literal, Self, TypeAlias

import msgspec

from swarmlearning.ledger.world import World
from swarmlearning.views.pace import Lately
from swarmlearning.views.vitals import Vitals

Severity: TypeAlias = Literal["critical", "warning", "info"]
"""`critical`: somebody has to act for the work to go on; `warning`: to act soon; `info`: to be known, no fault."""


class Alert(msgspec.Struct, frozen=True):
    """`code` is for programs; `subject` names the node, contract or certificate; `text` says what is wrong and since
    when, `remedy` what to do; both are safe to show. `nodes`: UIDs of those whom it is about. `since_ms`: Unix time,
    None where that is not known."""

    code: str
    severity: Severity
    subject: str
    text: str
    remedy: str
    nodes: tuple[str, ...] = ()
    since_ms: int | None = None

    def since(self, time_ms: int) -> Self:
        """The same since this time."""
        return msgspec.structs.replace(self, since_ms=time_ms)

    def __str__(self) -> str:
        return f"{self.text}: {self.remedy}" if self.remedy else self.text


class Heard(msgspec.Struct, frozen=True):
    """The last heartbeat of a node that is present. `progress`: batches that an SL has trained, the height of an SN's
    chain; `ahead_ms`: of its clock beside that of the SN that has received it; `vitals`: None where withheld."""

    progress: int = 0
    ahead_ms: int = 0
    vitals: Vitals | None = None


class Ordering(msgspec.Struct, frozen=True):
    """What an SN knows of ordering. `alone`: by the embedded engine, without others. `voters`: the UIDs of the SNs that
    vote, empty where that is not known. `majority`: None for an SN that has no vote. `faults`: what its engine and its
    comparisons with other SNs report. `due_height`: what every SN has reported by now that follows."""

    alone: bool = True
    voters: tuple[str, ...] = ()
    majority: bool | None = True
    faults: Sequence[str] = ()
    due_height: int = -1


class Facts(msgspec.Struct, frozen=True):
    """What a node knows now (Unix time in milliseconds): its verified world, and `own` UID.

    Only SNs have the rest: `heard`, the heartbeats of the nodes that are present (by UID; None: not known), `ordering`,
    and `lately`, the last rounds by contract.
    """

    world: World
    own: str
    now_ms: int
    heard: Mapping[str, Heard] | None = None
    ordering: Ordering | None = None
    lately: Mapping[str, Lately] = {}

    def present(self, uid: str) -> bool | None:
        """True if a node is present, as the one that knows these facts is; None where that is not known."""
        if uid == self.own:
            return True
        return None if self.heard is None else uid in self.heard
