"""The leader's part in a survey: it gathers the mergers' statistics of their slices, and states the coefficients that
follow.

Each merger's statistics are a few kilobytes, of which the digest is on the ledger. Where several have stated different
ones of a slice, since it has gone from one to another, any of them will do: their sums differ in the last bits.
"""

from swarmlearning.ledger.bodies import Weigh
from swarmlearning.ledger.contracts.training.recipes import contributions, place, recipe_of
from swarmlearning.ledger.contracts.training.slices import Slice, Slicing, live_holders
from swarmlearning.ledger.contracts.training.state import Round, alive
from swarmlearning.rounds.facts import RoundFacts
from swarmlearning.rounds.known import Progress, is_here, subject
from swarmlearning.rounds.slices import FetchSlice, WeighModels


def gather(facts: RoundFacts, current: Round, slicing: Slicing, known: Progress) -> None:
    """Fetches what is not here, or weighs the models once all is."""
    if known.weighed is not None:
        found = known.weighed
        facts.send(Weigh(current.number, current.term, slicing.recipe, found.coefficients, found.again))
        return
    weights = tuple(one.coefficient for one in contributions(facts.training, current, slicing.excluded))
    for index, each in enumerate(slicing.slices):
        if not is_here(known, index, each):
            _fetch(facts, slicing, known, index, len(weights))
    whole = all(is_here(known, index, each) for index, each in enumerate(slicing.slices))
    if whole and not facts.timers.pausing(slicing.recipe):
        roots = tuple(known.here[index] for index in range(len(slicing.slices)))
        facts.work.want(WeighModels(recipe_of(facts.training, current, slicing), weights, roots), facts.now)


def _fetch(facts: RoundFacts, slicing: Slicing, known: Progress, index: int, models: int) -> None:
    """Asks those who have stated one digest, after each failure another one."""
    each = slicing.slices[index]
    offers = _offers(facts, each)
    if offers and not facts.timers.pausing(subject(FetchSlice, slicing.recipe, index)):
        digest = list(offers)[known.missed[index] % len(offers)]
        holders = tuple(offers[digest])
        facts.work.want(
            FetchSlice(slicing.recipe, index, each.start, each.stop, digest, holders, statistics_of=models), facts.now
        )


def _offers(facts: RoundFacts, found: Slice) -> dict[str, list[str]]:
    """By digest, the members that have stated it and are there; first what the slice's merger has."""
    offers: dict[str, list[str]] = {}
    there = live_holders(found, alive(facts.training) - {facts.uid})
    for uid in sorted(there, key=lambda uid: (uid != found.merger, place(facts.training, uid))):
        offers.setdefault(found.statistics[uid], []).append(uid)
    return offers
