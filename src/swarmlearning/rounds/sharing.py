"""This node's share of rounds that are merged in slices.

Each node merges the slices that the contract gives it and states them, fetches the others as soon as they are stated,
and makes the result of all: most hold it before it is published. The leader publishes when each slice is held by
another live member too, gives slices of mergers that are far too slow to others, and needs no more models than anybody;
where it gets on no further it lets another lead.
By the geometric median all survey their slices first, and the leader states the coefficients (`surveying.py`).
Where only the leader holds a slice, the next two members in turn state that they hold copies.

The result of a round that stands is completed in the same way, until all have it: a slice that is lost in between is
merged again by whom the contract gives it.
"""

from collections.abc import Iterator
from typing import Final

from swarmlearning.ledger.bodies import Depose, Held, Reassign, ReportFault, Sliced
from swarmlearning.ledger.contracts.training.assigning import mergers, not_held, unable_to
from swarmlearning.ledger.contracts.training.recipes import recipe_of
from swarmlearning.ledger.contracts.training.slices import (
    Slice,
    Slicing,
    roots_of,
)
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Round, alive
from swarmlearning.ledger.contracts.training.steps import made_of, takes_steps
from swarmlearning.rounds.collecting import collect, note_missing
from swarmlearning.rounds.events import Timer
from swarmlearning.rounds.facts import NOTHING, RoundFacts
from swarmlearning.rounds.known import Progress, can_be_passed_on, is_here, names_of, slice_of, subject, waited_for
from swarmlearning.rounds.linking import Linking
from swarmlearning.rounds.publishing import published
from swarmlearning.rounds.settings import LEAST_SECONDS, LONGEST_PAUSE, LONGEST_WORK_PAUSE, RoundSettings
from swarmlearning.rounds.slices import (
    Assemble,
    Assembled,
    FetchSlice,
    LinkMeasured,
    MergeSlice,
    SliceEvent,
    SliceFetched,
    SliceMerged,
    SliceMissing,
    SlicesLost,
    SliceUnmergeable,
    Weighed,
    WeighModels,
)
from swarmlearning.rounds.surveying import gather
from swarmlearning.rounds.timers import NEVER

COPIES: Final = 2
"""Members that state that they hold what else only the leader does."""


