"""The leader's side of a round.

The leader fetches every model as soon as it is submitted; when minPeers are in, it gives the others a grace, then
`Freeze`s, naming those it waited for in vain; when the round is frozen and all contributors' models are here or known
to be unusable, it merges; then it publishes. From the moment that minPeers are in, the round is *due*: the leader
reports `Progress` as long as it waits for the others or bytes move, and the others watch it (`watching.py`). A leader
that cannot do its work (a full disk) deposes itself.

A contributor whose model needs three times as long as those of minPeers others, and as its link needs for it as it
states that, is left out. Where fewer others
contribute, models that came late are fetched, too, and those count that could not be fetched: with these the round can
be collected again. Contributors whose models the leaders before could not fetch do not count to minPeers
(`Round.unreachable`): the leader goes on trying by itself, freezes when it has enough of them, and lets another lead
when it has tried for its patience.

Where all models to merge are the previous result, that stands again. Where nobody waits any more for whoever holds it,
a leader closes the round without having it.

A round that is merged in slices the leader only watches and publishes (`sharing.py`).
"""

from collections.abc import Iterable

from swarmlearning.ledger.bodies import Depose, Freeze, Progress, Publish
from swarmlearning.ledger.contracts.training.losing import is_out_of_reach
from swarmlearning.ledger.contracts.training.sizes import next_report
from swarmlearning.ledger.contracts.training.slicing import is_to_be_sliced, slicing_of
from swarmlearning.ledger.contracts.training.state import Round, awaited, enough
from swarmlearning.ledger.contracts.training.steps import takes_steps
from swarmlearning.ledger.contracts.training.submissions import Submission, contributing, kept_back
from swarmlearning.ledger.contracts.training.transfers import back_in, transfer_in
from swarmlearning.rounds.events import Fetch, FetchCode, Key, Merge, Merged, Timer, Work
from swarmlearning.rounds.exclusions import exclusion_of, kept_back_exclusion
from swarmlearning.rounds.facts import RoundFacts
from swarmlearning.rounds.linking import BY_ITS_WORD, seconds_of
from swarmlearning.rounds.settings import LEAST_SECONDS, MOST_UNANSWERED, QUIET_SECONDS, TOO_SLOW, RoundSettings
from swarmlearning.rounds.slices import Assemble, FetchSlice, WeighModels
from swarmlearning.rounds.timers import NEVER

MERGING = ""
"""Subject of a pause in merging."""


