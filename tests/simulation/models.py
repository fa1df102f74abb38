"""A site's work with models: it fetches them from others, merges, carries over, verifies.

Models are names; the witness knows of each what it was truly made from. Nothing comes of work that was cancelled.
"""

from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from simulation import checks, coded, locks, outersteps, slices, wayback
from swarmlearning.ledger.bodies import Contribution, Exclusion, Receipt
from swarmlearning.ledger.contracts.training.steps import takes_steps
from swarmlearning.ledger.contracts.training.transfers import is_coded
from swarmlearning.ledger.contracts.training.weighing import coefficients
from swarmlearning.rounds.checks import Recheck
from swarmlearning.rounds.events import (
    Carried,
    Carry,
    Dropped,
    Event,
    Fetch,
    Fetched,
    FetchFailed,
    LocalFailure,
    Merge,
    Merged,
    Release,
    Work,
)
from swarmlearning.rounds.slices import Assemble, FetchSlice, MergeSlice, WeighModels

if TYPE_CHECKING:
    from simulation.clock import Thunk
    from simulation.intruder import Intruder
    from simulation.site import Site
    from simulation.store import Job

CONNECT_SECONDS = 5.0
REFUSED_SECONDS = 0.02
DRIPPING_SECONDS = 100_000.0
TRICKLE_SECONDS = 10.0


def name(*parts: str) -> str:
    """Returns the digest of a model that is made of these."""
    return sha256(" ".join(parts).encode()).hexdigest()


class Task:
    """A site's work in progress, for the training as it was when that was decided."""

    def __init__(self, site: "Site", work: Work) -> None:
        self.site, self.work = site, work
        self.training = site.swarm.log.training(site.decided_on)
        self.cancelled = False
        self._job: Job | None = None
        self._transfers = ""

    def cancel(self) -> None:
        """Cancels it: nothing comes of it any more, but the part of a model that has arrived stays."""
        self.cancelled = True
        if self._job is not None:
            if self._transfers and not self._job.over:
                self.site.store.put_part(self._transfers, self.site.store.done(self._job))
            self.site.store.stop(self._job)

    def at(self, seconds: float, thunk: "Thunk") -> None:
        """Calls `thunk` later, unless it is cancelled by then."""
        self.site.at(seconds, lambda: None if self.cancelled else thunk())

    def job(self, seconds: float, thunk: "Thunk", *, silent: bool = False) -> None:
        """Does work with disk or network, and then calls `thunk`."""
        self._job = self.site.store.job(seconds, thunk, silent)

    def transfer(self, digest: str, seconds: float, thunk: "Thunk") -> None:
        """Moves a model here, and then calls `thunk`."""
        self._transfers = digest
        self.job(seconds, thunk)

    def end(self, event: Event) -> None:
        """Ends it with this event."""
        self.site.ended(self)
        self.site.tell(event)
        if isinstance(event, LocalFailure) and not self.cancelled:
            self.site.swarm.witness.work.failed(self.site, self.work)


def begin(site: "Site", work: Work) -> Task:
    """Starts work."""
    task = Task(site, work)
    match work:
        case Fetch(holders=holders):
            site.swarm.witness.slices.asks(site, task.training, work)
            task.at(0.0, lambda: fetch(task, work, list(holders)))
        case MergeSlice() | FetchSlice() | Assemble() | WeighModels():
            slices.begin(task, work)
        case Recheck():
            checks.begin(task, work)
        case Merge():
            site.swarm.moment("merging", site)
            task.job(site.plan.work, lambda: merge(task, work), silent=site.plan.silent)
        case Carry():
            task.job(site.plan.work, lambda: carry(task, work), silent=site.plan.silent)
        case Release():
            release = locks.release if site.lock else coded.release
            task.job(site.plan.work, lambda: release(task, work), silent=site.plan.silent)
    return task


def fetch(task: Task, work: Fetch, holders: list[str]) -> None:
    """Requests the model from one holder after the other."""
    site = task.site
    if not holders:
        task.end(FetchFailed(work.digest, "nobody could give it"))
        return
    rest = holders[1:]
    if holders[0] in site.swarm.intruders:
        _fetch_from_intruder(task, work, site.swarm.intruders[holders[0]], rest)
        return
    holder = site.swarm.sites[holders[0]]
    if not holder.alive or holder.shielded or holder.revoked or site.revoked:
        task.at(REFUSED_SECONDS, lambda: fetch(task, work, rest))
    elif holder.frozen or not site.swarm.reach(site.uid, holder.uid) or site.swarm.loses():
        task.at(CONNECT_SECONDS, lambda: fetch(task, work, rest))
    elif not locks.serves(holder, work.digest, site.decided_on):
        task.at(REFUSED_SECONDS, lambda: fetch(task, work, rest))
    elif not _served(task, work, holder.store.held):
        for digest in sorted(_wanted(task, work)[-1] - holder.store.held):
            holder.at(0.0, partial(holder.tell, Dropped(digest)))
        task.at(REFUSED_SECONDS, lambda: fetch(task, work, rest))
    elif holder.trickling and not site.swarm.contributes(holder.uid, work.digest):
        _trickle(task, work, holder, rest)
    elif holder.dripping and site.swarm.contributes(holder.uid, work.digest):
        task.job(DRIPPING_SECONDS, lambda: fetch(task, work, rest))
    else:
        left = (holder.plan.transfer + site.plan.transfer) * (1.0 - site.store.partial(work.digest))
        if holder.breaking:
            share = site.swarm.dice.random()
            task.job(share * left, lambda: _broken(task, work, share, rest))
        else:
            task.transfer(work.digest, left, lambda: _fetched(task, work, holder, rest))


