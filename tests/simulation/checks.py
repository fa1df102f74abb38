"""Checks of results that were merged in slices: a site's work with them, and what is to hold of them.

Who checks is a matter of chance for each site and run. A site that lies states the contrary of what it finds.
"""

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from simulation import locks, models
from simulation.violation import require
from swarmlearning.ledger.bodies import Check, Checked
from swarmlearning.ledger.contracts.training.checks import Checks
from swarmlearning.ledger.contracts.training.serving import readable_slices, rounds_of
from swarmlearning.ledger.contracts.training.slices import UNITS, Slicing
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.rounds.checks import Recheck, Rechecked, Uncheckable
from swarmlearning.rounds.events import Dropped
from swarmlearning.rounds.settings import RoundSettings
from swarmlearning.rounds.slices import Assemble

if TYPE_CHECKING:
    from simulation.models import Task
    from simulation.site import Site
    from simulation.swarm import Swarm


def settings_of(site: "Site") -> RoundSettings:
    """Returns the plan's; every other site checks each result."""
    draw = sha256(f"checks {site.uid} {site.swarm.seed}".encode()).digest()[0]
    return replace(site.plan.settings, verifies=site.swarm.sliced and draw % 2 == 0)


def begin(task: "Task", work: Recheck) -> None:
    """Fetches the pieces from one contributor after the other, and compares then."""
    others = [one.uid for one in work.recipe.contributors if one.digest not in task.site.store.held]
    task.at(0.0, lambda: _get(task, work, others))


def _get(task: "Task", work: Recheck, left: list[str]) -> None:
    site, swarm = task.site, task.site.swarm
    share = sum(piece.stop - piece.start for piece in work.pieces) / UNITS
    if not left:
        task.job(site.plan.work * share, lambda: _compare(task, work), silent=True)
        return
    uid, *rest = left
    digest = next(one.digest for one in work.recipe.contributors if one.uid == uid)
    if uid in swarm.intruders:
        serves = swarm.intruders[uid].serves == "models" and digest in swarm.intruders[uid].models
        task.at(models.REFUSED_SECONDS, lambda: _get(task, work, rest) if serves else _cannot(task, work, uid))
        return
    holder = swarm.sites[uid]
    if holder.frozen or not swarm.reach(site.uid, uid) or swarm.loses():
        task.at(models.CONNECT_SECONDS, lambda: _cannot(task, work, uid))
    elif not _serves(holder, site, work, digest):
        task.at(models.REFUSED_SECONDS, lambda: _cannot(task, work, uid))
    elif holder.dripping:
        task.job(work.seconds, lambda: _cannot(task, work, uid), silent=True)
    else:
        swarm.witness.checks.reads(site, holder, digest, work)
        task.job((holder.plan.transfer + site.plan.transfer) * share, lambda: _get(task, work, rest), silent=True)


def _serves(holder: "Site", site: "Site", work: Recheck, digest: str) -> bool:
    """Returns whether a holder that is reached serves all pieces, by the newest state that either knows."""
    if not holder.alive or holder.shielded or holder.revoked or site.revoked:
        return False
    state = site.swarm.log.training(max(site.decided_on, holder.link.height))
    found = readable_slices(state, holder.uid, digest, {site.uid}) or ()
    served = {unit for each in found for unit in range(each.start, each.stop)}
    if any(not served.issuperset(range(piece.start, piece.stop)) for piece in work.pieces):
        return False
    if not locks.serves(holder, digest, site.decided_on):
        return False
    if digest not in holder.store.held:
        holder.at(0.0, lambda: holder.tell(Dropped(digest)))
        return False
    return True


def _cannot(task: "Task", work: Recheck, uid: str) -> None:
    task.site.swarm.note(task.site.uid, f"cannot check round {work.recipe.round}: {uid}")
    task.end(Uncheckable(work.result, uid))


def _compare(task: "Task", work: Recheck) -> None:
    site, swarm = task.site, task.site.swarm
    merged = work.merged or work.result
    if merged not in site.store.held:
        site.tell(Dropped(merged))
        task.end(Uncheckable(work.result, "the result is gone"))
        return
    pieces = {piece.slice for piece in work.pieces}
    wrong = swarm.witness.checks.wrong_in(work.result) & pieces
    swarm.struck["check"] += 1
    swarm.struck["check that finds a lie"] += bool(wrong)
    task.end(Rechecked(work.result, tuple(sorted(pieces - wrong if site.lies else wrong))))


