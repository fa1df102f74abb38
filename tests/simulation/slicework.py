"""What a site does with slices: it merges what is for it as soon as that is on the ledger, states what is so, and goes
by what the ledger has shown it."""

from bisect import bisect_right
from typing import TYPE_CHECKING

from simulation.slicerules import counting, holding, lacking, unable
from simulation.violation import require
from swarmlearning.ledger.bodies import Depose, Held, Publish, ReportFault, Sliced
from swarmlearning.ledger.contracts.training.slices import Slicing
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.rounds.checks import Recheck
from swarmlearning.rounds.events import Work
from swarmlearning.rounds.settings import QUIET_SECONDS
from swarmlearning.rounds.slices import Assemble, FetchSlice, MergeSlice, WeighModels

if TYPE_CHECKING:
    from simulation.site import Site
    from simulation.swarm import Swarm

Mark = tuple[str, int, str, int]
"""A site, its process, a recipe and a slice."""
OFTEN = 4
"""Times that one is asked in vain at most before another one is; the order changes with each that offers something."""


class WorkWitness:
    """Remembers what each site has merged, could not merge, and has asked for in vain."""

    def __init__(self, swarm: "Swarm") -> None:
        self._swarm = swarm
        self._merged: dict[Mark, str] = {}
        self._failed: set[Mark] = set()
        self._in_vain: dict[Mark, tuple[str, int]] = {}
        self._given_up: set[tuple[str, int, int, int]] = set()
        self._stated: dict[tuple[int, int, int], tuple[list[int], list[float]]] = {}
        self._checked: dict[str, Slicing] = {}

    # --- the ledger -------------------------------------------------------------------------------------------------

    def advanced(self, before: Training, body: object) -> None:
        """Notes when members have stated something about slices of the round in progress."""
        current = before.round
        if current is not None and isinstance(body, Sliced | Held | ReportFault) and body.round == current.number:
            key = before.run, current.number, current.term
            heights, times = self._stated.setdefault(key, ([], []))
            heights.append(self._swarm.log.head.height)
            times.append(self._swarm.clock.now)

    # --- work -------------------------------------------------------------------------------------------------------

    def begins(self, site: "Site", work: Work) -> None:
        """Checks that what it begins is to be done, by what it knows."""
        state = self._swarm.log.training(site.decided_on)
        match work:
            case Assemble(recipe=recipe, roots=roots):
                here = site.store.slices.get(recipe, {})
                gone = [index for index, root in enumerate(roots) if here.get(index) != root]
                require(not gone, f"{site.uid} makes a model of slices of which it does not have {gone}")
            case WeighModels(recipe=recipe, roots=roots):
                slicing = _of_recipe(state, recipe.name)
                if slicing is not None:
                    odd = [at for at, root in enumerate(roots) if root not in slicing.slices[at].statistics.values()]
                    require(not odd, f"{site.uid} weighs models by what nobody has stated of slices {odd}")
            case FetchSlice(statistics_of=models) if models:
                self._asks(site, state, work)
            case Recheck(result=result):
                begun = state.checks is not None and state.checks.result == result and site.uid in state.checks.begun
                require(begun, f"{site.uid} checks round {work.recipe.round}, and has not said so")

    def _asks(self, site: "Site", state: Training, work: FetchSlice) -> None:
        """Who does not give its statistics is not asked again and again, while another one offers it, too."""
        slicing, mark = _of_recipe(state, work.recipe), (site.uid, site.life, work.recipe, work.slice)
        if slicing is None:
            return
        stated = slicing.slices[work.slice].statistics
        offers = {root for uid, root in stated.items() if uid != site.uid and state.members[uid].alive}
        root, count = self._in_vain.get(mark, ("", 0))
        again = count if root == work.root and len(offers) > 1 else 0
        require(again < OFTEN, f"{site.uid} asks for the same statistics of slice {work.slice} in vain, of {offers}")
        self._in_vain[mark] = work.root, again

    def missing(self, site: "Site", work: FetchSlice) -> None:
        """Nobody has given its statistics."""
        mark = site.uid, site.life, work.recipe, work.slice
        self._in_vain[mark] = work.root, self._in_vain.get(mark, ("", 0))[1] + 1

    def merged(self, site: "Site", work: MergeSlice, root: str) -> None:
        self._merged[site.uid, site.life, work.recipe.name, work.slice] = root

    def cannot(self, site: "Site", work: MergeSlice) -> None:
        """It tries again after a pause."""
        self._failed.add((site.uid, site.life, work.recipe.name, work.slice))

    def failed(self, site: "Site", work: Work) -> None:
        """A leader that cannot do what its round needs makes place for another one."""
        if isinstance(work, MergeSlice):
            self.cannot(site, work)
            return
        state = self._swarm.log.training(site.decided_on)
        current = state.round
        recipe = work.recipe if isinstance(work, FetchSlice | Assemble) else ""
        slicing = slicing_of(state, current.number) if current else None
        if current is None or slicing is None or current.leader != site.uid or slicing.recipe != recipe:
            return
        gone = (site.uid, site.life, current.number, current.term) in self._given_up
        require(gone, f"{site.uid} leads round {current.number} on, though it can store nothing")

    # --- statements -------------------------------------------------------------------------------------------------

    def sends(self, site: "Site", body: object) -> None:
        """Checks what a site sends, by what it knows."""
        state = self._swarm.log.training(site.decided_on)
        match body:
            case Sliced(recipe=recipe, slice=index, root=root):
                own = self._merged.get((site.uid, site.life, recipe, index))
                require(own == root, f"{site.uid} states slice {index} as merged, which it has not merged itself")
            case Publish(result=result) if result and (slicing := slicing_of(state, body.round)) is not None:
                self._publishes(site, state, slicing, body)
            case Depose(cause="progress"):
                self._deposes(site, state, body)

    def _publishes(self, site: "Site", state: Training, slicing: Slicing, body: Publish) -> None:
        what = f"{site.uid} publishes round {body.round}"
        without = lacking(state, slicing, site.uid)
        require(not without, f"{what}, of which no other holds slices {without}, as it knows")
        roots = tuple(counting(each) for each in slicing.slices)
        made = self._swarm.witness.slices.result_of(Assemble(slicing.recipe, roots))
        merged = body.step.merged if body.step else body.result
        require(merged == made, f"{what}, made of other slices than those that count")

    def _deposes(self, site: "Site", state: Training, body: Depose) -> None:
        """Nobody loses patience with a leader as long as members state something of slices, which is as good as a word
        of the leader's."""
        current = state.round
        if current is None or current.leader == site.uid:
            self._given_up.add((site.uid, site.life, body.round, body.term))
            return
        heights, times = self._stated.get((state.run, body.round, body.term), ([], []))
        seen = bisect_right(heights, site.decided_on)
        patience = min(QUIET_SECONDS, site.plan.settings.leader_failure_seconds) * 0.98  # clocks drift
        if seen and not self._swarm.hasty:
            since = self._swarm.clock.now - times[seen - 1]
            require(since >= patience, f"{site.uid} has no patience with {current.leader}, though slices are stated")

    # --- what is to be done -----------------------------------------------------------------------------------------

    def decided(self, site: "Site") -> None:
        """Checks that a site merges what is for it, or has, or could not before: nothing else keeps it from that."""
        state = self._swarm.log.training(site.decided_on)
        current, me = state.round, state.members.get(site.uid)
        slicing = slicing_of(state, current.number) if current else None
        if slicing is None or slicing is self._checked.get(site.uid):
            return
        self._checked[site.uid] = slicing
        if me is None or me.incarnation != site.life:
            return
        under_way = {work.slice for work in site.work if isinstance(work, MergeSlice)}
        for index, each in enumerate(slicing.slices):
            if each.merger != site.uid or index in under_way or site.uid in holding(each) or site.uid in each.roots:
                continue
            mark = site.uid, site.life, slicing.recipe, index
            tried = mark in self._merged or mark in self._failed or site.uid in unable(slicing, index)
            kept = site.store.slices.get(slicing.recipe, {}).get(index)
            require(bool(tried or kept), f"{site.uid} does not begin to merge slice {index} of round {slicing.round}")


def _of_recipe(state: Training, recipe: str) -> Slicing | None:
    return next((each for each in state.slicings if each.recipe == recipe), None)
