"""The leader's side of a round.

The leader fetches every model as soon as it is submitted; when minPeers are in, it gives the others a grace, then
`Freeze`s, naming those it waited for in vain; when the round is frozen and all contributors' models are here or known
to be unusable, it merges; then it publishes. From the moment that minPeers are in, the round is *due*: the leader
reports `Progress` as long as it waits for the others or bytes move, and the others watch it (`watching.py`). A leader
that cannot do its work (a full disk) deposes itself.

A contributor whose model takes three times as long as those of minPeers others is left out. Contributors whose models
the leaders before could not fetch do not count to minPeers (`Round.unreachable`): the leader goes on trying by itself,
freezes when it has enough of them, and lets another lead when it has tried for its patience.
"""

from collections.abc import Generator, Iterator

from swarmlearning.ledger.bodies import Depose, Exclusion, Freeze, Progress, Publish
from swarmlearning.ledger.contracts.training.state import Round, awaited
from swarmlearning.rounds.events import Action, Fetch, FetchCode, Key, Merge, Merged, Timer
from swarmlearning.rounds.settings import LEAST_SECONDS, TOO_SLOW, RoundSettings
from swarmlearning.rounds.work import NEVER, RoundFacts

MERGING = ""
"""Subject of a pause in merging."""


class Leading:
    """Decides as leader of the round in progress."""

    def __init__(self, work: RoundFacts, settings: RoundSettings) -> None:
        self._work = work
        self._settings = settings
        self._unusable: dict[str, FetchCode] = {}
        self._unreachable: frozenset[str] = frozenset()
        self._waiting_since: tuple[Key, int] = (NEVER, 0)

    # --- what happens -----------------------------------------------------------------------------------------------

    def fetch_failed(self, digest: str, code: FetchCode) -> None:
        """Nobody provides the model; where it is a contributor's, that is left out."""
        self._unusable[digest] = code

    def fetched(self, digest: str) -> None:
        """The model is here after all."""
        self._unusable.pop(digest, None)

    def failed(self, task: Fetch | Merge) -> Iterator[Action]:
        """This node could not do work that it led the round with: another is to lead."""
        work, current = self._work, self._work.training.round
        if current is None or current.leader != work.uid:
            return
        needed = {entry.digest for entry in current.submissions.values() if entry.weight > 0}
        if isinstance(task, Merge) or task.digest in needed:
            yield from self._give_up(current)

    def merged(self, done: Merged) -> Iterator[Action]:
        """The result is in the store: publishes it, if that is still what is wanted."""
        work, current = self._work, self._work.training.round
        task = work.merging(done.round, done.term)
        if task is None or current is None:
            return
        work.ended(task)
        work.unpause(MERGING)
        if done.result and done.result != current.base:
            work.held.add(done.result)
        yield from work.send(Publish(done.round, done.term, done.result, done.size, done.receipt))

    # --- decisions --------------------------------------------------------------------------------------------------

    def decide(self) -> Iterator[Action]:
        """Returns what a leader does now."""
        work, current, terms = self._work, self._work.training.round, self._work.training.terms
        if current is None or terms is None or current.leader != work.uid or work.publishes(current):
            self._unusable.clear()  # should the round collect again, everybody gets another chance
            self._unreachable = frozenset()
            return
        if current.phase == "frozen":
            yield from self._leave_out_slow(current, terms.min_peers)
        yield from self._collect(current)
        if current.phase == "frozen":
            yield from self._report_progress(current)
            yield from self._merge(current)
            return
        reached = tuple(uid for uid in current.unreachable if current.submissions[uid].digest in work.held)
        if current.usable + len(reached) >= terms.min_peers:
            yield from self._report_progress(current)
            yield from self._wait_for_others(current, reached)
        elif len(current.submissions) >= terms.min_peers:
            yield from self._wait_for_unreachable(current)

    def _collect(self, current: Round) -> Iterator[Action]:
        """Wants all models. Those of unreachable members are tried for ever, with pauses; at once where one is not
        unreachable any more."""
        work = self._work
        holders: dict[str, list[str]] = {}
        for uid, entry in sorted(current.submissions.items()):
            if entry.weight > 0:
                holders.setdefault(entry.digest, []).append(uid)
        unreachable = frozenset(current.submissions[uid].digest for uid in current.unreachable)
        for digest in self._unreachable - unreachable:
            work.resume(digest)
        self._unreachable = unreachable
        self._unusable = {
            one: code for one, code in self._unusable.items() if one in holders and one not in unreachable
        }
        for digest, uids in holders.items():
            if digest not in work.held and digest not in self._unusable:
                others = tuple(uid for uid in uids if uid != work.uid)
                yield from work.fetch(digest, others)

    def _wait_for_others(self, current: Round, reached: tuple[str, ...]) -> Iterator[Action]:
        work = self._work
        expected, grace = tuple(awaited(work.training)), Timer("grace", work.key_of(current))
        if not expected or (yield from work.elapsed(grace, self._settings.full_quorum_seconds)):
            yield from work.send(Freeze(current.number, current.term, expected, reached))

    def _wait_for_unreachable(self, current: Round) -> Iterator[Action]:
        """Lets another try after a while in which nothing has come, longer each time."""
        work, key = self._work, self._work.key_of(current)
        timer, (since, moved) = Timer("unreachable", key), self._waiting_since
        if (yield from work.elapsed(timer, self._settings.patience(current))):
            work.again(timer)
            yield from work.elapsed(timer, self._settings.patience(current))
            self._waiting_since = (key, work.moved)
            if work.moved == moved:
                yield from self._give_up(current)
        elif since != key:
            self._waiting_since = (key, work.moved)

    def _give_up(self, current: Round) -> Iterator[Action]:
        work = self._work
        yield from work.send(Depose(current.number, current.term, work.incarnation, work.height, "progress"))

    # --- merging ----------------------------------------------------------------------------------------------------

    def _merge(self, current: Round) -> Iterator[Action]:
        work = self._work
        entries = tuple(entry for _, entry in sorted(current.submissions.items()))
        unusable = dict(self._unusable)
        for digest in self._unreachable - work.held:
            unusable[digest] = "unreachable"
        settled = work.held | unusable.keys()
        if any(one.weight > 0 and one.digest not in settled for one in entries):
            return
        if work.pausing(MERGING) or not (yield from self._may_merge(current)):
            return
        if current.base in work.fetching and not work.merging(current.number, current.term):
            return  # a merge may need the previous model
        here = tuple(one for one in entries if one.digest not in unusable)
        left_out = tuple(_exclusion(one.uid, unusable[one.digest]) for one in entries if one.digest in unusable)
        terms = work.training.terms
        single = terms is not None and terms.initial == "one" and current.number == 0
        yield from work.want(Merge(current.number, current.term, current.base, here, left_out, single))

    def _may_merge(self, current: Round) -> Generator[Action, None, bool]:
        """Nobody could fetch this node's last result: it tries again after a while, longer each time."""
        work = self._work
        if not work.training.members[work.uid].unreachable:
            return True
        return (
            yield from work.elapsed(Timer("unreachable", work.key_of(current)), self._settings.patience(current) / 2)
        )

    def _leave_out_slow(self, current: Round, min_peers: int) -> Iterator[Action]:
        """Waits for the others, where minPeers models are here, three times as long as these took."""
        work = self._work
        entries = current.submissions.values()
        here = [one for one in entries if one.weight == 0 or one.digest in work.held]
        if len(here) < min_peers:
            return
        limit = max([LEAST_SECONDS, *(TOO_SLOW * work.fetched_in(one.digest) for one in here)])
        for digest in sorted({one.digest for one in entries if one.weight > 0} & work.fetching):
            timer, left = Timer("slow", work.key_of(current), digest), limit - work.fetching_for(digest)
            if (yield from work.elapsed(timer, max(0.0, left))):
                self._unusable[digest] = "too-slow"

    def _report_progress(self, current: Round) -> Iterator[Action]:
        """Reports `Progress` now and then, if there is any; waiting for the others is the leader's work too."""
        work = self._work
        report, every = Timer("progress", work.key_of(current)), self._settings.report_seconds(current)
        if (yield from work.elapsed(report, every)):
            work.again(report)
            yield from work.elapsed(report, every)
            if current.phase == "collecting" or work.moved >= max(1, current.next_report):
                yield from work.send(Progress(current.number, current.term, work.moved))


def _exclusion(uid: str, code: FetchCode) -> Exclusion:
    """What the ledger is told of a model that could not be fetched: a code, and nothing of the connection."""
    return Exclusion(uid, "too-slow" if code == "too-slow" else "unreachable", code)
