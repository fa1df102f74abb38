"""The transitions of a taskrunner: one function each, from the state before to the state after. `state.py` has the
theory. Each raises `Rejection` where it does not hold; then nothing has changed.
"""

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.taskrunner.bodies import ReportPeer
from swarmlearning.ledger.contracts.taskrunner.state import Assignment, Peer, PeerState, Taskrunner

MOST_PEERS = 256
_AT_WORK: tuple[PeerState, ...] = ("enrolled", "running", "awaiting-approval", "listening")
_FROM: dict[str, tuple[PeerState, ...]] = {
    "enrolled": ("listening", "awaiting-approval", "lost"),
    "awaiting-approval": ("listening", "awaiting-approval", "enrolled", "lost"),
    "running": ("enrolled", "running", "lost"),
    "complete": ("enrolled", "running", "lost"),
    "failed": ("listening", "awaiting-approval", "enrolled", "running", "lost"),
}
"""The states from which a peer comes to each that it reports."""


# --- who listens ----------------------------------------------------------------------------------------------------


def listening(runner: Taskrunner, uid: str, organisation: str, pairs: int, now_ms: int) -> Taskrunner:
    """A SWOP listens from now on, in the last place, or goes on to; it can start so many pairs."""
    known = peer_of(runner, uid)
    if known is None:
        fresh = Peer(uid, organisation, pairs, now_ms)
        return msgspec.structs.replace(runner, peers=(*_room_for_one(runner), fresh))
    state = "listening" if known.state == "lost" and not known.slot else known.state
    changed = msgspec.structs.replace(known, organisation=organisation, pairs=pairs, gone=False, state=state)
    if changed == known:
        raise Rejection(Code.NO_CHANGE, f"SWOP {uid} listens to taskrunner {runner.name} already")
    return with_peer(runner, changed)


def _room_for_one(runner: Taskrunner) -> tuple[Peer, ...]:
    """The peers without one that is lost, where there are as many as can be."""
    if len(runner.peers) < MOST_PEERS:
        return runner.peers
    for one in runner.peers:
        if one.state == "lost" and not one.takes_part:
            return tuple(each for each in runner.peers if each is not one)
    raise Rejection(
        Code.TOO_MANY, f"{MOST_PEERS} SWOPs listen to taskrunner {runner.name}; let this one listen to another"
    )


def without_peer(runner: Taskrunner, uid: str, now_ms: int) -> Taskrunner:
    """A SWOP has left the network, or listens to another taskrunner; what it had to do here has failed."""
    known = peer_of(runner, uid)
    if known is None or known.gone:
        return runner
    if not known.takes_part:
        return msgspec.structs.replace(runner, peers=tuple(one for one in runner.peers if one.uid != uid))
    if known.state not in ("complete", "failed"):
        known = msgspec.structs.replace(known, state="failed", reason="site", exit_code=None, changed_ms=now_ms)
    return with_peer(runner, msgspec.structs.replace(known, gone=True))


def set_attendance(runner: Taskrunner, uid: str, *, present: bool, now_ms: int) -> Taskrunner:
    """A SWOP was lost, or is back; one that takes part goes on only when it says so."""
    known = peer_of(runner, uid)
    if known is None or known.gone:
        return runner
    if not present and known.state in _AT_WORK:
        return with_peer(runner, msgspec.structs.replace(known, state="lost", changed_ms=now_ms))
    if present and known.state == "lost" and not known.slot:
        return with_peer(runner, msgspec.structs.replace(known, state="listening", changed_ms=now_ms))
    return runner


# --- assignments ----------------------------------------------------------------------------------------------------


def assign(runner: Taskrunner, assignment: Assignment, invited: Collection[str]) -> Taskrunner:
    """The idle taskrunner begins with this; the invited ones have their slots."""
    peers = tuple(
        msgspec.structs.replace(one, invited=True, counted=one.pairs) if one.uid in invited else one
        for one in runner.peers
    )
    return msgspec.structs.replace(runner, serial=assignment.serial, assignment=assignment, peers=peers)


