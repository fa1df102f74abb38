"""Contracts whose changes are coded, in some seeds that end with 4, 7 or 9: what coding leaves out is not lost, and
what was trained is merged once.

Coding lets half of a change through, and the other half is its residual. So after any number of rounds what has been
merged of each piece of work, and what the residual that counts still has of it, are together that piece: neither more
(a residual that was used twice) nor less (one that was forgotten), but where a site could not know what counts, and
begins anew.
"""

import random
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from simulation import models, wayback
from simulation.violation import require
from swarmlearning.choices import Transfer
from swarmlearning.ledger.bodies import CreateContract, Publish
from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.rounds.events import Dropped, LocalFailure, Release, Released

if TYPE_CHECKING:
    from simulation.site import Site
    from simulation.swarm import Swarm

LET_THROUGH: Final = Fraction(1, 2)
Pieces = Mapping[str, Fraction]
"""Of pieces of work, how much."""


def transfer_of(swarm: "Swarm", seed: int) -> Transfer:
    """How models travel in this seed's swarm; a random stream of its own decides."""
    if random.Random(f"transfer {seed}").random() >= 0.7:
        return "float32"
    swarm.struck["coded changes"] += 1
    return "int8" if swarm.method != "mean" else "int4"


def contract_of(swarm: "Swarm", seed: int) -> CreateContract | None:
    """A contract of all organisations, with coded changes; None in seeds without one of their own."""
    if seed % 10 != 7:
        return None
    transfer, back = transfer_of(swarm, seed), wayback.back_of(swarm, seed)
    coded = not transfer == back == "float32"
    return CreateContract(shared=True, transfer=transfer, transfer_back=back) if coded else None


class CodedWitness:
    """Knows what each change has in it and what it leaves out, and of each result what it was made of."""

    def __init__(self, swarm: "Swarm") -> None:
        self._swarm = swarm
        self._given: dict[tuple[str, str], Pieces] = {}
        self._left: dict[str, Pieces] = {"": {}}
        self._counts: dict[str, dict[str, str]] = {}
        self._merged: dict[str, dict[str, dict[str, Fraction]]] = {}
        self._lost: set[str] = set()
        self._bases: dict[str, str] = {}
        self._shown: set[tuple[str, int, str]] = set()

    def shows(self, site: "Site", training: Training) -> None:
        """A site's machine is shown this state. A round that leaves its base as it is does not say of what that was
        made (seed 5237)."""
        result = training.result
        if result is not None and result.digest != result.closed.base:
            self._shown.add((site.uid, site.life, result.digest))

    def made(self, site: "Site", task: Release, change: str, pieces: Iterable[str]) -> None:
        """A site has coded the change that these pieces of work are. It adds the residual that counts, or none."""
        if task.residual is None:
            return
        counts = self._counts.get(task.base, {}).get(site.uid, "")
        what = f"{site.uid} adds the residual of {task.residual[:8]} in round {task.round}"
        require(task.residual in ("", counts), f"{what}, and {counts[:8] or 'none'} counts")
        if task.residual != counts:
            self._swarm.struck["residual that nobody knows any more"] += 1
            require(not self._can_know(site, task.base, counts), f"{what}, and can know that {counts[:8]} counts")
            self._lost |= self._left[counts].keys()
        whole = {each: share for each, share in self._left[task.residual].items() if share}
        for piece in pieces:
            whole[piece] = whole.get(piece, Fraction(0)) + 1
        self._given[site.uid, change] = {each: share * LET_THROUGH for each, share in whole.items()}
        self._left[change] = {each: share - share * LET_THROUGH for each, share in whole.items()}

    def _can_know(self, site: "Site", result: str, change: str) -> bool:
        """Whether a site has been shown all results from the one that names its change to this one."""
        while (site.uid, site.life, result) in self._shown:
            base = self._bases.get(result, "")
            if self._counts.get(base, {}).get(site.uid) != change:
                return True
            result = base
        return False

    def published(self, current: Round, body: Publish) -> None:
        """A result stands: nobody's work is in it twice, and none is lost."""
        if not body.result or body.result == current.base:
            return
        counts, merged = dict(self._counts.get(current.base, {})), dict(self._merged.get(current.base, {}))
        for part in body.receipt.contributions:
            if (part.uid, part.digest) not in self._given or not part.coefficient:
                continue  # an adversary may name the change of another
            total = dict(merged.get(part.uid, {}))
            for piece, share in self._given[part.uid, part.digest].items():
                total[piece] = total.get(piece, Fraction(0)) + share
            merged[part.uid], counts[part.uid] = total, part.digest
            for piece, share in total.items():
                held = share + self._left[part.digest].get(piece, Fraction(0))
                what = f"{held} of what {part.uid} has trained is in the result of round {body.round} and its residual"
                require(held == 1 or (held < 1 and piece in self._lost), what)
        self._counts[body.result], self._merged[body.result] = counts, merged
        self._bases[body.result] = current.base


def release(running: "models.Task", task: Release) -> None:
    """Codes the change of a site without a privacy lock: the same for the same task as long as it is held."""
    site, store = running.site, running.site.store
    known = store.coded.get(task)
    if known is not None and known.result in store.held:
        running.end(known)
    elif gone := {task.digest, task.base} - store.held:
        for digest in sorted(gone):
            site.tell(Dropped(digest))
        running.end(LocalFailure(task, "it is not held"))
    elif store.full:
        running.end(LocalFailure(task, "the disk is full"))
    else:
        done = Released(task, coded(site, task), site.swarm.size, None)
        store.coded[task] = done
        running.end(done)


def coded(site: "Site", task: Release, again: str = "") -> str:
    """The name of the change that a task makes; `again` tells those of one task apart."""
    result, witness = models.name("coded", task.digest, task.base, task.residual or "", again), site.swarm.witness
    witness.made_from[result], witness.handed[result] = task.base, witness.handed[task.digest]
    if task.digest in witness.poisoned:
        witness.poisoned.add(result)
    own = witness.made_from[task.digest] == task.base
    # What a script has closed with is another change of each base.
    pieces = sorted(piece + ("" if own else task.base) for piece in witness.handed[task.digest])
    witness.coded.made(site, task, result, pieces)
    site.store.put(result)
    return result
