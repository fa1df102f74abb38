"""What waits for an answer of a site: tasks that its policy does not allow by itself.

The ledger shows which SWOPs wait, and by which digest. The question itself, with its reasons, is in the SWOP's data
directory and nowhere else: this UI has it where that SWOP runs on this machine.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from swarmlearning.ledger.contracts.taskrunner import taskrunners
from swarmlearning.ledger.world import World
from swarmlearning.swop.approvals import Approvals, Question
from swarmlearning.views.names import displayed, name_of, node_names

LONGEST = 1000


class Waiting(msgspec.Struct, frozen=True):
    """A SWOP that waits. `own`: it is one of the own organisation. `folder`: its data directory on this machine, empty
    where it runs elsewhere; then `command` is what its operator does there."""

    digest: str
    swop: str
    organisation: str
    own: bool
    taskrunner: str
    task: str
    assigned_by: str
    folder: str = ""
    reasons: tuple[str, ...] = ()
    says: tuple[str, ...] = ()


class ApprovalsView(msgspec.Struct, frozen=True):
    """All that wait; `organisation`: the own one, empty where it is not known."""

    organisation: str
    waiting: list[Waiting]


def waiting_view(world: World, own: str, local: Mapping[str, Sequence[Question]]) -> ApprovalsView:
    """What waits by the ledger, with the questions that are on this machine, by the SWOP's data directory."""
    names, found = node_names(world), list[Waiting]()
    asked = {question.digest: (folder, question) for folder, listed in local.items() for question in listed}
    for runner in taskrunners(world):
        assignment = runner.assignment
        if assignment is None:
            continue
        for peer in runner.peers:
            if peer.state != "awaiting-approval":
                continue
            folder, question = asked.get(peer.digest, ("", None))
            found.append(
                Waiting(
                    digest=peer.digest,
                    swop=name_of(names, peer.uid),
                    organisation=peer.organisation,
                    own=peer.organisation == own,
                    taskrunner=displayed(runner.name),
                    task=displayed(assignment.task),
                    assigned_by=assignment.organisation,
                    folder=folder if peer.organisation == own else "",
                    reasons=_shown(question.reasons if question else ()),
                    says=_shown(question.says if question else ()),
                )
            )
    return ApprovalsView(own, sorted(found, key=lambda each: (not each.own, each.swop, each.digest)))


def questions(folders: Sequence[Path]) -> dict[str, list[Question]]:
    """The questions that wait in these data directories of SWOPs. Blocks for as long as the disk takes."""
    return {str(folder): Approvals(folder).waiting() for folder in folders if folder.is_dir()}


def answer(folder: Path, digest: str, *, approved: bool) -> bool:
    """Answers a question; False where the SWOP does not run, which reads it when it starts. Raises `NodeError`."""
    approvals = Approvals(folder)
    approvals.answer(digest, approved=approved)
    return approvals.wake()


def _shown(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(displayed(line, LONGEST) for line in lines)