def check_idle(runner: Taskrunner) -> None:
    """Raises `Rejection` unless a task can be assigned."""
    if runner.assignment is None:
        return
    state, name, task = runner.state, runner.name, runner.assignment.task
    if state in ("COMPLETE", "ERROR"):
        raise Rejection(
            Code.NOT_IDLE,
            f"taskrunner {name} has the task {task}, {state}; reset it first: swarm taskrunner reset {name}",
        )
    raise Rejection(
        Code.NOT_IDLE,
        f"taskrunner {name} carries out the task {task}; wait for its end, or end it: swarm taskrunner reset {name}",
    )


def target(runner: Taskrunner, task: str, uid: str, now_ms: int, *, alive: bool) -> Taskrunner:
    """A peer takes part in the present assignment besides the others, or once more; `alive`: it is there now."""
    assignment = present_assignment(runner)
    if assignment.task != task:
        raise Rejection(
            Code.NOT_IDLE,
            f"taskrunner {runner.name} has the task {assignment.task}; a target can be added to that only. Reset it "
            f"first: swarm taskrunner reset {runner.name}",
        )
    if assignment.aborted or runner.state == "COMPLETE":
        check_idle(runner)
    known = listener(runner, uid)
    if known.state in ("failed", "lost"):
        again: PeerState = "listening" if alive else "lost"
        known = _fresh(known, state=again, attempt=known.attempt + 1, changed_ms=now_ms)
    elif known.takes_part:
        raise Rejection(Code.NO_CHANGE, f"SWOP {uid} takes part in task {task} already: {known.state}")
    return with_peer(runner, msgspec.structs.replace(known, invited=True, counted=known.pairs))


def abort(runner: Taskrunner, now_ms: int) -> Taskrunner:
    """Nothing more is done for the assignment."""
    assignment = present_assignment(runner)
    if runner.state in ("COMPLETE", "ERROR"):
        raise Rejection(
            Code.ASSIGNMENT_OVER,
            f"task {assignment.task} of taskrunner {runner.name} is {runner.state} already; "
            f"reset it: swarm taskrunner reset {runner.name}",
        )
    peers = tuple(
        msgspec.structs.replace(one, state="failed", reason="aborted", exit_code=None, changed_ms=now_ms)
        if one.takes_part and one.state not in ("complete", "failed")
        else one
        for one in runner.peers
    )
    ended = msgspec.structs.replace(assignment, aborted=True)
    return msgspec.structs.replace(runner, assignment=ended, peers=peers)


def reset(runner: Taskrunner, alive: Callable[[str], bool]) -> Taskrunner:
    """Idle, with the peers that still listen; an idle one is as it was."""
    peers = tuple(
        _fresh(one, state="listening" if alive(one.uid) else "lost", attempt=1, changed_ms=0)
        for one in runner.peers
        if not one.gone
    )
    return msgspec.structs.replace(runner, assignment=None, peers=peers)


def _fresh(known: Peer, **changes: Any) -> Peer:
    """The peer without what it has reported."""
    nothing = Peer(known.uid, known.organisation, known.pairs, known.listening_ms)
    return msgspec.structs.replace(nothing, **changes)


# --- reports --------------------------------------------------------------------------------------------------------


def report(runner: Taskrunner, uid: str, body: ReportPeer, now_ms: int) -> Taskrunner:
    """A SWOP states how its part is."""
    known = _reporting(runner, uid, body)
    _check_form(runner, known, body)
    slot, counted = known.slot, known.counted
    match body.state:
        case "enrolled":
            _check_place(runner, known)
            slot, counted = True, counted if known.takes_part else known.pairs
        case "awaiting-approval":
            slot = False
        case "running" | "complete" if not known.slot:
            raise Rejection(Code.NOT_ENROLLED, f"SWOP {uid} has not enrolled in task {_task(runner)}")
    changed = msgspec.structs.replace(
        known,
        state=body.state,
        slot=slot,
        counted=counted,
        digest=body.digest or known.digest,
        reason=body.reason,
        exit_code=body.exit_code,
        reports=body.pairs,
        changed_ms=now_ms,
    )
    if msgspec.structs.replace(changed, changed_ms=known.changed_ms) == known:
        raise Rejection(Code.NO_CHANGE, f"SWOP {uid} has reported this already")
    return with_peer(runner, changed)


