"""Taskrunners and their peers as text for people; names are safe already."""

from swarmlearning.views.names import for_person
from swarmlearning.views.taskrunners import PeerView
from swarmlearning.views.tasks import RunnerView


def runner_text(found: RunnerView) -> str:
    """One line: the state, how much of the task is done, and whom it waits for."""
    status = found.status
    if not status.task:
        return f"IDLE, {status.listening} SWOP{'s' * (status.listening != 1)} listening"
    unit = "pairs" if status.peer_type == "SL" else "SWOPs"
    counts = f"{status.completed} of {status.needed} {unit} complete, {status.active} at work, {status.failed} failed"
    person = for_person(status.on_behalf_of)
    waits = f"; {status.waits_for}" if status.waits_for else ""
    return f"{status.state}: task {status.task} assigned by {status.assigned_by}{person}, {counts}{waits}"


def peer_text(peer: PeerView) -> str:
    """One line: a SWOP, and how its part of the task is."""
    attempt = f", attempt {peer.attempt}" if peer.attempt > 1 else ""
    pairs = f"{peer.pairs} pair{'s' * (peer.pairs != 1)}"
    return f"{peer.name} of {peer.organisation} ({pairs}): {peer.state}{attempt}, {peer.description}"


def progress_lines(found: RunnerView) -> list[str]:
    """A line for the task, each SWOP that has to do with it, each of its pairs, and each training of these."""
    lines = [runner_text(found)]
    for peer in found.peers:
        if peer.takes_part or peer.state == "awaiting-approval":
            lines.append(f"  {peer_text(peer)}")
        lines += [f"    SL {pair.name}: {pair.state}, {pair.description}" for pair in peer.spawned]
    lines += [f"  contract {each.contract}: {each.text}" for each in found.trainings]
    return lines