class Leading:
    """Decides as leader of the round in progress."""

    def __init__(self, facts: RoundFacts, settings: RoundSettings) -> None:
        self._facts = facts
        self._settings = settings
        self._unusable: dict[str, FetchCode] = {}
        self._unreachable: frozenset[str] = frozenset()
        self._waiting_since: tuple[Key, int] = (NEVER, 0)
        self._turns: dict[str, int] = {}

    # --- what happens -----------------------------------------------------------------------------------------------

    def fetch_failed(self, digest: str, code: FetchCode) -> None:
        """Nobody provides the model; where it is a contributor's, that is left out."""
        self._unusable[digest] = code

    def fetched(self, digest: str) -> None:
        """The model is here after all."""
        self._unusable.pop(digest, None)

    def failed(self, task: Work) -> None:
        """This node could not do work that it led the round with: another is to lead."""
        facts, current = self._facts, self._facts.training.round
        if current is None or current.leader != facts.uid:
            return
        needed = {entry.digest for entry in current.submissions.values() if entry.weight > 0}
        slicing = slicing_of(facts.training, current.number)
        of_round = slicing is not None and _recipe(task) == slicing.recipe
        if of_round or isinstance(task, Merge) or (isinstance(task, Fetch) and task.digest in needed):
            self._give_up(current)

    def merged(self, done: Merged) -> None:
        """The result is in the store: publishes it, if that is still what is wanted."""
        facts, current = self._facts, self._facts.training.round
        task = facts.work.merging(done.round, done.term)
        if task is None or current is None:
            return
        facts.work.ended(task)
        facts.timers.succeeded(MERGING)
        if done.result and done.result != current.base:
            facts.made(done.result, done.step)
        change = done.change if done.result != current.base else ""
        facts.publish(current, Publish(done.round, done.term, done.result, done.size, done.receipt, done.step, change))

    # --- decisions --------------------------------------------------------------------------------------------------

    def decide(self) -> None:
        """Does what a leader does now, if this node is one."""
        facts, current = self._facts, self._facts.training.round
        if current is None or current.leader != facts.uid or facts.publishes(current):
            self._unusable.clear()  # should the round collect again, everybody gets another chance
            self._unreachable = frozenset()
            self._turns.clear()
            return
        if slicing_of(facts.training, current.number):
            self._report_progress(current)
            return
        if current.phase == "frozen":
            self._leave_out_slow(current)
        self._collect(current, self._to_fetch(current))
        if current.phase == "frozen":
            self._report_progress(current)
            self._merge(current)
            return
        here = facts.held | self._spared(current)
        reached = tuple(uid for uid in current.unreachable if _is_here(current.submissions[uid], here))
        still = set(current.unreachable).difference(reached)
        if enough(facts.training, current.counted_with(still)):
            self._report_progress(current)
            self._wait_for_others(current, reached)
        elif enough(facts.training, current.counted_with(())):
            self._report_progress(current)
            self._wait_for_unreachable(current)

    def _spared(self, current: Round) -> set[str]:
        """The models that are merged without being here: the previous result where it alone is submitted, as by sites
        that have finished, and nobody can fetch it (seed 93009522). Models that nobody can fetch change nothing."""
        if current.base in self._facts.held or not is_out_of_reach(self._facts.training):
            return set()
        out = kept_back(current.submissions, current.base).union(current.unreachable)
        submitted = {one.digest for one in current.submissions.values() if one.weight > 0 and one.uid not in out}
        return set() if submitted - self._unusable.keys() - {current.base} else {current.base}

    def _to_fetch(self, current: Round) -> list[Submission]:
        """The models to merge, and where these take long those that came late; none that its site does not serve."""
        frozen, kept = current.phase == "frozen", kept_back(current.submissions, current.base)
        if not frozen and is_to_be_sliced(self._facts.training, current.number):
            return []
        entries = [
            entry
            for uid, entry in current.submissions.items()
            if uid not in kept and (frozen or entry.contributors == 1)
        ]
        if frozen and current.late:
            long = self._facts.timers.expired(Timer("late", self._facts.key_of(current)), LEAST_SECONDS)
            entries += [entry for entry in current.late.values() if entry.contributors == 1] if long else ()
        return entries

    def _collect(self, current: Round, entries: Iterable[Submission]) -> None:
        """Wants these models. Those of unreachable members are tried for ever, with pauses; at once where one is not
        unreachable any more."""
        facts = self._facts
        holders: dict[str, list[str]] = {}
        spared = self._spared(current)
        # Who submits a model first is tried first: one that submits another's digest does not come between.
        for entry in sorted(entries, key=lambda entry: (entry.at_ms, entry.uid)):
            if entry.weight > 0 and entry.digest not in spared:
                holders.setdefault(entry.digest, []).append(entry.uid)
        unreachable = frozenset(current.submissions[uid].digest for uid in current.unreachable)
        for digest in self._unreachable - unreachable:
            facts.timers.resume(digest)
        self._unreachable = unreachable
        self._unusable = {
            one: code for one, code in self._unusable.items() if one in holders and one not in unreachable
        }
        for digest, uids in holders.items():
            if digest not in facts.held and digest not in self._unusable:
                others = tuple(uid for uid in uids if uid != facts.uid)
                facts.fetch(digest, self._in_turn(current, digest, others))

    def _in_turn(self, current: Round, digest: str, holders: tuple[str, ...]) -> tuple[str, ...]:
        """The members that have submitted one model, in the order in which they are tried: the next comes first once
        the model should long have come. One that only states the digest of another could drip, and stall all."""
        facts, turns = self._facts, self._turns.get(digest, 0)
        if len(holders) > 1:
            limit = self._settings.result_seconds(facts.model_size(current), usual=0.0, voids=turns)
            is_over = facts.timers.every(Timer("turn", facts.key_of(current), digest), limit)
            if is_over and digest in facts.work.fetching:
                turns += 1
                self._turns[digest] = turns
                facts.timers.pause(digest)  # what is not wanted meanwhile is cancelled
        first = turns % max(1, len(holders))
        return (*holders[first:], *holders[:first])

    def _wait_for_others(self, current: Round, reached: tuple[str, ...]) -> None:
        facts = self._facts
        expected, grace = tuple(awaited(facts.training)), Timer("grace", facts.key_of(current))
        if not expected or facts.timers.expired(grace, self._settings.full_quorum_seconds):
            facts.send(Freeze(current.number, current.term, expected, reached))

    def _wait_for_unreachable(self, current: Round) -> None:
        """Lets another try after a while in which nothing has come, longer each time.

        A model that its site serves to fixed contributors alone can only be tried with these, as if it were there.
        """
        facts, key = self._facts, self._facts.key_of(current)
        timer, (since, moved) = Timer("unreachable", key), self._waiting_since
        patience = self._settings.patience(current)
        tried = tuple(uid for uid in current.unreachable if current.submissions[uid].contributors > 1)
        if tried and enough(facts.training, current.counted_with(set(current.unreachable).difference(tried))):
            if facts.timers.expired(Timer("unreachable", key, "fixed"), min(QUIET_SECONDS, patience)):
                facts.send(Freeze(current.number, current.term, tuple(awaited(facts.training)), tried))
        elif facts.timers.every(timer, patience):
            self._waiting_since = (key, facts.moved)
            if facts.moved == moved:
                self._give_up(current)
        elif since != key:
            self._waiting_since = (key, facts.moved)

    def _give_up(self, current: Round) -> None:
        facts = self._facts
        facts.send(Depose(current.number, current.term, facts.incarnation, facts.height, "progress"))

    # --- merging ----------------------------------------------------------------------------------------------------

    def _merge(self, current: Round) -> None:
        facts = self._facts
        entries = tuple(entry for _, entry in sorted(current.submissions.items()))
        unusable = dict(self._unusable)
        for digest in self._unreachable - facts.held:
            unusable[digest] = "unreachable"
        settled = facts.held | unusable.keys() | self._spared(current)
        kept = kept_back(current.submissions, current.base)
        if any(one.weight > 0 and one.digest not in settled and one.uid not in kept for one in entries):
            return
        if facts.timers.pausing(MERGING) or not self._may_merge(current):
            return
        if self._lacks_base(current):
            return
        if self._waits_for_base(current) and not facts.work.merging(current.number, current.term):
            return
        here = tuple(one for one in entries if one.digest not in unusable and one.uid not in kept)
        left_out = tuple(
            kept_back_exclusion(one, contributing(current.submissions, current.base))
            if one.uid in kept
            else exclusion_of(one.uid, unusable[one.digest])
            for one in entries
            if one.uid in kept or one.digest in unusable
        )
        terms = facts.training.terms
        single = terms is not None and terms.initial == "one" and current.number == 0
        merge = Merge(current.number, current.term, current.base, here, left_out, single)
        facts.work.want(merge, facts.now)

    def _lacks_base(self, current: Round) -> bool:
        """Returns whether the previous model is not here, without which nothing can be merged: changes of it are of no
        use alone, and without it there is no outer step, and no change to what is merged."""
        facts = self._facts
        back = takes_steps(facts.training, current) or back_in(facts.training, current.base) != "float32"
        needs_it = back and current.base not in self._spared(current)
        coded = transfer_in(facts.training, current.base) != "float32"
        return (needs_it or coded) and current.base not in facts.held

    def _waits_for_base(self, current: Round) -> bool:
        """Returns whether the previous model is still to come: from it each model's influence is measured, but a round
        can do without it, where whoever has it serves it too slowly (seed 60000862)."""
        facts = self._facts
        if current.base not in facts.work.fetching | facts.postponed:
            return False
        limit = self._settings.result_seconds(facts.model_size(current), usual=0.0, voids=0)
        return not facts.timers.expired(Timer("base", facts.key_of(current)), limit)

    def _may_merge(self, current: Round) -> bool:
        """Returns whether it is time to merge: after a while, where nobody could fetch this node's last result."""
        facts = self._facts
        if not facts.training.members[facts.uid].unreachable:
            return True
        timer = Timer("merge-delay", facts.key_of(current))
        return facts.timers.expired(timer, self._settings.merge_delay(current))

    def _leave_out_slow(self, current: Round) -> None:
        """Waits for the others, where enough models are here, three times as long as these took, or as their own links
        need as they state them."""
        facts, work = self._facts, self._facts.work
        entries = current.submissions.values()
        known = (*entries, *current.late.values())
        here = [one for one in known if one.weight == 0 or one.digest in facts.held]
        failed = [one for one in known if self._unusable.get(one.digest, "too-slow") != "too-slow"]
        if not enough(facts.training, {one.uid for one in (*here, *failed)}):
            return
        limit = max([LEAST_SECONDS, *(TOO_SLOW * work.fetched_in(one.digest) for one in here)])
        for digest, one in sorted({one.digest: one for one in entries if one.weight > 0}.items()):
            if digest not in work.fetching:
                continue
            own = TOO_SLOW * seconds_of(facts.training, one.uid, "up", one.size)
            left = max(limit, min(own, BY_ITS_WORD * limit)) - (facts.now - work.fetching_since(digest))
            if facts.timers.expired(Timer("slow", facts.key_of(current), digest), max(0.0, left)):
                self._unusable[digest] = "too-slow"

    def _report_progress(self, current: Round) -> None:
        """Reports `Progress` now and then, if there is any; waiting for the others is the leader's work too."""
        facts = self._facts
        report, every = Timer("progress", facts.key_of(current)), self._settings.report_seconds(current)
        if not facts.timers.every(report, every) or _unanswered(facts) >= MOST_UNANSWERED:
            return
        if current.phase == "collecting" or facts.moved >= max(1, next_report(facts.training, current)):
            facts.send(Progress(current.number, current.term, facts.moved))


def _recipe(task: Work) -> str:
    """The recipe of what a leader needs to have of slices; empty for other work."""
    match task:
        case FetchSlice(recipe) | Assemble(recipe):
            return recipe
        case WeighModels(recipe):
            return recipe.name
        case _:
            return ""


def _is_here(entry: Submission, held: set[str]) -> bool:
    """True if the model need not be fetched, whatever another leader said of it: it is held, or has no weight."""
    return entry.weight == 0 or entry.digest in held


def _unanswered(facts: RoundFacts) -> int:
    """Returns the number of reports of progress under way: each is another transaction, so they would pile up where no
    SN can be reached (seed 92013594)."""
    return sum(isinstance(body, Progress) for body in facts.sent)