def with_what_is_complete(runner: Taskrunner, uid: str, body: ReportPeer) -> ReportPeer:
    """The report, with the SWOP's pairs that are complete already: else a SWOP could take back what it has done, and an
    assignment that is complete would not be so any more. Raises `Rejection` where it gives up its slot with them."""
    known = peer_of(runner, uid)
    complete = {pair.index: pair for pair in known.reports if pair.state == "complete"} if known else {}
    if complete and body.state == "awaiting-approval":
        raise Rejection(Code.ASSIGNMENT_OVER, f"pairs of SWOP {uid} are complete; it cannot be {body.state} now")
    reported = {pair.index for pair in body.pairs}
    pairs = tuple(complete.get(pair.index, pair) for pair in body.pairs)
    left_out = tuple(pair for index, pair in complete.items() if index not in reported)
    return msgspec.structs.replace(body, pairs=pairs + left_out)


def _reporting(runner: Taskrunner, uid: str, body: ReportPeer) -> Peer:
    known = listener(runner, uid)
    if runner.assignment is None or runner.assignment.serial != body.serial:
        present = f"assignment {runner.serial} is in force" if runner.assignment else "it is idle"
        raise Rejection(Code.OTHER_ASSIGNMENT, f"taskrunner {runner.name}: {present}, not {body.serial}")
    if known.attempt != body.attempt:
        raise Rejection(Code.OTHER_ASSIGNMENT, f"SWOP {uid} is in attempt {known.attempt}, not {body.attempt}")
    if known.state not in _FROM[body.state]:
        raise Rejection(Code.ASSIGNMENT_OVER, f"the part of SWOP {uid} is {known.state}; it cannot be {body.state} now")
    return known


def _check_form(runner: Taskrunner, known: Peer, body: ReportPeer) -> None:
    if (body.state == "failed") != (body.reason is not None):
        raise Rejection(Code.WRONG_REPORT, f"a part that has failed states a reason, and no other one; {body.state}")
    if len({pair.index for pair in body.pairs}) != len(body.pairs) or len(body.pairs) > max(known.pairs, known.counted):
        raise Rejection(
            Code.WRONG_REPORT, f"each of the {known.pairs} pairs of SWOP {known.uid} is reported once at most"
        )
    if body.pairs and not runner.runs_pairs:
        raise Rejection(Code.WRONG_REPORT, f"task {_task(runner)} runs no pairs")


def _check_place(runner: Taskrunner, known: Peer) -> None:
    assignment = present_assignment(runner)
    if known.takes_part:
        return
    if assignment.aborted or runner.state == "COMPLETE":
        raise Rejection(Code.ASSIGNMENT_OVER, f"task {assignment.task} is over on taskrunner {runner.name}")
    if runner.short <= 0:
        raise Rejection(
            Code.ENOUGH_PEERS,
            f"enough SWOPs take part in task {assignment.task}; a target adds this one: swarm taskrunner assign "
            f"{assignment.task} {runner.name} --target {known.uid}",
        )
    if runner.runs_pairs and not known.pairs:
        raise Rejection(Code.WRONG_REPORT, f"SWOP {known.uid} has no pairs for RUN_SWARM task {assignment.task}")


def _task(runner: Taskrunner) -> str:
    return runner.assignment.task if runner.assignment else ""


# --- looking up -----------------------------------------------------------------------------------------------------


def present_assignment(runner: Taskrunner) -> Assignment:
    """The assignment in force. Raises `Rejection` where there is none."""
    if runner.assignment is None:
        raise Rejection(Code.NO_ASSIGNMENT, f"taskrunner {runner.name} is idle")
    return runner.assignment


def peer_of(runner: Taskrunner, uid: str) -> Peer | None:
    """The peer of this UID."""
    return next((one for one in runner.peers if one.uid == uid), None)


def listener(runner: Taskrunner, uid: str) -> Peer:
    """The SWOP that listens to this taskrunner. Raises `Rejection`."""
    known = peer_of(runner, uid)
    if known is None or known.gone:
        raise Rejection(Code.NOT_LISTENING, f"no SWOP {uid} listens to taskrunner {runner.name}")
    return known


def with_peer(runner: Taskrunner, changed: Peer) -> Taskrunner:
    """A copy with this peer in its place."""
    return msgspec.structs.replace(
        runner, peers=tuple(changed if one.uid == changed.uid else one for one in runner.peers)
    )
