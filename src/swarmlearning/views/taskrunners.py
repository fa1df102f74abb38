"""A taskrunner as operators see it: its task, its peers, and whom an assignment waits for; all is safe to show."""

from typing import Final, Literal, TypeAlias

import msgspec

from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.taskrunner import Peer, RunnerState, Taskrunner
from swarmlearning.ledger.contracts.taskrunner.bodies import Pair, Reason
from swarmlearning.ledger.world import World
from swarmlearning.views.names import LONGEST_PERSON, Names, displayed, name_of, node_names
from swarmlearning.views.render import listed

PeerType: TypeAlias = Literal["SL", "SWOP"]

REASONS: Final[dict[Reason, str]] = {
    "ml-exit": "the ML process ended with an error",
    "sl-exit": "the SL ended before the training was over",
    "no-start": "SL or ML could not be started",
    "build": "a build step failed",
    "pull": "an image could not be pulled",
    "download": "a file could not be downloaded or extracted",
    "unsupported": "the site's resource manager cannot do what task or profile ask for",
    "limit": "a limit of the site was reached",
    "hung": "the ML process made no progress and was ended",
    "rejected": "the site's operator has rejected the task",
    "aborted": "an operator has aborted the taskrunner",
    "site": "the site has a fault of its own, which its SWOP's log names",
}

STATES: Final = {
    "listening": "waits for a task",
    "enrolled": "takes part, and has not begun yet",
    "running": "is at work",
    "complete": "has done its part",
    "failed": "has failed",
    "lost": "its SWOP is not there: its lease has ended",
}


class PairView(msgspec.Struct, frozen=True):
    """An SL+ML pair that a SWOP has started."""

    index: int
    uid: str
    name: str
    state: str
    description: str


class PeerView(msgspec.Struct, frozen=True):
    """A SWOP that listens to a taskrunner, and its part of the task. `index` numbers first those that take part."""

    index: int
    uid: str
    name: str
    organisation: str
    state: str
    takes_part: bool
    pairs: int
    attempt: int
    description: str
    spawned: tuple[PairView, ...]


class RunnerStatus(msgspec.Struct, frozen=True):
    """A taskrunner now. The counts of peers are of SL+ML pairs for a RUN_SWARM, else of SWOPs; `swops` take part of all
    that are `listening`. `waits_for`: one sentence, empty where it waits for nobody; 0: no such instant.
    `on_behalf_of`: the person for whom the task was assigned, empty where none is stated."""

    name: str
    task: str
    peer_type: PeerType
    state: RunnerState
    needed: int
    enrolled: int
    active: int
    completed: int
    failed: int
    swops: int
    listening: int
    assigned_by: str
    assigned_ms: int
    changed_ms: int
    waits_for: str
    on_behalf_of: str


def runner_status(world: World, runner: Taskrunner) -> RunnerStatus:
    """How the taskrunner is now."""
    assignment = runner.assignment
    part = [peer for peer in runner.peers if peer.takes_part]
    failed = sum(_failed(runner, peer) for peer in part)
    return RunnerStatus(
        name=displayed(runner.name),
        task=displayed(assignment.task) if assignment else "",
        peer_type="SL" if runner.runs_pairs else "SWOP",
        state=runner.state,
        needed=assignment.needed if assignment else 0,
        enrolled=runner.taken,
        active=max(0, runner.taken - runner.done - failed),
        completed=runner.done,
        failed=failed,
        swops=len(part),
        listening=sum(not peer.gone and peer.state != "lost" for peer in runner.peers),
        assigned_by=assignment.organisation if assignment else "",
        assigned_ms=assignment.assigned_ms if assignment else 0,
        changed_ms=max((peer.changed_ms for peer in part), default=0),
        waits_for=waits_for(world, runner),
        on_behalf_of=displayed((assignment.on_behalf_of if assignment else "") or "", LONGEST_PERSON),
    )


