"""What is known of a training when it is asked why a round is not closed: the ledger, and what nodes state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.world import World
from swarmlearning.views.names import name_of, node_names
from swarmlearning.views.timeline import Moments
from swarmlearning.views.times import Times
from swarmlearning.views.training import TrainingProgress


class Account(NamedTuple):
    """What a node states of its times; None where it gives nothing, with the reason and what to do about it."""

    times: Times | None
    why: str = ""
    remedy: str = ""


NOTHING: Final = Account(None, "it was not asked, since it has come later than the others", "ask again")


class Beat(NamedTuple):
    """What an SN knows of a site by its heartbeats: its batches, and how its training goes on."""

    steps: int | None
    training: TrainingProgress | None


@dataclass(frozen=True)
class Evidence:
    """All that is known. `moments`: of the round in question; `accounts`, `beats`: by UID; `majority`: whether blocks
    can be ordered (None: not known); `alarms`, `proposals`: texts, safe to show; `addresses`: of file servers, by UID.
    """

    world: World
    state: Training
    moments: Moments | None
    now_ms: int
    accounts: Mapping[str, Account] = field(default_factory=dict)
    beats: Mapping[str, Beat] = field(default_factory=dict)
    majority: bool | None = None
    alarms: tuple[str, ...] = ()
    proposals: tuple[str, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    waiting_text: str = ""

    def name(self, uid: str) -> str:
        """The name to show."""
        return name_of(node_names(self.world), uid)

    def account(self, uid: str) -> Account:
        """What this node states."""
        return self.accounts.get(uid, NOTHING)
