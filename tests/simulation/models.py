"""What a site does with models: gets them from others, merges, carries over, verifies.

Models are names; the witness knows of each what it was truly made from.
"""

from hashlib import sha256
from typing import TYPE_CHECKING

from swarmlearning.ledger.bodies import Contribution, Exclusion, Receipt
from swarmlearning.rounds.events import (
    Carried,
    Carry,
    Dropped,
    Fetch,
    Fetched,
    FetchFailed,
    LocalFailure,
    Merge,
    Merged,
)

if TYPE_CHECKING:
    from simulation.site import Site

CONNECT_SECONDS = 5.0
REFUSED_SECONDS = 0.02


def name(*parts: str) -> str:
    """The digest of a model that is made of these."""
    return sha256(" ".join(parts).encode()).hexdigest()


def fetch(site: "Site", task: Fetch, holders: list[str]) -> None:
    """Asks one holder after the other."""
    if not holders:
        site.tell(FetchFailed(task.digest, "nobody could give it"))
        return
    holder, rest = site.swarm.sites[holders[0]], holders[1:]
    if not holder.alive or holder.shielded:
        site.at(REFUSED_SECONDS, lambda: fetch(site, task, rest))
    elif holder.frozen or not site.swarm.reach(site.uid, holder.uid) or site.swarm.loses():
        site.at(CONNECT_SECONDS, lambda: fetch(site, task, rest))
    elif task.digest not in holder.store.held:
        holder.at(0.0, lambda: holder.tell(Dropped(task.digest)))
        site.at(REFUSED_SECONDS, lambda: fetch(site, task, rest))
    else:
        site.store.job(holder.plan.transfer + site.plan.transfer, lambda: _fetched(site, task, holder, rest))


def _fetched(site: "Site", task: Fetch, holder: "Site", rest: list[str]) -> None:
    if site.store.full:
        site.tell(LocalFailure(task.digest))
    elif (
        not holder.alive
        or holder.frozen
        or not site.swarm.reach(site.uid, holder.uid)
        or task.digest not in holder.store.whole
    ):
        fetch(site, task, rest)
    else:
        site.store.put(task.digest)
        site.store.known(task.digest)
        site.tell(Fetched(task.digest))


def verify(site: "Site", digest: str) -> None:
    if digest in site.store.corrupt:
        site.store.drop(digest)
        site.tell(Dropped(digest))


def carry(site: "Site", task: Carry) -> None:
    witness = site.swarm.witness
    if site.store.full or not {task.digest, task.base, task.onto} <= site.store.held:
        site.tell(Carried(task.digest, task.onto, "", 0))
        return
    witness.carried(site, task)
    result = name("carried", task.digest, task.base, task.onto)
    witness.made_from[result] = task.onto
    witness.handed[result] = witness.handed[task.digest]
    if task.digest in witness.poisoned:
        witness.poisoned.add(result)
    site.store.put(result)
    site.tell(Carried(task.digest, task.onto, result, 1))


def merge(site: "Site", task: Merge) -> None:
    """The result is named by what goes into it; models that are not finite are left out."""
    swarm = site.swarm
    if gone := [one.digest for one in task.submissions if one.weight and one.digest not in site.store.held]:
        for digest in gone:
            site.tell(Dropped(digest))
        return
    if site.store.full:
        swarm.note(site.uid, "cannot merge: its disk is full")
        site.tell(LocalFailure(""))
        return
    excluded = [Exclusion(uid, "unreachable", why) for uid, why in task.unusable]
    poisoned = swarm.witness.poisoned
    excluded += [
        Exclusion(one.uid, "non-finite", "") for one in task.submissions if one.digest in poisoned and one.weight
    ]
    used = [one for one in task.submissions if one.digest not in poisoned or not one.weight]
    chosen = min((one.uid for one in used if one.weight), default="")
    coefficients = {one.uid: int(one.uid == chosen) if task.single else one.weight for one in used}
    parts = tuple(Contribution(one.uid, one.digest, one.weight, coefficients[one.uid]) for one in used)
    if len(parts) < swarm.min_peers:
        result = ""
    elif not chosen:
        result = task.base
    elif task.single:
        result = next(one.digest for one in used if one.uid == chosen)
    else:
        result = name("merged", task.base, *(f"{one.digest}*{one.weight}" for one in used))
    if result and result != task.base:
        site.store.put(result)
    swarm.moment("publishing", site)
    site.tell(Merged(task.round, task.term, result, 1, Receipt("mean", parts, tuple(excluded))))
