"""A site's work with slices, where rounds are merged in slices: fetching ranges, merging them, making a model of them.

A slice is named by what truly determines its bytes, so that whoever merges it finds the same name.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING
from unittest.mock import patch

from simulation import locks, models, outersteps, wayback
from swarmlearning.ledger.bodies import Exclusion, ExclusionReason
from swarmlearning.ledger.contracts.training import mergemode, slices
from swarmlearning.ledger.contracts.training.recipes import MOST_SURVEYS
from swarmlearning.ledger.contracts.training.serving import readable_slices
from swarmlearning.ledger.contracts.training.slices import UNITS, Recipe
from swarmlearning.ledger.contracts.training.weighing import WHOLE
from swarmlearning.rounds.events import Dropped, LocalFailure
from swarmlearning.rounds.slices import (
    Assemble,
    Assembled,
    FetchSlice,
    LinkMeasured,
    MergeSlice,
    SliceFetched,
    SliceMerged,
    SliceMissing,
    SlicesLost,
    SliceUnmergeable,
    Weighed,
    WeighModels,
)

if TYPE_CHECKING:
    from simulation.models import Task
    from simulation.site import Site
    from simulation.swarm import Swarm


WEIGHING_SECONDS = 0.01
DRIPPED_SECONDS = 20.0
"""Seconds until statistics of a slice come too slowly (`sl/surveys.py`)."""
BROKEN_PAIR = "pair of sites that do not reach each other"
PAIR_SECONDS = 200.0
"""Seconds for which two sites do not reach each other."""


@contextmanager
def always_chosen(sliced: bool = True) -> Iterator[None]:
    """Rounds are merged in slices inside the block, if that is possible: models are small, so that slow links do not
    make every run take hours. Nor are there more slices for slow links, but for the slowest one more of each merger."""
    with ExitStack() as stack:
        if sliced:
            stack.enter_context(patch.object(mergemode, "FIRST_BYTES", 0))
            stack.enter_context(patch.object(slices, "SLICE_SECONDS", 4))
        yield


def add_slice_troubles(swarm: "Swarm", seed: int) -> None:
    """Lets a site of this seed's swarm merge wrongly: whoever goes on from its slices goes on from what it has made up,
    all from the same. Or lets two sites not reach each other, though all others reach both."""
    dice = random.Random(f"troubles of slices {seed}")
    if seed % 7 == 0 and not swarm.intruders:  # with these the liars could be the most (seed 224)
        dice.choice(list(swarm.sites.values())).lies = True
    elif seed % 7 in (1, 3) and len(swarm.sites) > 2:
        one, other = dice.sample(list(swarm.sites), 2)
        begins, lasts = dice.uniform(0.0, PAIR_SECONDS / 5), dice.uniform(1.0, PAIR_SECONDS)
        swarm.until_healed(begins + lasts)
        swarm.struck[BROKEN_PAIR] += 1
        swarm.clock.after(begins, lambda: swarm.cut({one}, {other}, lasts))


def begin(task: "Task", work: MergeSlice | FetchSlice | Assemble | WeighModels) -> None:
    """Starts work."""
    match work:
        case MergeSlice(recipe=recipe):
            task.site.swarm.moment("merging", task.site)
            others = [one.uid for one in recipe.contributors if one.digest not in task.site.store.held]
            task.at(0.0, lambda: _get_range(task, work, others))
        case FetchSlice(holders=holders) if work.statistics_of:
            task.at(0.0, lambda: _fetch_statistics(task, work, list(holders)))
        case FetchSlice(holders=holders, others=others):
            task.at(0.0, lambda: _fetch(task, work, [*others, *holders]))
        case Assemble():
            task.at(0.0, lambda: _assemble(task, work))
        case WeighModels():
            task.site.swarm.moment("weighing", task.site)
            task.job(WEIGHING_SECONDS, lambda: _weigh(task, work))


def link_of(site: "Site") -> LinkMeasured:
    """Returns what a site measures of its link; some cannot be connected to by mergers, or do not know it."""
    speed = int(site.swarm.size / site.plan.transfer)
    merges = int(sha256(f"merges {site.uid} {site.swarm.seed}".encode()).hexdigest(), 16) % 10 > 0
    return LinkMeasured(speed, speed, merges)


def share_of(work: MergeSlice | FetchSlice) -> float:
    """Returns the part of a model that is in the slice."""
    return (work.stop - work.start) / UNITS


def true_root(recipe: Recipe, start: int, stop: int) -> str:
    """Returns the name of a slice."""
    return models.name("slice", true_result(recipe), str(start), str(stop))


def statistics_of(recipe: str, index: int, uid: str) -> str:
    """Returns the name of a site's statistics of a slice: the last bits are another site's."""
    return models.name("seen", recipe, str(index), uid)


def weighed(recipe: Recipe, roots: Sequence[str]) -> Weighed:
    """Returns what follows from the statistics of all slices: something else for all others. Every third time there
    is a second survey."""
    parts = recipe.contributors
    made = [1 + int(models.name(one.uid, *roots)[:6], 16) for one in parts]
    shares = [WHOLE * each // sum(made) for each in made]
    shares[0] += WHOLE - sum(shares)
    again = recipe.survey < MOST_SURVEYS and int(models.name("again", recipe.name)[:6], 16) % 3 == 0
    return Weighed(recipe.name, tuple(shares), again)


def true_result(recipe: Recipe) -> str:
    """Returns the name of the model that has this recipe, as a leader alone would merge it."""
    return models.name("merged", recipe.base, *(f"{one.digest}*{one.coefficient}" for one in recipe.contributors))


# --- merging ----------------------------------------------------------------------------------------------------------


def _get_range(task: "Task", work: MergeSlice, left: list[str]) -> None:
    """Fetches the range from one contributor after the other, and merges it then."""
    if not left:
        task.job(task.site.plan.work * share_of(work), lambda: _merge(task, work), silent=task.site.plan.silent)
        return
    uid, *rest = left
    site, swarm = task.site, task.site.swarm
    digest = next(one.digest for one in work.recipe.contributors if one.uid == uid)
    if uid in swarm.intruders:
        intruder = swarm.intruders[uid]
        if intruder.serves == "drops":
            task.job(work.seconds, lambda: _cannot(task, work, uid, "too-slow"))
        elif intruder.serves == "models" and digest in intruder.models:
            task.job(site.plan.transfer * share_of(work), lambda: _get_range(task, work, rest))
        else:
            task.at(models.REFUSED_SECONDS, lambda: _cannot(task, work, uid, "unreachable"))
        return
    holder = swarm.sites[uid]
    if holder.frozen or not swarm.reach(site.uid, uid) or swarm.loses():
        task.at(models.CONNECT_SECONDS, lambda: _cannot(task, work, uid, "unreachable"))
    elif not _serves(holder, site, work, digest):
        task.at(models.REFUSED_SECONDS, lambda: _cannot(task, work, uid, "unreachable"))
    elif holder.dripping:
        task.job(work.seconds, lambda: _cannot(task, work, uid, "too-slow"))
    else:
        swarm.witness.slices.reads(site, holder, digest, work)
        seconds = (holder.plan.transfer + site.plan.transfer) * share_of(work)
        task.job(seconds, lambda: _got_range(task, work, holder, rest))


def _serves(holder: "Site", site: "Site", work: MergeSlice, digest: str) -> bool:
    """Returns whether a holder that is reached serves the range."""
    if (
        not holder.alive
        or holder.shielded
        or holder.revoked
        or site.revoked
        or not _may_read(site, holder, work, digest)
    ):
        return False
    if not locks.serves(holder, digest, site.decided_on):
        return False
    if digest not in holder.store.held:
        holder.at(0.0, lambda: holder.tell(Dropped(digest)))
        return False
    return True


def _may_read(site: "Site", holder: "Site", work: MergeSlice, digest: str) -> bool:
    """Returns whether the holder serves this range, by the newest state that either knows."""
    state = site.swarm.log.training(max(site.decided_on, holder.link.height))
    found = readable_slices(state, holder.uid, digest, {site.uid}) or ()
    return any((each.start, each.stop) == (work.start, work.stop) for each in found)


def _got_range(task: "Task", work: MergeSlice, holder: "Site", rest: list[str]) -> None:
    site = task.site
    if not holder.alive or holder.frozen or holder.revoked or not site.swarm.reach(site.uid, holder.uid):
        _cannot(task, work, holder.uid, "unreachable")
    else:
        _get_range(task, work, rest)


def _cannot(task: "Task", work: MergeSlice, uid: str, reason: ExclusionReason) -> None:
    task.site.swarm.note(task.site.uid, f"cannot merge slice {work.slice}: {uid} {reason}")
    task.site.swarm.witness.work.cannot(task.site, work)
    task.end(SliceUnmergeable(work.recipe.name, work.slice, Exclusion(uid, reason, "")))


def _merge(task: "Task", work: MergeSlice) -> None:
    site, swarm = task.site, task.site.swarm
    gone = [one.digest for one in work.recipe.contributors if one.uid == site.uid and one.digest not in site.store.held]
    if gone:
        site.tell(Dropped(gone[0]))
        _cannot(task, work, site.uid, "unreachable")
        return
    if site.store.full:
        swarm.note(site.uid, "cannot merge: its disk is full")
        task.end(LocalFailure(work, "the disk is full"))
        return
    for one in work.recipe.contributors:
        if one.digest in swarm.witness.poisoned and work.start <= int(one.digest[:8], 16) % UNITS < work.stop:
            _cannot(task, work, one.uid, "non-finite")
            return
    root = true_root(work.recipe, work.start, work.stop)
    if work.recipe.survey:
        root = statistics_of(work.recipe.name, work.slice, site.uid)
    if site.lies:
        swarm.struck["merger that lies"] += 1
        root = models.name("lie", root, site.uid)
    change = wayback.of_slice(work.recipe, root)
    if change and site.lies and work.slice % 2:  # the slice is right, and its change is not
        root, change = true_root(work.recipe, work.start, work.stop), models.name("lie", change)
    if work.recipe.survey:
        site.store.statistics[work.recipe.name, work.slice] = root
    else:
        site.store.put_slice(work.recipe.name, work.slice, root)
        site.store.put_slice(slices.change_name(work.recipe.name), work.slice, change)
    swarm.witness.work.merged(site, work, root)
    task.end(SliceMerged(work.recipe.name, work.slice, root, change))


# --- fetching ---------------------------------------------------------------------------------------------------------


def _fetch(task: "Task", work: FetchSlice, holders: list[str]) -> None:
    """Requests the slice from one holder after the other."""
    site, swarm = task.site, task.site.swarm
    if not holders:
        site.swarm.note(site.uid, f"does not get slice {work.slice} of {work.recipe[:6]} from {work.holders}")
        task.end(SliceMissing(work.recipe, work.slice, "nobody could give it"))
        return
    uid, *rest = holders
    if uid in swarm.intruders:
        intruder = swarm.intruders[uid]
        if intruder.serves == "drops":
            task.job(models.CONNECT_SECONDS if rest else models.DRIPPING_SECONDS, lambda: _fetch(task, work, rest))
        elif intruder.serves == "models" and work.root in intruder.models:
            task.job(site.plan.transfer * share_of(work), lambda: _arrived(task, work))
        else:
            task.at(models.REFUSED_SECONDS, lambda: _fetch(task, work, rest))
        return
    holder = swarm.sites[uid]
    if not holder.alive or holder.shielded or holder.revoked or site.revoked:
        task.at(models.REFUSED_SECONDS, lambda: _fetch(task, work, rest))
    elif holder.frozen or not swarm.reach(site.uid, uid) or swarm.loses():
        task.at(models.CONNECT_SECONDS, lambda: _fetch(task, work, rest))
    elif not holder.store.has_slice(work.recipe, work.slice, work.root):
        if uid in work.holders:
            holder.at(0.0, lambda: holder.tell(SlicesLost(work.recipe)))
        task.at(models.REFUSED_SECONDS, lambda: _fetch(task, work, rest))
    elif holder.trickling:
        others = rest and (holder.uid in work.others or not _keeps_waiting(holder))
        task.job(models.CONNECT_SECONDS if others else models.DRIPPING_SECONDS, lambda: _fetch(task, work, rest))
    else:
        coded = _is_of_use(site, work, holder)
        size = share_of(work) * (wayback.OF_A_MODEL if coded else 1.0)
        seconds = (holder.plan.transfer + site.plan.transfer) * size
        task.job(seconds, lambda: _fetched(task, work, holder, rest, coded=coded))


def _keeps_waiting(holder: "Site") -> bool:
    """Whether nobody who fetches what it says that it has turns to another one by itself: each second site that
    trickles does so."""
    return int(sha256(f"keeps waiting {holder.uid} {holder.swarm.seed}".encode()).hexdigest(), 16) % 2 == 0


def _is_of_use(site: "Site", work: FetchSlice, holder: "Site") -> bool:
    """Whether the slice comes as a change: one that gives something else is not believed."""
    coded = work.coded
    if coded is None or coded.base not in site.store.whole:
        return False
    right = coded.change == wayback.change_of(coded.base, work.root)
    return right and holder.store.has_slice(slices.change_name(work.recipe), work.slice, coded.change)


def _fetched(task: "Task", work: FetchSlice, holder: "Site", rest: list[str], *, coded: bool) -> None:
    site = task.site
    if not holder.alive or holder.frozen or holder.revoked or not site.swarm.reach(site.uid, holder.uid):
        _fetch(task, work, rest)
        return
    if coded and work.coded:
        site.store.put_slice(slices.change_name(work.recipe), work.slice, work.coded.change)
        site.swarm.struck["slice made of a change"] += 1
    if holder.uid in work.others:
        site.swarm.struck["slice of one that does not state it"] += 1
    _arrived(task, work)


def _arrived(task: "Task", work: FetchSlice) -> None:
    site = task.site
    if site.store.full:
        task.end(LocalFailure(work, "the disk is full"))
    else:
        site.store.put_slice(work.recipe, work.slice, work.root)
        task.end(SliceFetched(work.recipe, work.slice, work.root))


# --- surveys ----------------------------------------------------------------------------------------------------------


def _fetch_statistics(task: "Task", work: FetchSlice, holders: list[str]) -> None:
    """Requests from one after the other its statistics of the slice."""
    site, swarm = task.site, task.site.swarm
    if not holders:
        swarm.witness.work.missing(site, work)
        task.end(SliceMissing(work.recipe, work.slice, "nobody could give the statistics of it"))
        return
    uid, *rest = holders
    if uid in swarm.intruders:
        intruder = swarm.intruders[uid]
        if intruder.serves == "drops":
            task.at(DRIPPED_SECONDS, lambda: _fetch_statistics(task, work, []))
        elif intruder.serves == "models" and work.root in intruder.models:
            task.at(0.0, lambda: _gathered(task, work))
        else:
            task.at(models.REFUSED_SECONDS, lambda: _fetch_statistics(task, work, rest))
        return
    holder = swarm.sites[uid]
    if holder.frozen or not swarm.reach(site.uid, uid) or swarm.loses():
        task.at(models.CONNECT_SECONDS, lambda: _fetch_statistics(task, work, rest))
    elif (
        not holder.alive
        or holder.shielded
        or holder.revoked
        or site.revoked
        or holder.store.statistics.get((work.recipe, work.slice)) != work.root
    ):
        task.at(models.REFUSED_SECONDS, lambda: _fetch_statistics(task, work, rest))
    elif holder.trickling:
        task.at(DRIPPED_SECONDS, lambda: _fetch_statistics(task, work, []))
    else:
        task.at(0.0, lambda: _gathered(task, work))


def _gathered(task: "Task", work: FetchSlice) -> None:
    task.site.store.gathered[work.recipe, work.slice] = work.root
    task.end(SliceFetched(work.recipe, work.slice, work.root))


def _weigh(task: "Task", work: WeighModels) -> None:
    store, recipe = task.site.store, work.recipe.name
    if all(
        root in (store.statistics.get((recipe, index)), store.gathered.get((recipe, index)))
        for index, root in enumerate(work.roots)
    ):
        found = weighed(work.recipe, work.roots)
        task.site.swarm.witness.slices.weighs(found)
        task.end(found)
    else:
        task.end(SlicesLost(recipe))


# --- all of them ------------------------------------------------------------------------------------------------------


def _assemble(task: "Task", work: Assemble) -> None:
    site, swarm = task.site, task.site.swarm
    here = site.store.slices.get(work.recipe, {})
    if any(here.get(index) != root for index, root in enumerate(work.roots)):
        task.end(SlicesLost(work.recipe))
        return
    result = swarm.witness.slices.result_of(work)
    site.store.put(result)
    site.store.assembled[work.recipe] = result
    step = None
    if work.base:
        if (made := outersteps.take(site, task.training, work.base, result)) is None:
            task.end(LocalFailure(work, "what the step begins with is damaged"))
            return
        result, step = made
    if site.leads:
        swarm.moment("publishing", site)
    task.end(Assembled(work.recipe, result, swarm.size, step=step))
