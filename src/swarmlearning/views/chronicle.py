"""What happened and when: the rounds of all trainings and the faults of nodes, as the blocks of a chain say it.

Blocks are read one by one, without replaying what they mean, so that an excerpt of a long chain, or one that does not
verify, is enough. Only the newest events and rounds stay. Names are safe to show. Pure.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from swarmlearning.ledger.block import Block
from swarmlearning.ledger.bodies import (
    AbortTaskrunner,
    Back,
    Body,
    CloseSession,
    Depose,
    Equivocation,
    Freeze,
    Genesis,
    Leave,
    LiftQuarantine,
    Lost,
    Missing,
    OpenSession,
    Publish,
    Recover,
    RefuseBlock,
    Register,
    ReportPeer,
    Reset,
    Revoke,
    Stop,
    Submit,
    Void,
)
from swarmlearning.views.names import UID_DIGITS, displayed

MOST_EVENTS: Final = 5000
MOST_ROUNDS: Final = 1000
MOST_NODES: Final = 1024

Level: TypeAlias = Literal["note", "warning", "fault"]

_CAUSES: Final = {
    "lease": "its lease is gone",
    "progress": "it makes no progress",
    "overdue": "it takes far longer than leaders have taken before",
}


class Event(msgspec.Struct, frozen=True):
    """`uid`: the node that it is about; `contract` and `round` where it is about a training."""

    height: int
    time_ms: int
    level: Level
    uid: str
    text: str
    contract: str = ""
    round: int | None = None


class Span(msgspec.Struct):
    """A round: from its first model, or the end of the one before, to its result; `ended_ms` is 0 while it is open.

    `submitted`: by UID when its model was submitted; `left_out`: by UID why a model is not in the result."""

    contract: str
    round: int
    begun_ms: int
    ended_ms: int = 0
    leader: str = ""
    submitted: dict[str, int] = {}
    contributed: tuple[str, ...] = ()
    left_out: dict[str, str] = {}


class Absence(msgspec.Struct):
    """A node is lost from one time to another; `to_ms` is 0 while it still is."""

    uid: str
    from_ms: int
    to_ms: int = 0


class Chronicle:
    """Collects what blocks say, in the order of their heights."""

    def __init__(self, names: Mapping[str, str] | None = None, sns: Collection[str] = ()) -> None:
        """Of nodes that have registered before the first block: `names`, UID to the name to show, and who are SNs."""
        self._names = dict(names or {})
        self._sns = set(sns)
        self._open: dict[str, Span] = {}
        self._ended: dict[str, int] = {}
        self._lost: dict[str, Absence] = {}
        self.first_ms = self.last_ms = 0
        self.first = self.last = -1
        self.events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self.rounds: deque[Span] = deque(maxlen=MOST_ROUNDS)
        self.absences: deque[Absence] = deque(maxlen=MOST_EVENTS)
        self.seen: dict[str, None] = {}
        """UIDs of nodes that took part in rounds or were at fault."""

    def name(self, uid: str) -> str:
        """The name to show for this UID."""
        return self._names.get(uid) or displayed(uid)[:UID_DIGITS]

    def add(self, block: Block) -> None:
        """Adds the next block."""
        header = block.header
        if self.first < 0:
            self.first, self.first_ms = header.height, header.time_ms
        self.last, self.last_ms = header.height, max(self.last_ms, header.time_ms)
        for signed in block.transactions:
            content = signed.content
            told = list(self._events(content.sender, content.body))
            self._move(content.sender, content.contract, content.body, header.time_ms)
            for level, uid, text, number in told:
                contract = displayed(content.contract) if content.contract != "network" else ""
                self.events.append(Event(header.height, header.time_ms, level, uid, text, contract, number))
                if level == "fault":
                    self._see(uid)

    # --- what stands ------------------------------------------------------------------------------------------------

    def _move(self, sender: str, contract: str, body: Body, time_ms: int) -> None:
        match body:
            case Genesis(founder_name=name):
                self._names[sender] = displayed(name)
                self._sns.add(sender)
            case Register(name=name, node_type=kind):
                self._names[sender] = displayed(name)
                if kind == "SN":
                    self._sns.add(sender)
                self._back(sender, time_ms)
            case Lost(uid=uid):
                if uid not in self._lost and not self._abstains(sender, uid):
                    self.absences.append(absence := Absence(uid, time_ms))
                    self._lost[uid] = absence
                    self._see(uid)
            case Back(uid=uid):
                self._back(uid, time_ms)
            case Submit(round=number):
                self._see(sender)
                self._span(contract, number, time_ms).submitted.setdefault(sender, time_ms)
            case Publish(round=number, result=result, receipt=receipt):
                span = self._span(contract, number, time_ms)
                span.leader = sender
                span.left_out = {part.uid: displayed(part.why, 200) for part in receipt.exclusions}
                if result:
                    span.contributed = tuple(part.uid for part in receipt.contributions)
                    span.ended_ms = self._ended[contract] = time_ms
                    self._open.pop(contract, None)
            case Reset():
                self._open.pop(contract, None)
                self._ended.pop(contract, None)

    def _span(self, contract: str, number: int, time_ms: int) -> Span:
        """The round in progress, which may begin with this."""
        found = self._open.get(contract)
        if found is None or found.round != number:
            begun = max(self._ended.get(contract, time_ms), self.first_ms)
            self._open[contract] = found = Span(displayed(contract), number, begun, submitted={}, left_out={})
            self.rounds.append(found)
        return found

    def _back(self, uid: str, time_ms: int) -> None:
        if absence := self._lost.pop(uid, None):
            absence.to_ms = time_ms

    def _abstains(self, sender: str, uid: str) -> bool:
        """Whether a report is an SN's statement about itself."""
        return sender == uid and uid in self._sns

    def _see(self, uid: str) -> None:
        if len(self.seen) < MOST_NODES:
            self.seen[uid] = None

    # --- what is told -----------------------------------------------------------------------------------------------

    def _events(self, sender: str, body: Body) -> Iterator[tuple[Level, str, str, int | None]]:
        """Level, node, text and round of what a transaction tells."""
        match body:
            case Register(node_type=kind, version=version):
                yield "note", sender, f"starts as {kind}, release {displayed(version)}", None
            case Leave():
                yield "note", sender, "leaves the network", None
            case Lost(uid=uid) if self._abstains(sender, uid):
                yield "note", uid, "has no vote: it does not watch who is present", None
            case Lost(uid=uid) if uid not in self._lost:  # each SN reports it
                yield "fault", uid, "has lost its ML process" if uid == sender else "is lost: its lease is gone", None
            case Back(uid=uid) if uid in self._lost:
                yield "note", uid, "is back", None
            case Revoke():
                yield "warning", sender, "revokes a certificate", None
            case LiftQuarantine(uid=uid):
                yield "note", uid, "is let out of quarantine", None
            case Equivocation():
                yield "fault", sender, "proves that an SN has sealed two blocks for one height", None
            case RefuseBlock(sealer=sealer, height=height):
                yield "fault", sealer, f"has sealed block {height} ahead of time: most SNs refuse it", None
            case Recover():
                yield "fault", sender, "restarts the network alone, after its majority was lost", None
            case _:
                yield from self._of_training(sender, body)
                yield from self._of_tasks(sender, body)

    def _of_training(self, sender: str, body: Body) -> Iterator[tuple[Level, str, str, int | None]]:
        match body:
            case OpenSession(min_peers=least):
                yield "note", sender, f"opens its session (minPeers {least})", None
            case Submit(round=number, submission="withheld"):
                yield "warning", sender, "gives no model: its privacy lock withholds it", number
            case Freeze(round=number, stragglers=late):
                for uid in late:
                    yield "warning", uid, "was waited for in vain", number
            case Publish(round=number, result=result, receipt=receipt):
                if not result:
                    yield "fault", sender, "could merge nothing: too few models can be used", number
                for part in receipt.exclusions:
                    yield "warning", part.uid, f"its model is left out: {displayed(part.why, 200)}", number
            case Depose(round=number, cause=cause):
                yield "fault", sender, f"calls for another leader: {_CAUSES[cause]}", number
            case Missing(round=number, lasting=lasting):
                text = "can get the result from nobody, and has given up" if lasting else "cannot get the result"
                yield "warning", sender, text, number
            case Void(round=number):
                yield "fault", sender, "has the round made again: too few hold its result", number
            case CloseSession():
                yield "note", sender, "has ended its local training", None
            case Stop():
                yield "note", sender, "stops the training", None
            case Reset(forced=forced):
                yield "warning" if forced else "note", sender, "resets the contract", None

    def _of_tasks(self, sender: str, body: Body) -> Iterator[tuple[Level, str, str, int | None]]:
        match body:
            case AbortTaskrunner():
                yield "warning", sender, "aborts the task", None
            case ReportPeer(state="failed", reason=reason, exit_code=code):
                yield (
                    "fault",
                    sender,
                    f"its part of the task has failed ({reason}, exit code {code})",
                    None,
                )
            case ReportPeer(pairs=pairs):
                for pair in pairs:
                    if pair.state == "failed":
                        yield "fault", sender, f"pair {pair.index} has failed ({pair.reason})", None
