"""This node's share of rounds that are merged in slices.

Each node merges the slices that the contract gives it and states them, fetches the others as soon as they are stated,
and makes the result of all: most hold it before it is published. The leader publishes when each slice is held by
another live member too, gives slices of mergers that are far too slow to others, and needs no more models than anybody.
Where only the leader holds a slice, the next two members in turn state that they hold copies.

The result of a round that stands is completed in the same way, until all have it: a slice that is lost in between is
merged again by whom the contract gives it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from swarmlearning.ledger.bodies import (
    Contribution,
    Held,
    Publish,
    Reassign,
    Receipt,
    ReportFault,
    Sliced,
    StateLink,
)
from swarmlearning.ledger.contracts.training.assigning import mergers, not_held, unable_to
from swarmlearning.ledger.contracts.training.recipes import place, recipe_of
from swarmlearning.ledger.contracts.training.slices import (
    Recipe,
    Slicing,
    expected_bytes,
    live_holders,
    roots_of,
    stated,
)
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Round, alive
from swarmlearning.ledger.contracts.training.submissions import contributing, kept_back
from swarmlearning.rounds.events import LocalFailure, Timer
from swarmlearning.rounds.exclusions import kept_back_exclusion
from swarmlearning.rounds.facts import RoundFacts
from swarmlearning.rounds.settings import LEAST_SECONDS, LONGEST_WORK_PAUSE, SLOW_RATE, TOO_SLOW, RoundSettings
from swarmlearning.rounds.slices import (
    Assemble,
    Assembled,
    FetchSlice,
    LinkMeasured,
    MergeSlice,
    SliceFetched,
    SliceMerged,
    SliceMissing,
    SliceUnmergeable,
)
from swarmlearning.rounds.timers import NEVER

CHANGED: Final = 1.5
"""Factor by which a link has to differ from what is stated to be stated anew."""
COPIES: Final = 2
"""Members that state that they hold what else only the leader does."""


@dataclass
class Progress:
    """Of one recipe: the roots of the slices that are `here`, faults that this node has `found` by slice, how often
    another holder was tried first (`turns`), and the `result` that was made of all. `in_vain`: something has failed."""

    here: dict[int, str] = field(default_factory=dict)
    found: dict[int, SliceUnmergeable] = field(default_factory=dict)
    turns: dict[int, int] = field(default_factory=dict)
    result: Assembled | None = None
    in_vain: bool = False


class Sharing:
    """Decides about slices, as member and as leader."""

    def __init__(self, facts: RoundFacts, settings: RoundSettings) -> None:
        self._facts = facts
        self._settings = settings
        self._known: dict[str, Progress] = {}
        self._link: LinkMeasured | None = None
        self._able = True

    # --- what happens -----------------------------------------------------------------------------------------------

    def merged(self, done: SliceMerged) -> None:
        """The slice is here."""
        self._of(done.recipe).here[done.slice] = done.root
        self._end(MergeSlice, done.recipe, done.slice)
        self._able = True

    def fetched(self, done: SliceFetched) -> None:
        """The slice is here."""
        self._of(done.recipe).here[done.slice] = done.root
        self._end(FetchSlice, done.recipe, done.slice)

    def unmergeable(self, failed: SliceUnmergeable) -> None:
        """A contributor's model cannot be had, or be merged; where that is not agreed on it is tried again."""
        known = self._of(failed.recipe)
        known.found[failed.slice], known.in_vain = failed, True
        self._pause(MergeSlice, failed.recipe, failed.slice)

    def missing(self, failed: SliceMissing) -> None:
        """Nobody has provided the slice."""
        self._of(failed.recipe).in_vain = True
        self._pause(FetchSlice, failed.recipe, failed.slice)

    def assembled(self, done: Assembled) -> None:
        """All slices are here, as a model."""
        if self._facts.work.end_all(lambda work: isinstance(work, Assemble) and work.recipe == done.recipe):
            self._of(done.recipe).result = done
            self._facts.held.add(done.result)

    def lost(self, recipe: str) -> None:
        """Slices that were here are not."""
        self._known.pop(recipe, None)
        self._facts.work.end_all(lambda work: isinstance(work, Assemble) and work.recipe == recipe)

    def failed(self, failure: LocalFailure) -> None:
        """This node could not do it: others are to merge until it can."""
        match failure.work:
            case MergeSlice(recipe, index):
                self._able = False
                self._pause(MergeSlice, recipe.name, index)
            case FetchSlice(recipe, index):
                self._pause(FetchSlice, recipe, index)
            case Assemble(recipe):
                self._facts.timers.pause(recipe, LONGEST_WORK_PAUSE)

    def measured(self, link: LinkMeasured) -> None:
        """What this node knows of its link."""
        self._link = link

    # --- decisions --------------------------------------------------------------------------------------------------

    @property
    def needed(self) -> set[str]:
        """The recipes whose slices are to be kept, and the models that were made of them."""
        recipes = {slicing.recipe for slicing in self._facts.training.slicings}
        return recipes.union(known.result.result for known in self._known.values() if known.result)

    def completes(self, digest: str) -> bool:
        """Returns whether the standing result is being made of its slices, so that it need not be fetched whole."""
        result = self._facts.training.result
        slicing = slicing_of(self._facts.training, result.closed.number) if result else None
        if result is None or slicing is None or result.digest != digest:
            return False
        known, size = self._known.get(slicing.recipe, Progress()), self._facts.model_size(result.closed)
        if known.result is not None or known.in_vain:
            return False
        seconds = self._settings.result_seconds(size, usual=0.0, voids=result.closed.voids)
        return not self._facts.timers.expired(Timer("slice", NEVER, digest), seconds)

    def decide(self) -> None:
        """Merges, fetches, states, and publishes what is to be now."""
        facts = self._facts
        recipes = {slicing.recipe for slicing in facts.training.slicings}
        self._known = {recipe: known for recipe, known in self._known.items() if recipe in recipes}
        self._state_link()
        for current, slicing in self._rounds():
            known = self._of(slicing.recipe)
            self._merge(current, slicing, known)
            self._fetch(current, slicing, known)
            self._assemble(slicing, known)
            if current is facts.training.round:
                self._state_copies(current, slicing, known)
            if current is facts.training.round and current.leader == facts.uid:
                self._lead(current, slicing, known)

    def _rounds(self) -> Iterator[tuple[Round, Slicing]]:
        training, held = self._facts.training, self._facts.held
        result, current = training.result, training.round
        if result and result.digest not in held and (slicing := slicing_of(training, result.closed.number)):
            yield result.closed, slicing
        if current and (slicing := slicing_of(training, current.number)):
            yield current, slicing

    def _merge(self, current: Round, slicing: Slicing, known: Progress) -> None:
        facts = self._facts
        recipe: Recipe | None = None
        for index, each in enumerate(slicing.slices):
            if each.merger != facts.uid or facts.uid in each.roots:
                continue
            if index in known.here:
                facts.send(Sliced(slicing.round, slicing.recipe, index, known.here[index]))
            elif index in known.found and not self._reported(slicing, index):
                facts.send(ReportFault(slicing.round, slicing.recipe, index, known.found[index].exclusion))
            elif not facts.timers.pausing(_subject(slicing.recipe, index)):
                recipe = recipe or recipe_of(facts.training, current, slicing.excluded)
                work = MergeSlice(recipe, index, each.start, each.stop, self._seconds(current, slicing, facts.uid))
                facts.work.want(work, facts.now)

    def _reported(self, slicing: Slicing, index: int) -> bool:
        return self._facts.uid in unable_to(slicing, index)

    def _fetch(self, current: Round, slicing: Slicing, known: Progress) -> None:
        facts = self._facts
        there = alive(facts.training) - {facts.uid}
        for index, each in enumerate(slicing.slices):
            root, holders = each.root, live_holders(each, there)
            subject = _subject(slicing.recipe, index)
            if not root or not holders or known.here.get(index) == root or facts.timers.pausing(subject):
                continue
            late = Timer("slice", NEVER, f"{subject} comes")
            if len(holders) > 1 and facts.timers.every(late, self._seconds(current, slicing, facts.uid)):
                known.turns[index] = known.turns.get(index, 0) + 1
                facts.timers.pause(subject)  # what is not wanted meanwhile is cancelled: another is tried first then
                continue
            order = sorted(holders, key=lambda uid: (uid not in each.roots, place(facts.training, uid)))
            first = known.turns.get(index, 0) % len(order)
            turned = (*order[first:], *order[:first])
            facts.work.want(FetchSlice(slicing.recipe, index, each.start, each.stop, root, turned), facts.now)

    def _assemble(self, slicing: Slicing, known: Progress) -> None:
        roots = tuple(each.root for each in slicing.slices)
        whole = all(root and known.here.get(index) == root for index, root in enumerate(roots))
        if whole and known.result is None and not self._facts.timers.pausing(slicing.recipe):
            self._facts.work.want(Assemble(slicing.recipe, roots), self._facts.now)

    def _state_copies(self, current: Round, slicing: Slicing, known: Progress) -> None:
        """States copies of slices that no other member than the leader holds, where it is this node's turn."""
        facts = self._facts
        turns = mergers(facts.training, slicing)
        if facts.uid not in turns or facts.uid == current.leader:
            return
        after = turns.index(current.leader) + 1 if current.leader in turns else 0
        if facts.uid not in [*turns[after:], *turns[:after]][:COPIES]:
            return
        new = []
        for index in not_held(facts.training, slicing, current.leader):
            found = slicing.slices[index]
            if found.root and known.here.get(index) == found.root and facts.uid not in found.holders:
                new.append(index)
        if new:
            facts.send(Held(slicing.round, slicing.recipe, tuple(new), roots_of(slicing.slices, new)))

    def _state_link(self) -> None:
        link, facts = self._link, self._facts
        if link is None:
            return
        before, merges = stated(facts.training.links, facts.uid), link.merges and self._able
        changed = [
            now and not 1 / CHANGED <= was / now <= CHANGED
            for was, now in ((before.up, link.up), (before.down, link.down))
        ]
        if any(changed) or before.merges != merges:
            facts.send(StateLink(_rounded(link.up), _rounded(link.down), merges))

    # --- leading ----------------------------------------------------------------------------------------------------

    def _lead(self, current: Round, slicing: Slicing, known: Progress) -> None:
        facts = self._facts
        if known.result and not not_held(facts.training, slicing, facts.uid):
            facts.send(self._publish(current, slicing, known.result))
        else:
            self._take_from_slow(current, slicing, known)

    def _publish(self, current: Round, slicing: Slicing, result: Assembled) -> Publish:
        recipe = recipe_of(self._facts.training, current, slicing.excluded)
        coefficients = {each.uid: each.coefficient for each in recipe.contributors}
        influences = dict(zip(coefficients, result.influences, strict=False))
        kept = kept_back(current.submissions, current.base)
        there = contributing(current.submissions, current.base)
        out = kept.union(each.uid for each in slicing.excluded)
        exclusions = [
            *(kept_back_exclusion(current.submissions[uid], there) for uid in sorted(kept)),
            *(each for each in slicing.excluded if each.uid not in kept),
        ]
        plain = recipe.method != "mean"
        contributions = [
            Contribution(
                uid,
                entry.digest,
                entry.weight,
                int(plain) if plain and entry.weight else coefficients.get(uid, 0),
                *influences.get(uid, (None, None)),
            )
            for uid, entry in sorted(current.submissions.items())
            if uid not in out
        ]
        receipt = Receipt(recipe.method, tuple(contributions), tuple(exclusions))
        return Publish(current.number, current.term, result.result, result.size, receipt)

    def _take_from_slow(self, current: Round, slicing: Slicing, known: Progress) -> None:
        """Takes slices from mergers when they should long have come: also from those that have stated them, and serve
        them to nobody."""
        facts = self._facts
        late: dict[str, list[int]] = {}
        for index, each in enumerate(slicing.slices):
            if index in known.here or each.merger == facts.uid:
                continue
            timer = Timer("slice", facts.key_of(current), f"{slicing.recipe}/{index}/{each.merger}")
            if facts.timers.expired(timer, 2 * self._seconds(current, slicing, each.merger)):
                late.setdefault(each.merger, []).append(index)
        for _, indices in sorted(late.items()):
            facts.send(Reassign(current.number, current.term, slicing.recipe, tuple(indices)))

    def _seconds(self, current: Round, slicing: Slicing, merger: str) -> float:
        """Seconds within which a merger should have merged its slices: a multiple of what it needs by its link, and the
        slowest contributor by that, as they state them. A link that nobody knows is like the others."""
        size = self._facts.model_size(current)
        sites = [uid for uid, entry in current.submissions.items() if entry.weight > 0]
        up = min((self._speed(sites, uid, "up") for uid in sites if uid != merger), default=SLOW_RATE)
        down = self._speed(sites, merger, "down")
        expected = max(size / up, expected_bytes(slicing, merger, size, len(sites)) / down)
        return max(LEAST_SECONDS, TOO_SLOW * expected)

    def _speed(self, sites: list[str], uid: str, direction: Literal["up", "down"]) -> int:
        """Bytes a second of a site as it states them, or as most others do; none is believed to be slower than any is
        assumed to be."""
        links = self._facts.training.links
        own: int = getattr(stated(links, uid), direction)
        known = sorted(filter(None, (getattr(stated(links, site), direction) for site in sites)))
        return max(SLOW_RATE, own or (known[len(known) // 2] if known else 0))

    # --- inside -----------------------------------------------------------------------------------------------------

    def _of(self, recipe: str) -> Progress:
        return self._known.setdefault(recipe, Progress())

    def _end(self, kind: type[MergeSlice | FetchSlice], recipe: str, index: int) -> None:
        """Notes that this work has ended; the other kind for the same slice is cancelled, being wanted no more."""
        self._facts.work.end_all(lambda work: isinstance(work, kind) and _slice_of(work) == (recipe, index))
        self._facts.timers.succeeded(_subject(recipe, index))

    def _pause(self, kind: type[MergeSlice | FetchSlice], recipe: str, index: int) -> None:
        self._facts.work.end_all(lambda work: isinstance(work, kind) and _slice_of(work) == (recipe, index))
        self._facts.timers.pause(_subject(recipe, index), LONGEST_WORK_PAUSE)


def _slice_of(work: MergeSlice | FetchSlice) -> tuple[str, int]:
    return (work.recipe if isinstance(work, FetchSlice) else work.recipe.name), work.slice


def _subject(recipe: str, index: int) -> str:
    return f"{recipe}/{index}"


def _differs(stated_before: int, now: int) -> bool:
    return now > 0 and not now / CHANGED <= stated_before <= now * CHANGED


def _rounded(speed: int) -> int:
    """Two significant digits: what is stated stays the same while a link does."""
    digits = len(str(speed))
    return speed if digits <= 2 else round(speed, 2 - digits)