class Sharing:
    """Decides about slices, as member and as leader."""

    def __init__(self, facts: RoundFacts, settings: RoundSettings) -> None:
        self._facts = facts
        self._settings = settings
        self._known: dict[str, Progress] = {}
        self._recipes: dict[int, str] = {}  # of the rounds in slices that were seen last
        self._linking = Linking(facts)

    # --- what happens -----------------------------------------------------------------------------------------------

    def receive(self, event: SliceEvent) -> None:
        """Notes what has happened to slices, or is known of this node's link."""
        match event:
            case SliceMerged():
                self._merged(event)
            case SliceUnmergeable():
                self._unmergeable(event)
            case SliceFetched():
                self._fetched(event)
            case SliceMissing():
                self._missing(event)
            case SlicesLost(recipe):
                self._lost(recipe)
            case Assembled():
                self._assembled(event)
            case Weighed(recipe):
                if self._facts.work.end_all(lambda work: isinstance(work, WeighModels) and work.recipe.name == recipe):
                    self._of(recipe).weighed = event
            case LinkMeasured():
                self._linking.measured(event)

    def _merged(self, done: SliceMerged) -> None:
        """The slice is here."""
        known = self._of(done.recipe)
        known.here[done.slice] = known.merged[done.slice] = done.root
        known.changes[done.slice] = done.change
        self._end(MergeSlice, done.recipe, done.slice)

    def _fetched(self, done: SliceFetched) -> None:
        """The slice is here."""
        self._of(done.recipe).here[done.slice] = done.root
        self._end(FetchSlice, done.recipe, done.slice)

    def _unmergeable(self, failed: SliceUnmergeable) -> None:
        """A contributor's model cannot be had, or be merged; where that is not agreed on it is tried again."""
        self._of(failed.recipe).found[failed.slice] = failed
        self._pause(MergeSlice, failed.recipe, failed.slice)

    def _missing(self, failed: SliceMissing) -> None:
        """Nobody has provided the slice."""
        note_missing(self._of(failed.recipe), self._standing(), failed)
        self._pause(FetchSlice, failed.recipe, failed.slice, LONGEST_PAUSE)

    def _assembled(self, done: Assembled) -> None:
        """All slices are here, as a model."""
        if self._facts.work.end_all(lambda work: isinstance(work, Assemble) and work.recipe == done.recipe):
            self._of(done.recipe).result = done
            self._facts.made(done.result, done.step)
            self._linking.able = True

    def _lost(self, recipe: str) -> None:
        """Slices that were here are not."""
        self._known.pop(recipe, None)
        self._facts.work.end_all(lambda work: isinstance(work, Assemble) and work.recipe == recipe)
        self._facts.work.end_all(lambda work: isinstance(work, WeighModels) and work.recipe.name == recipe)

    def dropped(self, digest: str) -> None:
        """This model is not here any more, nor are the slices that it was made of."""
        for recipe in [
            recipe for recipe, known in self._known.items() if known.result and known.result.result == digest
        ]:
            self._lost(recipe)

    def failed(self, work: MergeSlice | FetchSlice | Assemble | WeighModels) -> None:
        """This node could not do work that was under way: others are to merge until it can."""
        match work:
            case MergeSlice(recipe, index):
                self._linking.failed()
                self._facts.timers.pause(subject(MergeSlice, recipe.name, index), LONGEST_WORK_PAUSE)
            case FetchSlice(recipe, index):
                self._facts.timers.pause(subject(FetchSlice, recipe, index), LONGEST_WORK_PAUSE)
            case Assemble(recipe):
                self._facts.timers.pause(recipe, LONGEST_WORK_PAUSE)
            case WeighModels(recipe):
                self._facts.timers.pause(recipe.name, LONGEST_WORK_PAUSE)

    # --- decisions --------------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Keeps what has come of the standing result though its slices are not on the ledger any more: the others have
        all of it, and this node was away."""
        facts, result = self._facts, self._facts.training.result
        number = result.closed.number if result and result.digest not in facts.held else NOTHING
        kept = {each: recipe for each, recipe in self._recipes.items() if each == number}
        self._recipes = kept | {slicing.round: slicing.recipe for slicing in facts.training.slicings}
        facts.begun = (result.digest, kept[number]) if result and number in kept else ("", "")

    @property
    def needed(self) -> set[str]:
        """The recipes whose slices are to be kept, and the models that were made of them."""
        recipes = names_of(self._facts.training, self._recipes.values())
        made = [known.result for known in self._known.values() if known.result]
        return recipes.union(*({one.result} | made_of(one.step) for one in made))

    def completes(self, digest: str) -> bool:
        """Returns whether the standing result is being made of its slices, so that it need not be fetched whole."""
        result, slicing = self._facts.training.result, self._standing()
        if result is None or slicing is None or result.digest != digest:
            return False
        known, size = self._known.get(slicing.recipe, Progress()), self._facts.model_size(result.closed)
        if known.result is not None or known.in_vain or not self._may_assemble(result.closed):
            return False
        if slicing.over and alive(self._facts.training).isdisjoint(result.holders):
            return False
        seconds = self._settings.result_seconds(size, usual=0.0, voids=result.closed.voids)
        return not self._facts.timers.expired(Timer("slice", NEVER, slicing.recipe), seconds)

    def decide(self) -> None:
        """Merges, fetches, states, and publishes what is to be now."""
        facts = self._facts
        self._forget_others({slicing.recipe for slicing in facts.training.slicings})
        self._linking.decide()
        for current, slicing in self._rounds():
            known = self._of(slicing.recipe)
            self._merge(current, slicing, known)
            if not slicing.survey:
                collect(facts, self._linking, current, slicing, known)
                self._assemble(current, slicing, known)
            if current is facts.training.round:
                self._state_copies(current, slicing, known)
                self._lead(current, slicing, known)

    def _rounds(self) -> Iterator[tuple[Round, Slicing]]:
        training, held = self._facts.training, self._facts.held
        result, current = training.result, training.round
        if result and result.digest not in held and (slicing := slicing_of(training, result.closed.number)):
            yield result.closed, slicing
        if current and (slicing := slicing_of(training, current.number)):
            yield current, slicing

    def _standing(self) -> Slicing | None:
        """The slices of the standing result, where it was merged in such."""
        result = self._facts.training.result
        return slicing_of(self._facts.training, result.closed.number) if result else None

    def _merge(self, current: Round, slicing: Slicing, known: Progress) -> None:
        """Merges this node's slices, and states them. What it has only fetched it does not state as merged: where
        mergers contradict each other its word decides."""
        facts = self._facts
        for index in [each for each in known.found if self._reported(slicing, each)]:
            del known.found[index]  # where it is to try again it says what it finds then
        for index, each in facts.once(("own slices", slicing.recipe), lambda: _slices_of(slicing, facts.uid)):
            stated = facts.uid in each.holders or facts.uid in each.roots
            lost = slicing.survey and index not in known.merged  # with the process before this one: it surveys again
            if stated and not lost:
                continue
            if index in known.merged:
                root, change = known.merged[index], known.changes[index]
                facts.send(Sliced(slicing.round, slicing.recipe, index, root, change))
            elif is_here(known, index, each) and not slicing.survey:
                facts.send(Held(slicing.round, slicing.recipe, (index,), roots_of(slicing.slices, [index])))
            elif index in known.found and not stated and each.merger == facts.uid:
                facts.send(ReportFault(slicing.round, slicing.recipe, index, known.found[index].exclusion))
            elif not slicing.over and not facts.timers.pausing(subject(MergeSlice, slicing.recipe, index)):
                recipe = facts.once(("recipe", slicing.recipe), lambda: recipe_of(facts.training, current, slicing))
                seconds = self._linking.seconds(current, slicing, facts.uid)
                facts.work.want(MergeSlice(recipe, index, each.start, each.stop, seconds), facts.now)

    def _reported(self, slicing: Slicing, index: int) -> bool:
        return self._facts.uid in unable_to(slicing, index)

    def _may_assemble(self, current: Round) -> bool:
        """Returns whether the result can be made of the slices: where an outer step is due, of the base, too."""
        return not takes_steps(self._facts.training, current) or current.base in self._facts.held

    def _assemble(self, current: Round, slicing: Slicing, known: Progress) -> None:
        roots = self._facts.once(("roots", slicing.recipe), lambda: tuple(each.root for each in slicing.slices))
        if roots != known.roots:
            known.roots, known.result = roots, None  # by now other mergers are believed
        if known.result is not None or not self._may_assemble(current):
            return
        whole = all(is_here(known, index, each) for index, each in enumerate(slicing.slices))
        if whole and not self._facts.timers.pausing(slicing.recipe):
            base = current.base if takes_steps(self._facts.training, current) else ""
            self._facts.work.want(Assemble(slicing.recipe, roots, base), self._facts.now)

    def _state_copies(self, current: Round, slicing: Slicing, known: Progress) -> None:
        """States copies of slices that no other member than the leader holds, where it is this node's turn."""
        facts = self._facts
        if slicing.survey or facts.uid == current.leader:
            return
        turns = facts.once(("mergers", slicing.recipe), lambda: mergers(facts.training, slicing))
        if facts.uid not in turns:
            return
        after = turns.index(current.leader) + 1 if current.leader in turns else 0
        if facts.uid not in [*turns[after:], *turns[:after]][:COPIES]:
            return
        new = [
            index
            for index in self._not_held(current, slicing)
            if is_here(known, index, found := slicing.slices[index]) and facts.uid not in found.holders
        ]
        if new:
            facts.send(Held(slicing.round, slicing.recipe, tuple(new), roots_of(slicing.slices, new)))

    # --- leading ----------------------------------------------------------------------------------------------------

    def _lead(self, current: Round, slicing: Slicing, known: Progress) -> None:
        """Publishes as leader what is whole, gathers the statistics of a survey, or takes slices from mergers. Every
        member counts for how long each should have come: where a leader is deposed the next one does not begin to wait
        anew."""
        facts, late = self._facts, self._late(current, slicing, known)
        if current.leader != facts.uid:
            return
        if known.result and not self._not_held(current, slicing):
            facts.publish(current, published(facts.training, current, slicing, known.result))
            return
        if slicing.survey:
            gather(facts, current, slicing, known)
        passed_on = 0
        for _, indices in sorted(late.items()):
            given_on = (facts.training, slicing, facts.uid, current.term)
            if some := tuple(index for index in indices if can_be_passed_on(*given_on, index)):
                facts.send(Reassign(current.number, current.term, slicing.recipe, some))
            passed_on += len(some)
        lacking = sum(not is_here(known, index, each) for index, each in enumerate(slicing.slices))
        if late and not passed_on and lacking == sum(map(len, late.values())):
            self._give_up(current)

    def _give_up(self, current: Round) -> None:
        """Lets another lead after a while in which all that is lacking should long have come, and this leader can take
        none of it from anybody in its term."""
        facts = self._facts
        if facts.timers.expired(Timer("slice", facts.key_of(current), "stuck"), self._settings.patience(current)):
            facts.send(Depose(current.number, current.term, facts.incarnation, facts.height, "progress"))

    def _late(self, current: Round, slicing: Slicing, known: Progress) -> dict[str, list[int]]:
        """Returns the slices, by merger, that should long have come: also those that their merger has stated, and
        serves to nobody, or not to this node."""
        timers = self._facts.timers
        late: dict[str, list[int]] = {}
        for index, each in enumerate(slicing.slices):
            if (each.merger == self._facts.uid and not each.ruled) or is_here(known, index, each):
                continue
            known_as, seconds = waited_for(slicing.recipe, index, each), self._linking.seconds
            stated = each.merger in each.statistics  # its statistics come at once, or not at all
            over = not stated and timers.expired(
                Timer("slice", NEVER, known_as), 2 * seconds(current, slicing, each.merger)
            )
            if index in known.missed and each.merger in each.holders:
                over = timers.expired(Timer("slice", NEVER, f"{known_as}/missed"), LEAST_SECONDS) or over
            if over:
                late.setdefault(each.merger, []).append(index)
        return late

    # --- inside -----------------------------------------------------------------------------------------------------

    def _not_held(self, current: Round, slicing: Slicing) -> list[int]:
        """The slices for which the leader has to wait."""
        facts, leader = self._facts, current.leader
        return facts.once(("not held", slicing.recipe, leader), lambda: not_held(facts.training, slicing, leader))

    def _forget_others(self, recipes: set[str]) -> None:
        """Forgets all about recipes that are not the present ones."""
        gone = self._known.keys() - recipes
        if not gone:
            return
        for recipe in gone:
            del self._known[recipe]
        self._facts.timers.forget_all(
            lambda timer: timer.purpose == "slice" and timer.subject.partition("/")[0] in gone
        )

    def _of(self, recipe: str) -> Progress:
        return self._known.setdefault(recipe, Progress())

    def _end(self, kind: type[MergeSlice | FetchSlice], recipe: str, index: int) -> None:
        """Notes that this work has ended; the other kind for the same slice is cancelled, being wanted no more."""
        self._facts.work.end_all(lambda work: isinstance(work, kind) and slice_of(work) == (recipe, index))
        self._facts.timers.succeeded(subject(kind, recipe, index))

    def _pause(
        self, kind: type[MergeSlice | FetchSlice], recipe: str, index: int, longest: float = LONGEST_WORK_PAUSE
    ) -> None:
        self._facts.work.end_all(lambda work: isinstance(work, kind) and slice_of(work) == (recipe, index))
        self._facts.timers.pause(subject(kind, recipe, index), longest)


def _slices_of(slicing: Slicing, uid: str) -> list[tuple[int, Slice]]:
    """The slices that this member is to merge, with their indices, and those that it was to merge while nobody has: its
    link may have been cut for a moment, and most of what it needs is here, while others lack its own model."""

    def is_own(index: int, each: Slice) -> bool:
        if each.merger == uid:
            return True
        still = uid in each.former and not each.root and not slicing.survey
        return still and uid not in unable_to(slicing, index)

    return [(index, each) for index, each in enumerate(slicing.slices) if is_own(index, each)]
