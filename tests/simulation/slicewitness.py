"""What is to hold of rounds that are merged in slices, whoever merges, leads or lies."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from simulation import slices
from simulation.cuts import CutWitness
from simulation.givenon import check_counting, check_given_on
from simulation.models import name
from simulation.slicerules import able, contributors, counting, holding, lacking, unable
from simulation.violation import require
from simulation.wayback import change_of
from swarmlearning.ledger.bodies import Held, OpenSession, Publish, Reassign, ReportFault, Sliced, Weigh
from swarmlearning.ledger.contracts.training.majorities import all_hold
from swarmlearning.ledger.contracts.training.recipes import recipe_of
from swarmlearning.ledger.contracts.training.serving import readable_slices, rounds_of
from swarmlearning.ledger.contracts.training.slices import UNITS, Recipe, Slicing, roots_of, units_read
from swarmlearning.ledger.contracts.training.slicing import open_slicing, slicing_of
from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.rounds.events import Fetch
from swarmlearning.rounds.slices import Assemble, MergeSlice, Weighed

if TYPE_CHECKING:
    from simulation.site import Site
    from simulation.swarm import Swarm

ALL = set(range(UNITS))


class SliceWitness:
    """Knows the true name of each slice and result."""

    def __init__(self, swarm: "Swarm") -> None:
        self._swarm = swarm
        self._results: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._taken: set[tuple[int, int, int, int]] = set()
        self._slow: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._spoken: defaultdict[str, set[str]] = defaultdict(set)
        self._stated: dict[tuple[str, int], dict[str, str]] = {}
        self._found: set[tuple[str, tuple[int, ...], bool]] = set()
        self._cuts = CutWitness()
        self._parts: dict[str, dict[str, str]] = {}
        self._weighed: dict[tuple[int, int, str, tuple[tuple[str, str], ...]], tuple[int, tuple[int, ...]]] = {}

    def advanced(self, before: Training, after: Training, sender: str, body: object) -> None:
        """Checks the newest state, and what this node has stated last."""
        self._check_kept(before, after, body)
        self._check_said(before, after, sender, body)
        for slicing in after.slicings:
            if slicing is not slicing_of(before, slicing.round):  # else it was examined with the block before
                self._check_readers(before, after, slicing)
                self._check_excluded(before, after, slicing, sender, body)
                self._check_cut(slicing)
                self._check_statements(slicing, sender if isinstance(body, OpenSession) else "")
                check_counting(slicing_of(before, slicing.round), slicing)
            check_given_on(before, after, slicing)
            self._check_weighed(after, slicing)
            current = after.round
            if current is None or current.number != slicing.round:
                continue
            if slicing.recipe not in self._results:
                recipe = recipe_of(after, current, slicing)
                require(recipe.name == slicing.recipe, f"the slices of round {slicing.round} are of another recipe")
                require(recipe.survey == slicing.survey, f"a survey of round {slicing.round} is of another recipe")
                roots = () if recipe.survey else _roots(recipe, slicing)
                self._results[slicing.recipe] = (slices.true_result(recipe), roots)
                self._parts[slicing.recipe] = {one.uid: one.digest for one in recipe.contributors}
            parts, known = contributors(current, slicing), self._parts[slicing.recipe]
            require(parts == known, f"round {slicing.round} is merged of {sorted(known)}, and not of {sorted(parts)}")

    def _check_said(self, before: Training, after: Training, sender: str, body: object) -> None:
        """Who has merged a slice was to do so; what an honest site states is true."""
        site = self._swarm.sites.get(sender)
        honest = site is not None and not site.lies
        if isinstance(body, Sliced | ReportFault):
            self._spoken[body.recipe].add(sender)
        match body:
            case Sliced(round=number, recipe=recipe, slice=index, root=root, change=change):
                found = _the(before, number).slices[index]
                what = f"{sender} states as merged what it has not merged: slice {index} of round {number}"
                require(sender in {found.merger, *found.former}, f"{what}: that is for {found.merger}")
                require(not honest or root == self.true_root_of(recipe, index, sender), what)
                base = _round_of(before, number).base
                require(not honest or change in ("", change_of(base, root)), f"{what}: its change gives something else")
            case Held(round=number, slices=indexes, roots=said) if site is None:
                counts = roots_of(_the(before, number).slices, indexes)
                require(said == counts, f"{sender} holds other slices of round {number} than count")
            case Held(round=number, recipe=recipe, slices=indexes) if site is not None:
                for index in indexes:
                    known = {each for each, uids in _the(after, number).slices[index].copies.items() if sender in uids}
                    kept = any(site.store.has_slice(recipe, index, each) for each in known)
                    lost = any(uid == sender for uid, _ in self._swarm.witness.damaged)
                    own = sender in _the(after, number).slices[index].roots
                    require(kept or lost or own, f"{sender} does not hold slice {index} of round {number}, as it says")
            case ReportFault(round=number, slice=index, exclusion=exclusion):
                found, current = _the(before, number).slices[index], _round_of(before, number)
                require(sender == found.merger, f"{sender} reports a fault in slice {index}, for {found.merger}")
                require(
                    exclusion.uid in current.submissions, f"{sender} reports {exclusion.uid}, who contributes nothing"
                )
            case Weigh():
                self._check_weigh(before, after, sender, body)
            case Reassign():
                self._check_taken(before, after, sender, body)

    def _check_taken(self, before: Training, after: Training, sender: str, body: Reassign) -> None:
        """A leader takes a slice once a term, and gets it only where no other can; who lacks one has asked all."""
        known, slicing = _the(before, body.round), slicing_of(after, body.round)
        left = [able(before, known) - _asked(known, index) for index in body.slices]
        if slicing is None or sender in {*slicing.lacked_by} - {*known.lacked_by}:
            require(
                not all(left), f"{sender} lacks slices {body.slices} of round {body.round}: {left} could merge them"
            )
        for index in body.slices if slicing else ():
            assert slicing is not None
            was, now = known.slices[index], slicing.slices[index]
            if now == was:
                continue
            if was.ruled not in ("", now.ruled):  # there all have been asked
                tied = sorted(Counter(was.roots.values()).values())[-2:]
                require(tied == [tied[-1]] * 2, f"{sender} overrules what most have stated of slice {index}")
                continue
            taken = (_round_of(before, body.round).opened_ms, body.round, body.term, index)  # one may begin again
            require(taken not in self._taken, f"{sender} takes slice {index} twice in term {body.term}")
            self._taken.add(taken)
            self._slow[body.recipe].setdefault(was.merger, body.term)
            spare = self._spare(after, slicing, index)
            require(now.merger != sender or not spare, f"{sender} gives slice {index} to itself, and not to {spare}")

    def _check_excluded(self, before: Training, after: Training, slicing: Slicing, sender: str, body: object) -> None:
        """Nobody is left out by the word of one, but where no other can judge, or is there by now (seed 20105)."""
        known = slicing_of(before, slicing.round)
        fresh = {each.uid for each in slicing.excluded} - {each.uid for each in (known.excluded if known else ())}
        if known is None:
            return
        for uid in fresh:
            by = {each.by for each in known.faults if each.uid == uid}
            if isinstance(body, ReportFault) and body.exclusion.uid == uid:
                by.add(sender)
            there = able(before, known) & able(after, known) - {uid} - self._silent(after, known.recipe)
            blocked = any(there <= unable(known, index) | {sender} for index in range(len(known.slices)))
            require(len(by) > 1 or len(there) < 3 or blocked, f"{uid} is left out by the word of {sorted(by)}")
        current, most = after.round, after.terms.min_peers if after.terms else 0
        if fresh and current is not None and current.number == slicing.round:
            left = current.submissions.keys() - {each.uid for each in slicing.excluded}
            require(len(left) >= most, f"round {slicing.round} goes on with {sorted(left)}, too few")
        out = {each.uid for each in slicing.excluded} & {each.uid for each in slicing.faults}
        require(not out, f"faults of {out} count on, which are left out of round {slicing.round}")

    def _silent(self, state: Training, recipe: str) -> set[str]:
        """Returns those from whom a former leader has taken a slice, and who have said nothing of these models."""
        term = state.round.term if state.round else 0
        return {uid for uid, then in self._slow[recipe].items() if then < term} - self._spoken[recipe]

    def _check_weigh(self, before: Training, after: Training, sender: str, body: Weigh) -> None:
        """Coefficients follow from the statistics of all slices; an honest leader has that."""
        known, site, current = _the(before, body.round), self._swarm.sites.get(sender), before.round
        assert current is not None
        what = f"{sender} weighs the models of round {body.round}"
        self._swarm.struck["models weighed" + (" again" if known.survey > 1 else "")] += 1
        require(current.leader == sender and current.term == body.term, f"{what}, which {current.leader} leads")
        require(
            known.survey > 0 and all(each.statistics for each in known.slices), f"{what}, of which not all is surveyed"
        )
        now = slicing_of(after, body.round)
        if now is not None and now.excluded == known.excluded:  # else one that nobody can fetch from is left out now
            require(now.survey in (0, known.survey + 1), f"{what} and has them surveyed for ever")
        said = (body.recipe, body.coefficients, body.again)
        require(site is None or said in self._found, f"{what}, and has found other coefficients")

    def weighs(self, found: Weighed) -> None:
        """A leader has found coefficients."""
        self._found.add((found.recipe, found.coefficients, found.again))

    def _check_weighed(self, state: Training, slicing: Slicing) -> None:
        """Of the same contributors surveys are not begun anew, and coefficients do not change once they are fixed."""
        current = next((each for each in rounds_of(state) if each.number == slicing.round), None)
        if not slicing.weighed or current is None:
            return
        shares = tuple(one.coefficient for one in slicing.weighed)
        models = tuple((one.uid, one.digest) for one in slicing.weighed)
        known = self._weighed.setdefault((state.run, slicing.round, current.base, models), (slicing.survey, shares))
        if known[0] and slicing.survey != known[0]:
            self._weighed[state.run, slicing.round, current.base, models] = (slicing.survey, shares)
        else:
            require(known == (slicing.survey, shares), f"the coefficients of round {slicing.round} have changed")

    def taken_in(self, state: Training) -> frozenset[int]:
        """The slices that a leader has taken from mergers in the present term."""
        current = state.round
        if current is None:
            return frozenset()
        term = current.opened_ms, current.number, current.term
        return frozenset(index for *taken, index in self._taken if tuple(taken) == term)

    def true_root_of(self, recipe: str, index: int, uid: str = "") -> str:
        """Returns the name of the slice as everybody merges it who does not lie; in a survey, of this one's
        statistics."""
        roots = self._results[recipe][1]
        return roots[index] if roots else slices.statistics_of(recipe, index, uid)

    def tidies(self, site: "Site", kept: Iterable[str]) -> None:
        """A lost slice of the standing result can be merged again: contributions are kept until all have it."""
        training = self._swarm.log.training(site.decided_on)
        result = training.result
        gone = {
            each.recipe for each in training.slicings if not each.over and site.store.slices.get(each.recipe)
        }.difference(kept)
        require(not gone, f"{site.uid} tidies away slices of a round that is not over")
        if result is None or open_slicing(training, result.closed.number) is None:
            return
        own = result.closed.submissions.get(site.uid)
        lost = own is not None and own.digest in site.store.held and own.digest not in kept
        require(not lost, f"{site.uid} tidies away its contribution to round {result.closed.number}")

    def _check_kept(self, before: Training, after: Training, body: object) -> None:
        """A round that goes on with the same contributors, in a new term or not, goes on with its slices."""
        was, now = before.round, after.round
        for each in after.slicings:
            still = open_slicing(before, each.round)
            require(not (each.over and still) or all_hold(after), f"round {each.round} is given up too early")
        if (result := after.result) is not None and not all_hold(after):
            held = before.result is not None and before.result.digest == result.digest
            lacks = slicing_of(after, result.closed.number) is None
            gone = lacks and slicing_of(before, result.closed.number) is not None and (held or was is not None)
            require(not gone, f"the slices of the standing result of round {result.closed.number} are gone")
        if was is None or now is None or (before.run, was.number) != (after.run, now.number) or now.phase != "frozen":
            return
        known, slicing = slicing_of(before, was.number), slicing_of(after, now.number)
        if known is None or was.submissions != now.submissions or was.voids != now.voids:
            return
        there = bool(able(after, known)) and bool(_contributors(after, now, known, body))
        collected = now.unreachable != was.unreachable
        lost = bool(known.lacked_by) or isinstance(body, Reassign)  # of which the latter is checked
        require(slicing is not None or not there or collected or lost, f"the slices of round {now.number} are gone")

    def _check_readers(self, before: Training, after: Training, slicing: Slicing) -> None:
        """Nobody reads a whole model, as long as another could have merged the slice that makes it whole."""
        known = slicing_of(before, slicing.round)
        fresh = known is None or len(known.slices) != len(slicing.slices)
        if fresh:
            self._cuts.cut(after, slicing)
        for one, other in zip(known.slices, slicing.slices, strict=True) if known and not fresh else ():
            forgotten = {one.merger, *one.former} - {other.merger, *other.former}
            require(not forgotten, f"that {forgotten} may have read a slice of round {slicing.round} is forgotten")
        for uid in {each.merger for each in slicing.slices}:
            if units_read(slicing, uid) < UNITS or (known and units_read(known, uid) == UNITS):
                continue
            require(not fresh, f"{uid} is to merge all of round {slicing.round}")
            self._swarm.struck["member that reads a whole model"] += 1
            assert known is not None
            for index, each in enumerate(slicing.slices):
                if each.merger == uid and uid not in known.slices[index].readers:
                    spare = self._spare(after, slicing, index)
                    require(not spare, f"{uid} reads all of round {slicing.round}, and {spare} could have merged")

    def _spare(self, state: Training, slicing: Slicing, index: int) -> list[str]:
        """Returns who could have been given this slice in the place of its merger, and would not have read all."""
        found, leader = slicing.slices[index], state.round.leader if state.round else ""
        others = able(state, slicing) - unable(slicing, index) - {found.merger, *found.former, leader}
        return [uid for uid in sorted(others) if units_read(slicing, uid) + found.units < UNITS]

    def _check_cut(self, slicing: Slicing) -> None:
        edges = [0, *(each.stop for each in slicing.slices)]
        require([each.start for each in slicing.slices] == edges[:-1] and edges[-1] == UNITS, "slices overlap or lack")

    def _check_statements(self, slicing: Slicing, opens: str) -> None:
        """No valid statement is lost, in a new term or otherwise; but what a site has stated in a survey is, which
        `opens` its session anew: it has been restarted."""
        for index, each in enumerate(slicing.slices):
            before = self._stated.setdefault((slicing.recipe, index), {})
            stated = each.roots | each.statistics
            if slicing.survey and opens not in stated:
                before.pop(opens, None)
            lost = before.keys() - stated.keys()
            require(not lost, f"what {sorted(lost)} stated of slice {index} of round {slicing.round} is gone")
            changed = [uid for uid, root in before.items() if stated[uid] != root]
            require(not changed, f"{changed} have stated slice {index} of round {slicing.round} twice")
            before.update(stated)

    def is_hidden(self, state: Training, number: int, digest: str) -> bool:
        """Returns whether only liars have merged the slice in which a model is not finite: nobody sees it then, but
        whoever checks that slice (seed 404)."""
        slicing, place = slicing_of(state, number), int(digest[:8], 16) % UNITS
        if slicing is None:
            return False
        found = next(each for each in slicing.slices if each.start <= place < each.stop)
        stated = [uid for uid, root in found.roots.items() if root == found.root]
        return all(uid not in self._swarm.sites or self._swarm.sites[uid].lies for uid in stated)

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

    def asks(self, reader: "Site", state: Training, work: Fetch) -> None:
        """Checks that nobody asks for a whole model that was contributed to a round in slices."""
        for uid in work.holders:
            parts = readable_slices(state, uid, work.digest, {reader.uid})
            whole = parts is None or {unit for each in parts for unit in range(each.start, each.stop)} == ALL
            require(whole, f"{reader.uid} asks for all of a model of {uid} in a round that is merged in slices")

    def published(self, before: Training, sender: str, body: Publish) -> None:
        """Checks a result: it is what its recipe says, of the same contributors in all slices, and kept twice."""
        slicing = slicing_of(before, body.round)
        if slicing is None:
            return
        what = f"the result of round {body.round}, in slices, by {sender}"
        contributors = {part.uid for part in body.receipt.contributions if part.weight}
        current = before.round
        assert current is not None
        recipe = recipe_of(before, current, slicing)
        require(contributors == {one.uid for one in recipe.contributors}, f"{what} is of others than its recipe")
        if recipe.method == "geomedian":
            shares = {one.uid: one.coefficient for one in recipe.contributors}
            said = {part.uid: part.coefficient for part in body.receipt.contributions if part.weight}
            require(said == shares, f"{what} has other coefficients than its recipe")
        if sender not in self._swarm.sites:
            return
        if not any(site.lies for site in self._swarm.sites.values()) and not self._swarm.intruders:
            merged = body.step.merged if body.step else body.result
            require(merged == self._results[slicing.recipe][0], f"{what} depends on who has merged")
        without = lacking(before, slicing, sender)
        require(not without, f"{what}: of slices {without} nobody has decided what they are, or nobody else holds them")
        others = able(before, slicing) - {sender} if sender not in current.deposed else set[str]()
        for index, each in enumerate(slicing.slices):
            kept = [uid for uid in others & holding(each) if self._keeps(uid, slicing, index)]
            require(bool(kept) or not others, f"{what}: nobody else keeps slice {index}")

    def _keeps(self, uid: str, slicing: Slicing, index: int) -> bool:
        site = self._swarm.sites.get(uid)
        if site is None:
            return True  # whatever it says
        if site.store.full or site.store.corrupt or any(uid == of for of, _ in self._swarm.witness.damaged):
            return True
        return site.store.has_slice(slicing.recipe, index, counting(slicing.slices[index]))


def _contributors(state: Training, current: Round, known: Slicing, body: object) -> set[str]:
    """Returns whose models there are still, if who is accused now is left out with all that were before: there may be
    none but a site's that had nothing to merge (seed 3373)."""
    uids = {one.uid for one in recipe_of(state, current, known).contributors}
    accused = {each.uid for each in known.faults} | {body.exclusion.uid} if isinstance(body, ReportFault) else set()
    return uids - accused


def _asked(known: Slicing, index: int) -> set[str]:
    """Returns who merges a slice, has stated it, or has said that it cannot merge it."""
    found = known.slices[index]
    return {found.merger, *found.roots, *found.statistics} | unable(known, index)


def _is_there(state: Training, uid: str) -> bool:
    return uid in state.members and state.members[uid].alive


def _roots(recipe: Recipe, slicing: Slicing) -> tuple[str, ...]:
    return tuple(slices.true_root(recipe, each.start, each.stop) for each in slicing.slices)


def _round_of(state: Training, number: int) -> Round:
    return next(current for current in rounds_of(state) if current.number == number)


def _the(state: Training, number: int) -> Slicing:
    found = slicing_of(state, number)
    require(found is not None, f"slices of round {number} are spoken of, which has none")
    assert found is not None
    return found
