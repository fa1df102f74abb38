"""Sites with a privacy lock, in seeds that end with 0 or 5: one site of the swarm, with a budget that may be small.

A random stream of its own decides, so all other seeds mean what they meant before.
"""

import random
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from simulation import coded, models
from swarmlearning.ledger.bodies import Privacy
from swarmlearning.ledger.contracts.training.bodies import Withheld
from swarmlearning.ledger.contracts.training.serving import is_served
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.rounds.events import Dropped, LocalFailure, Release, Released

if TYPE_CHECKING:
    from simulation.site import Site
    from simulation.swarm import Swarm


@dataclass(frozen=True)
class Lock:
    """`budget`: the number of models that it gives. `contributors`: to rounds of so many alone. `noise`: 0 for none."""

    budget: int
    contributors: int
    noise: float

    def statement(self, given: int, withheld: Withheld = "") -> Privacy:
        """What the ledger gets to know after so many models."""
        spent = (float(given), given) if self.noise else (0.0, 0)
        return Privacy(1.0, self.noise, 1e-6, *spent, contributors=self.contributors, withheld=withheld)


def add_lock(swarm: "Swarm", seed: int) -> None:
    """Gives one site of this seed's swarm a privacy lock."""
    if seed % 5:
        return
    dice = random.Random(f"lock {seed}")
    site = dice.choice(list(swarm.sites.values()))
    # Who contributes no model of its own does not count to those demanded: without enough of them all would wait.
    contributors = min(swarm.min_peers, dice.choice((1, 2, 3)))
    if swarm.outer:
        contributors = 1  # those that have finished give no model of their own there
    if contributors > 1:
        for other in swarm.sites.values():
            other.plan = replace(other.plan, checkin="snapshot")
    site.lock = Lock(dice.choice((0, 1, 2, 3, 1000)), contributors, dice.choice((0.0, 1.0)))
    swarm.struck["privacy lock"] += 1
    swarm.struck["demand for contributors"] += contributors > 1


def release(running: "models.Task", task: Release) -> None:
    """Gives something of a model, or nothing: the same for the same task as long as it is held."""
    site, store, lock = running.site, running.site.store, running.site.lock
    assert lock is not None
    known = store.released.get(task)
    if known is not None and known.result in store.held:
        running.end(known)
    elif not task.base:
        running.end(Released(task, "", 0, lock.statement(len(store.given), "no-base")))
    elif gone := {task.digest, task.base} - store.held:
        for digest in sorted(gone):
            site.tell(Dropped(digest))
        running.end(LocalFailure(task, "it is not held"))
    elif len(store.given) >= lock.budget:
        site.swarm.struck["privacy budget that is spent"] += 1
        running.end(Released(task, "", 0, lock.statement(len(store.given), "budget")))
    elif store.full:
        running.end(LocalFailure(task, "the disk is full"))
    else:
        running.end(_given(site, task, lock))


def _given(site: "Site", task: Release, lock: Lock) -> Released:
    store, witness = site.store, site.swarm.witness
    if task.transfer != "float32":
        result = coded.coded(site, task, str(len(store.given)))
        store.given.append(result)
    else:
        result = models.name("released", task.digest, task.base, str(len(store.given)))
        store.given.append(result)
        witness.made_from[result] = task.base
        witness.handed[result] = witness.handed[task.digest]
        store.put(result)
    done = Released(task, result, site.swarm.size, lock.statement(len(store.given)))
    store.released[task] = done
    return done


def serves(holder: "Site", digest: str, height: int) -> bool:
    """Returns whether a site lets another have this model, which knows the block of this height: it waits for that."""
    if holder.lock is None or holder.lock.contributors == 1 or digest not in holder.store.given:
        return True
    return is_served(holder.swarm.log.training(max(height, holder.link.height)), holder.uid, digest)


def can_begin(training: Training, sites: Collection["Site"]) -> bool:
    """Returns whether a round without a base has a model to begin with: a lock gives none to it."""
    based = training.result is not None or (training.round is not None and training.round.base)
    return bool(based) or any(site.lock is None for site in sites)
