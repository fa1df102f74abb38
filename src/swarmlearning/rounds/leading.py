"""The leader's side of a round, and how the others watch it.

The leader fetches every model as soon as it is submitted; when minPeers are in, it gives the others a grace, then
`Freeze`s, naming those it waited for in vain; when the round is frozen and all contributors' models are here or known
to be unusable, it merges; then it publishes. From the moment that minPeers are in, the round is *due*: the leader says
`Progress` as long as it waits for the others or bytes move, and whoever has not heard of it for `patience` reports
that (`Depose`); two such reports depose it. A leader that cannot do its work (a full disk) deposes itself.
"""

from collections.abc import Iterator

from swarmlearning.ledger.bodies import Depose, Freeze, Progress, Publish
from swarmlearning.ledger.contracts.training.state import Round, awaited
from swarmlearning.rounds.events import Action, Fetch, Merge, Merged, Timer
from swarmlearning.rounds.settings import RoundSettings
from swarmlearning.rounds.work import RoundFacts

MERGING = ""
"""Subject of a pause in merging."""


class Leading:
    """Decides as leader, or about the leader, of the round in progress."""

    def __init__(self, work: RoundFacts, settings: RoundSettings) -> None:
        self._work = work
        self._settings = settings
        self._unusable: dict[str, str] = {}
        self._moved_said = 0

    # --- what happens -----------------------------------------------------------------------------------------------

    def fetch_failed(self, digest: str, reason: str) -> None:
        """Nobody can give the model; where it is a contributor's, that is left out."""
        self._unusable[digest] = reason

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
            yield from work.send(Depose(current.number, current.term, work.incarnation, work.height, "progress"))

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
        """What a leader does now, or who watches one."""
        work, current, terms = self._work, self._work.training.round, self._work.training.terms
        if current is None or terms is None or not current.leader:
            self._unusable.clear()
            return
        due = current.phase == "frozen" or len(current.submissions) >= terms.min_peers
        if current.leader != work.uid:
            self._unusable.clear()
            if due:
                yield from self._watch(current)
            return
        if work.publishes(current):
            self._unusable.clear()  # should the round collect again, everybody gets another chance
            return
        yield from self._collect(current)
        if not due:
            return
        yield from self._report_progress(current)
        if current.phase == "frozen":
            yield from self._merge(current)
        else:
            yield from self._wait_for_others(current)

    def _collect(self, current: Round) -> Iterator[Action]:
        work = self._work
        holders: dict[str, list[str]] = {}
        for uid, entry in sorted(current.submissions.items()):
            if entry.weight > 0:
                holders.setdefault(entry.digest, []).append(uid)
        self._unusable = {digest: why for digest, why in self._unusable.items() if digest in holders}
        for digest, uids in holders.items():
            if digest not in work.held and digest not in self._unusable:
                others = tuple(uid for uid in uids if uid != work.uid)
                yield from work.fetch(digest, others)

    def _wait_for_others(self, current: Round) -> Iterator[Action]:
        work = self._work
        grace = Timer("grace", work.key_of(current))
        if (yield from work.elapsed(grace, self._settings.full_quorum_seconds)):
            yield from work.send(Freeze(current.number, current.term, tuple(awaited(work.training))))

    def _merge(self, current: Round) -> Iterator[Action]:
        work = self._work
        entries = tuple(entry for _, entry in sorted(current.submissions.items()))
        settled = work.held | self._unusable.keys()
        if any(entry.weight > 0 and entry.digest not in settled for entry in entries):
            return
        if work.pausing(MERGING):
            return
        if current.base in work.fetching and not work.merging(current.number, current.term):
            return  # a merge may need the previous model
        usable = tuple(entry for entry in entries if entry.digest not in self._unusable)
        unusable = tuple(
            (entry.uid, self._unusable[entry.digest]) for entry in entries if entry.digest in self._unusable
        )
        terms = work.training.terms
        single = terms is not None and terms.initial == "one" and current.number == 0
        yield from work.want(Merge(current.number, current.term, current.base, usable, unusable, single))

    def _report_progress(self, current: Round) -> Iterator[Action]:
        """Says `Progress` now and then, if there is any; waiting for the others is the leader's work too."""
        work = self._work
        report, every = Timer("progress", work.key_of(current)), self._settings.report_seconds(current.term)
        if (yield from work.elapsed(report, every)):
            work.again(report)
            yield from work.elapsed(report, every)
            if current.phase == "collecting" or work.moved > self._moved_said:
                self._moved_said = work.moved
                yield from work.send(Progress(current.number, current.term))

    def _watch(self, current: Round) -> Iterator[Action]:
        """Reports a leader that has been quiet for too long, once for each time that it spoke."""
        work = self._work
        patience = Timer("patience", work.key_of(current), str(work.leader_height))
        if (yield from work.elapsed(patience, self._settings.patience(current.term))):
            leader = work.training.members[current.leader]
            if work.uid not in current.no_progress:
                yield from work.send(
                    Depose(current.number, current.term, leader.incarnation, work.leader_height, "progress")
                )
