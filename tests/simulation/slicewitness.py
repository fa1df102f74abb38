"""What is to hold of rounds that are merged in slices, whoever merges, leads or lies."""

from typing import TYPE_CHECKING

from simulation import slices
from simulation.models import name
from simulation.violation import require
from swarmlearning.ledger.bodies import Publish
from swarmlearning.ledger.contracts.training.assigning import mergers
from swarmlearning.ledger.contracts.training.recipes import recipe_of
from swarmlearning.ledger.contracts.training.slices import UNITS, Slicing
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.rounds.slices import Assemble, MergeSlice

if TYPE_CHECKING:
    from simulation.site import Site
    from simulation.swarm import Swarm


class SliceWitness:
    """Knows the true name of each slice and result."""

    def __init__(self, swarm: "Swarm") -> None:
        self._swarm = swarm
        self._results: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._stated: dict[tuple[str, int], dict[str, str]] = {}

    def advanced(self, after: Training) -> None:
        """Checks the newest state."""
        for slicing in after.slicings:
            self._check_cut(slicing)
            self._check_statements(slicing)
            current = after.round
            if current is not None and current.number == slicing.round and slicing.recipe not in self._results:
                recipe = recipe_of(after, current, slicing.excluded)
                require(recipe.name == slicing.recipe, f"the slices of round {slicing.round} are of another recipe")
                roots = tuple(slices.true_root(recipe, each.start, each.stop) for each in slicing.slices)
                self._results[slicing.recipe] = (slices.true_result(recipe), roots)

    def _check_cut(self, slicing: Slicing) -> None:
        edges = [0, *(each.stop for each in slicing.slices)]
        require([each.start for each in slicing.slices] == edges[:-1] and edges[-1] == UNITS, "slices overlap or lack")

    def _check_statements(self, slicing: Slicing) -> None:
        """No valid statement is lost, in a new term or otherwise."""
        for index, each in enumerate(slicing.slices):
            before = self._stated.setdefault((slicing.recipe, index), {})
            lost = before.keys() - each.roots.keys()
            require(not lost, f"what {sorted(lost)} stated of slice {index} of round {slicing.round} is gone")
            before.update(each.roots)

    def result_of(self, work: Assemble) -> str:
        """Returns the name of the model made of these slices."""
        result, roots = self._results[work.recipe]
        return result if work.roots == roots else name("wrong", work.recipe, *work.roots)

    def reads(self, reader: "Site", holder: "Site", digest: str, work: MergeSlice) -> None:
        """Checks that a site reads a range that the ledger has given to it, at some height that either knows."""
        log = self._swarm.log
        for height in range(max(reader.decided_on, holder.link.height), -1, -1):
            slicing = slicing_of(log.training(height), work.recipe.round)
            if slicing is not None and work.slice < len(slicing.slices):
                found = slicing.slices[work.slice]
                allowed = reader.uid in found.readers
                require(allowed, f"{reader.uid} reads a range of {holder.uid} that is for {found.merger}")
                return
        require(False, f"{reader.uid} reads {digest} of {holder.uid}, of a round that is not merged in slices")

    def published(self, before: Training, sender: str, body: Publish) -> None:
        """Checks a result: it is what its recipe says, of the same contributors in all slices, and kept twice."""
        slicing = slicing_of(before, body.round)
        if slicing is None or sender not in self._swarm.sites:
            return
        what = f"the result of round {body.round}, in slices, by {sender}"
        contributors = {part.uid for part in body.receipt.contributions if part.weight}
        current = before.round
        assert current is not None
        recipe = recipe_of(before, current, slicing.excluded)
        require(contributors == {one.uid for one in recipe.contributors}, f"{what} is of others than its recipe")
        if not any(site.lies for site in self._swarm.sites.values()) and not self._swarm.intruders:
            require(body.result == self._results[slicing.recipe][0], f"{what} depends on who has merged")
        others = set(mergers(before, slicing)) - {sender}
        for index, each in enumerate(slicing.slices):
            kept = [uid for uid in others & each.holders if self._keeps(uid, slicing, index)]
            require(bool(kept) or not others, f"{what}: nobody else keeps slice {index}")

    def _keeps(self, uid: str, slicing: Slicing, index: int) -> bool:
        site = self._swarm.sites.get(uid)
        if site is None:
            return True  # whatever it says
        if site.store.full or site.store.corrupt or any(uid == of for of, _ in self._swarm.witness.damaged):
            return True
        return site.store.has_slice(slicing.recipe, index, slicing.slices[index].root)