def peer_views(world: World, runner: Taskrunner) -> list[PeerView]:
    """The peers, first those that take part, each group in the order in which they began to listen."""
    names = node_names(world)
    ordered = sorted(runner.peers, key=lambda peer: not peer.takes_part)
    return [_peer(index, peer, names) for index, peer in enumerate(ordered)]


def waits_for(world: World, runner: Taskrunner) -> str:
    """One sentence: for whom a task waits, and whose approval is missing; empty where it waits for nobody."""
    if runner.assignment is None or runner.assignment.aborted or runner.state == "COMPLETE":
        return ""
    names, parts = node_names(world), []
    lost = [name_of(names, peer.uid) for peer in runner.peers if peer.takes_part and peer.state == "lost"]
    parts += [f"{listed(lost)} to come back"] if lost else []
    if runner.short:
        what = "SL-ML pair" if runner.runs_pairs else "SWOP"
        there = sum(peer.pairs if runner.runs_pairs else 1 for peer in runner.peers if _is_free(world, peer))
        parts.append(f"{runner.short} more {what}{'s' * (runner.short != 1)} ({there} free)")
    asking = [peer for peer in runner.peers if peer.state == "awaiting-approval"]
    parts += [
        f"the approval of {name_of(names, peer.uid)} ({peer.organisation}), whose operator gives it there by: "
        f"swarm swop approve {displayed(peer.digest)}"
        for peer in asking
    ]
    late = [name_of(names, peer.uid) for peer in runner.peers if peer.invited and peer.state == "listening"]
    parts += [f"an answer of {listed(late)}"] if late else []
    return f"waits for {'; '.join(parts)}" if parts else ""


def failures(world: World, runner: Taskrunner) -> str:
    """One sentence: which peers have failed, and why."""
    found = [view for view in peer_views(world, runner) if view.takes_part and view.state in ("failed", "lost")]
    pairs = [
        f"SL {pair.name} of {view.name}: {pair.description}"
        for view in peer_views(world, runner)
        for pair in view.spawned
        if pair.state == "failed"
    ]
    return listed([f"{view.name} ({view.organisation}): {view.description}" for view in found] + pairs)


def _peer(index: int, peer: Peer, names: Names) -> PeerView:
    return PeerView(
        index=index,
        uid=displayed(peer.uid),
        name=name_of(names, peer.uid),
        organisation=peer.organisation,
        state=peer.state,
        takes_part=peer.takes_part,
        pairs=peer.pairs,
        attempt=peer.attempt,
        description=_description(peer),
        spawned=tuple(_pair(pair, peer, names) for pair in peer.reports),
    )


def _pair(pair: Pair, peer: Peer, names: Names) -> PairView:
    if pair.state == "running" and peer.reason == "aborted":  # its end is not reported any more
        return PairView(pair.index, displayed(pair.uid), name_of(names, pair.uid), peer.state, _description(peer))
    description = _reason(pair.reason, pair.exit_code) or STATES[pair.state]
    return PairView(pair.index, displayed(pair.uid), name_of(names, pair.uid), pair.state, description)


def _description(peer: Peer) -> str:
    if peer.state == "awaiting-approval":
        return f"waits for its operator: swarm swop approve {displayed(peer.digest)}"
    return _reason(peer.reason, peer.exit_code) or STATES[peer.state]


def _reason(reason: Reason | None, exit_code: int | None) -> str:
    if reason is None:
        return ""
    return REASONS[reason] + (f" (exit code {exit_code})" if exit_code is not None else "")


def _failed(runner: Taskrunner, peer: Peer) -> int:
    """The pairs, or SWOPs, that have failed of this peer."""
    if not runner.runs_pairs:
        return int(peer.state in ("failed", "lost"))
    complete = sum(pair.state == "complete" for pair in peer.reports)
    if peer.state in ("failed", "lost"):
        return max(0, peer.counted - complete)
    return sum(pair.state == "failed" for pair in peer.reports)


def _is_free(world: World, peer: Peer) -> bool:
    known = network.node(world, peer.uid)
    return not peer.gone and not peer.takes_part and peer.state == "listening" and known is not None and known.alive
