"""The entries of taskrunners, and what follows from them. `Taskrunner.state` is a function of its peers alone.

A SWOP that listens is a *peer*. An assignment needs so many SWOPs or, for a RUN_SWARM, SL+ML pairs. Whoever may run the
task *enrolls*, and so takes one of its slots, until there are enough. An assignment to all, or to a target, invites
these peers instead: they have their slots, whenever they answer. A SWOP whose site has yet to approve of the task takes
no slot. A part that has failed, or whose SWOP is lost, keeps its slot: it is tried once more by a target.
"""

from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from swarmlearning.choices import DEFAULT_TASKRUNNER
from swarmlearning.ledger.contracts.taskrunner.bodies import Pair, Reason, Reported
from swarmlearning.ledger.contracts.tasks.state import TypeOfTask
from swarmlearning.ledger.world import World

PeerState: TypeAlias = Literal["listening", "lost"] | Reported
RunnerState: TypeAlias = Literal["IDLE", "ASSIGNED", "RUNNING", "COMPLETE", "ERROR"]


class Assignment(msgspec.Struct, frozen=True):
    """A task that is to be carried out; `serial` counts the assignments of a taskrunner.

    `needed`: pairs for a RUN_SWARM, else SWOPs. `open`: whoever listens may enroll, until there are enough; else only
    those invited. The operator `by` of `organisation` has assigned the task that one of `made_by` has made, and has
    done so `on_behalf_of` a person, where it has stated one.
    """

    serial: int
    task: str
    type: TypeOfTask
    digest: str
    needed: int
    open: bool
    by: str
    organisation: str
    made_by: str
    assigned_ms: int
    aborted: bool = False
    on_behalf_of: str | UnsetType = UNSET


class Peer(msgspec.Struct, frozen=True):
    """A SWOP that listens to a taskrunner, and its part of the assignment; `attempt` counts its tries at that.

    `slot`: it takes part; `invited`: it may, even where others are enough. `counted`: the pairs for which it does so,
    however many it can start since. `gone`: it listens no more, and is here only
    for the part that it had. `reports`: how its pairs are, by index.
    """

    uid: str
    organisation: str
    pairs: int
    listening_ms: int
    state: PeerState = "listening"
    attempt: int = 1
    slot: bool = False
    invited: bool = False
    counted: int = 0
    gone: bool = False
    digest: str = ""
    reason: Reason | None = None
    exit_code: int | None = None
    reports: tuple[Pair, ...] = ()
    changed_ms: int = 0

    @property
    def takes_part(self) -> bool:
        """True if the assignment counts on it."""
        return self.slot or self.invited


class Taskrunner(msgspec.Struct, frozen=True):
    """A taskrunner and its peers, in the order in which they began to listen; `serial` counts assignments so far.

    `by`, `organisation`: the operator that has created it; empty for the one that is there from the start.
    """

    name: str
    by: str = ""
    organisation: str = ""
    created_ms: int = 0
    serial: int = 0
    assignment: Assignment | None = None
    peers: tuple[Peer, ...] = ()

    @property
    def state(self) -> RunnerState:
        """COMPLETE once enough of the assignment is done, ERROR once that cannot be reached any more."""
        assignment = self.assignment
        if assignment is None:
            return "IDLE"
        if self.done >= assignment.needed:
            return "COMPLETE"
        if assignment.aborted or self._possible < assignment.needed:
            return "ERROR"
        return "RUNNING" if any(peer.slot for peer in self.peers) else "ASSIGNED"

    @property
    def taken(self) -> int:
        """The pairs or SWOPs for which peers take part or are invited."""
        return sum(self._units(peer) for peer in self.peers if peer.takes_part)

    @property
    def short(self) -> int:
        """The pairs or SWOPs for which the assignment still looks for peers."""
        if self.assignment is None or not self.assignment.open:
            return 0
        return max(0, self.assignment.needed - self.taken)

    @property
    def done(self) -> int:
        """The pairs or SWOPs that are complete."""
        return sum(self._done(peer) for peer in self.peers if peer.takes_part)

    @property
    def hopeful(self) -> bool:
        """True if enough can be reached, or could if the SWOPs that are lost came back."""
        if self.assignment is None or self.assignment.aborted:
            return False
        lost = [peer for peer in self.peers if peer.takes_part and peer.state == "lost"]
        return self._possible + sum(self._units(peer) - self._done(peer) for peer in lost) >= self.assignment.needed

    @property
    def _possible(self) -> int:
        return self.short + sum(self._still_possible(peer) for peer in self.peers if peer.takes_part)

    def _units(self, peer: Peer) -> int:
        return peer.counted if self.runs_pairs else 1

    def _done(self, peer: Peer) -> int:
        if peer.state == "complete":
            return self._units(peer)
        return min(peer.counted, _count(peer, "complete")) if self.runs_pairs else 0

    def _still_possible(self, peer: Peer) -> int:
        if peer.state in ("complete", "failed", "lost"):
            return self._done(peer)
        return max(0, self._units(peer) - (_count(peer, "failed") if self.runs_pairs else 0))

    @property
    def runs_pairs(self) -> bool:
        """True if the assignment counts SL+ML pairs, not SWOPs."""
        return self.assignment is not None and self.assignment.type == "RUN_SWARM"


def _count(peer: Peer, state: str) -> int:
    return sum(pair.state == state for pair in peer.reports)


def taskrunner(world: World, name: str) -> Taskrunner | None:
    """The taskrunner of this name."""
    found = world.get(f"runner/{name}", Taskrunner)
    return Taskrunner(name) if found is None and name == DEFAULT_TASKRUNNER else found


def taskrunners(world: World) -> tuple[Taskrunner, ...]:
    """All taskrunners, by name; the one that is there from the start too."""
    known = {each.name: each for each in world.area("runner/", Taskrunner)}
    known.setdefault(DEFAULT_TASKRUNNER, Taskrunner(DEFAULT_TASKRUNNER))
    return tuple(known[name] for name in sorted(known))


def peers(world: World, name: str) -> tuple[Peer, ...]:
    """The peers of a taskrunner in the order in which they began to listen; none where there is no such taskrunner."""
    found = taskrunner(world, name)
    return found.peers if found else ()


def listens_to(world: World, uid: str) -> Taskrunner | None:
    """The taskrunner that this SWOP listens to."""
    for each in world.area("runner/", Taskrunner):
        if any(peer.uid == uid and not peer.gone for peer in each.peers):
            return each
    return None