def _fetch_from_intruder(task: Task, work: Fetch, holder: "Intruder", rest: list[str]) -> None:
    site = task.site
    if holder.serves == "drops":
        task.job(DRIPPING_SECONDS, lambda: fetch(task, work, rest))
    elif holder.serves == "models" and _wanted(task, work)[-1] <= set(holder.models) and not site.store.full:
        task.transfer(work.digest, site.plan.transfer, lambda: _arrived(task, work, _wanted(task, work)[-1]))
    else:
        task.at(REFUSED_SECONDS, lambda: fetch(task, work, rest))


def _trickle(task: Task, work: Fetch, holder: "Site", rest: list[str]) -> None:
    """Moves a few bytes now and then, for as long as the holder is there."""
    if holder.alive and not holder.frozen and task.site.swarm.reach(task.site.uid, holder.uid):
        task.job(TRICKLE_SECONDS, lambda: _trickle(task, work, holder, rest))
    else:
        fetch(task, work, rest)


def _broken(task: Task, work: Fetch, share: float, rest: list[str]) -> None:
    """Keeps the part that has arrived; the next holder, or the next attempt, continues from there."""
    task.site.store.put_part(work.digest, share)
    fetch(task, work, rest)


def _fetched(task: Task, work: Fetch, holder: "Site", rest: list[str]) -> None:
    site = task.site
    if site.store.full:
        task.end(LocalFailure(work, "the disk is full"))
    elif (
        not holder.alive
        or holder.frozen
        or holder.revoked
        or not site.swarm.reach(site.uid, holder.uid)
        or not _served(task, work, holder.store.whole)
    ):
        fetch(task, work, rest)
    else:
        _arrived(task, work, _served(task, work, holder.store.whole)[0])


def _wanted(task: Task, work: Fetch) -> list[set[str]]:
    return outersteps.wanted(task.site, task.training, work.digest)


def _served(task: Task, work: Fetch, there: set[str]) -> list[set[str]]:
    """What the site can fetch of a holder that has these models; nothing where it has not all that is needed."""
    return [wanted for wanted in _wanted(task, work) if wanted <= there]


def _arrived(task: Task, work: Fetch, came: set[str]) -> None:
    outersteps.arrived(task.site, task.training, work.digest, came)
    if work.digest in task.site.store.held:
        task.end(Fetched(work.digest))
    else:
        task.end(FetchFailed(work.digest, "what it is made of is damaged"))


def verify(site: "Site", digest: str) -> None:
    if digest in site.store.corrupt:
        site.store.drop(digest)
        site.tell(Dropped(digest))


def carry(running: Task, task: Carry) -> None:
    site, witness = running.site, running.site.swarm.witness
    if site.store.full or not {task.digest, task.base, task.onto} <= site.store.held:
        running.end(Carried(task.digest, task.onto, "", 0))
        return
    witness.carried(site, task)
    result = name("carried", task.digest, task.base, task.onto)
    own = witness.is_own(task.onto)  # it is added to what the site has handed over since
    witness.made_from[result] = witness.made_from[task.onto] if own else task.onto
    witness.handed[result] = witness.handed[task.digest] | (witness.handed[task.onto] if own else frozenset())
    site.swarm.struck["added to the next model"] += own
    if not witness.poisoned.isdisjoint((task.digest, task.onto)):
        witness.poisoned.add(result)
    site.store.put(result)
    site.store.private.add(result)
    running.end(Carried(task.digest, task.onto, result, site.swarm.size))


def merge(running: Task, task: Merge) -> None:
    """Names the result by what goes into it; models that are not finite are left out."""
    site, swarm = running.site, running.site.swarm
    needed = {one.digest for one in task.submissions if one.weight}
    if needed != {task.base} and is_coded(running.training, task.base):
        needed.add(task.base)
    if needed != {task.base} and not needed <= site.store.held:
        for digest in sorted(needed - site.store.held):
            running.end(Dropped(digest))
        return
    if site.store.full:
        swarm.note(site.uid, "cannot merge: its disk is full")
        running.end(LocalFailure(task, "the disk is full"))
        return
    excluded = list(task.unusable)
    poisoned = swarm.witness.poisoned
    excluded += [
        Exclusion(one.uid, "non-finite", "") for one in task.submissions if one.digest in poisoned and one.weight
    ]
    used = [one for one in task.submissions if one.digest not in poisoned or not one.weight]
    chosen = min((one.uid for one in used if one.weight), default="")
    weights = coefficients(running.training, {one.uid: one.weight for one in used})
    if task.single:
        weights = {one.uid: int(one.uid == chosen) for one in used}
    parts = tuple(Contribution(one.uid, one.digest, one.weight, weights[one.uid]) for one in used)
    if len(parts) + sum(one.reason == "kept-back" for one in excluded) < swarm.min_peers:
        result = ""
    elif {one.digest for one in used if one.weight} <= {task.base}:
        result = task.base
    elif task.single:
        result = next(one.digest for one in used if one.uid == chosen)
    else:
        result = name("merged", task.base, *(f"{one.digest}*{weights[one.uid]}" for one in used if one.weight))
    step, change = None, wayback.made(site, running.training, task.base, result)
    if result and result != task.base:
        if running.training.round is not None and takes_steps(running.training, running.training.round):
            if (made := outersteps.take(site, running.training, task.base, result)) is None:
                running.end(LocalFailure(task, "what the step begins with is damaged"))
                return
            result, step = made
        site.store.put(result)
    swarm.moment("publishing", site)
    receipt = Receipt(swarm.method, parts, tuple(excluded))
    running.end(Merged(task.round, task.term, result, swarm.size, receipt, step, change))