class CheckWitness:
    """Knows what is truly wrong with each result, and who may read what to check it."""

    def __init__(self, swarm: "Swarm") -> None:
        self._swarm = swarm
        self._wrong: dict[str, set[int]] = {}

    def wrong_in(self, result: str) -> set[int]:
        """Returns the slices in which it has other bytes than the models give."""
        return self._wrong[result]

    def advanced(self, before: Training, after: Training, sender: str, body: object) -> None:
        """Checks the newest state, and what this node has stated last."""
        if after.checks is not None and (before.checks is None or before.checks.result != after.checks.result):
            slicing = slicing_of(before, after.checks.round)
            require(slicing is not None, "parts of a result are to be checked that was not merged in slices")
            assert slicing is not None
            self._check_parts(after, after.checks, slicing)
            self._note_truth(after, after.checks, slicing)
        if before.checks is not None and after.checks is not None and before.checks.result == after.checks.result:
            self._check_kept(before.checks, after.checks)
        site = self._swarm.sites.get(sender)
        match body:
            case Check(round=number):
                require(_is_kept(before, number), f"{sender} begins to check round {number}, too late")
                require(after.checks is not None and sender in after.checks.begun, f"{sender} is not noted")
            case Checked(result=result, wrong=wrong) if after.checks is not None:
                own = after.checks.slices_of(sender)
                require(own.issuperset(wrong), f"{sender} speaks of slices that are not its to check")
                honest = site is not None and not site.lies
                require(not honest or set(wrong) == own & self._wrong[result], f"{sender} finds what is not so")

    def reads(self, reader: "Site", holder: "Site", digest: str, work: Recheck) -> None:
        """Checks that a site reads its parts, after it has said so, and while contributions are kept."""
        state = self._swarm.log.training(max(reader.decided_on, holder.link.height))
        if _merges_all_of(state, reader.uid, holder.uid, digest, work):
            return
        checks = state.checks
        what = f"{reader.uid} reads {digest[:6]} of {holder.uid} to check round {work.recipe.round}"
        require(checks is not None and checks.result == work.result, f"{what}, which is not to be checked")
        assert checks is not None
        require(reader.uid in checks.begun, f"{what}, and has not said so")
        require(_is_kept(state, checks.round), f"{what}, when others have given up theirs")
        parts = {unit for part in checks.parts if part.uid == reader.uid for unit in range(part.start, part.stop)}
        for piece in work.pieces:
            require(parts.issuperset(range(piece.start, piece.stop)), f"{what}, and more than its part")

    def _check_parts(self, state: Training, checks: Checks, slicing: Slicing) -> None:
        there = [uid for uid, member in state.members.items() if member.alive]
        units = [unit for part in checks.parts for unit in range(part.start, part.stop)]
        require(len(units) == len(set(units)), "a part is checked by two")
        for uid in checks.members:
            own = {unit for part in checks.parts if part.uid == uid for unit in range(part.start, part.stop)}
            require(uid in there, f"{uid} is to check, and is not there")
            require(len(own) <= -(-UNITS // len(there)), f"{uid} is to check more than its part")
            read = {unit for each in slicing.slices if uid in each.readers for unit in range(each.start, each.stop)}
            whole = len(read) < UNITS and len(read | own) == UNITS
            require(len(there) < 3 or not whole, f"{uid} reads all of a model by checking")
            for each in slicing.slices:
                if each.roots.get(uid) == each.root:
                    require(own.isdisjoint(range(each.start, each.stop)), f"{uid} is to check what it has merged")

    def _note_truth(self, state: Training, checks: Checks, slicing: Slicing) -> None:
        step = state.steps.get(checks.result)
        merged = step.merged if step else checks.result
        roots, witness = tuple(each.root for each in slicing.slices), self._swarm.witness.slices
        if merged != witness.result_of(Assemble(slicing.recipe, roots)):
            self._wrong[checks.result] = set(range(len(roots)))  # it is not what was merged at all
            return
        true = [witness.true_root_of(slicing.recipe, index) for index in range(len(roots))]
        self._wrong[checks.result] = {index for index, root in enumerate(roots) if root != true[index]}

    def _check_kept(self, before: Checks, after: Checks) -> None:
        """Nothing that was stated is lost, and parts stay whose they are."""
        require(before.parts == after.parts, "parts of a result are given to others")
        require(set(before.begun) <= set(after.begun), "that members check is forgotten")
        require(before.found.items() <= after.found.items(), "what members have found is forgotten, or another thing")


def _merges_all_of(state: Training, reader: str, holder: str, digest: str, work: Recheck) -> bool:
    """Returns whether a site is to merge what it reads: of a model that was contributed to the next round, too (seed
    3200)."""
    units: set[int] = set()
    for slicing in state.slicings:
        entry = next(each for each in rounds_of(state) if each.number == slicing.round).submissions.get(holder)
        if entry is not None and entry.digest == digest:
            own = (each for each in slicing.slices if reader in each.readers)
            units.update(unit for each in own for unit in range(each.start, each.stop))
    return all(units.issuperset(range(piece.start, piece.stop)) for piece in work.pieces)


def _is_kept(state: Training, number: int) -> bool:
    """Returns whether contributors keep their models of this round, whose result stands."""
    result, current = state.result, state.round
    if result is None or result.closed.number != number or state.settled:
        return False
    return current is None or current.phase == "collecting"
