"""The invariants of a swarm, checked with every block and every action; `Violation` names the broken one."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from simulation import wayback
from simulation.checks import CheckWitness
from simulation.coded import CodedWitness
from simulation.early import EarlyResults
from simulation.forbidden import Forbidden
from simulation.ledger import CONTRACT
from simulation.outersteps import StepWitness
from simulation.reads import Reads
from simulation.slices import BROKEN_PAIR
from simulation.slicewitness import SliceWitness
from simulation.slicework import WorkWitness
from simulation.unsigned import papers
from simulation.violation import Violation, require
from swarmlearning.ledger.bodies import AnnotateRun, Back, Depose, HideRun, Lost, Publish, Revoke, Submit, TagRun, Void
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.experiments import annotations
from swarmlearning.ledger.contracts.network.watching import reporters
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.transaction import SignedTransaction
from swarmlearning.rounds.events import Carry, Fetch, Work
from swarmlearning.rounds.machine import MISSED_THE_END
from swarmlearning.rounds.slices import FetchSlice, MergeSlice

if TYPE_CHECKING:
    from simulation.site import Site
    from simulation.swarm import Swarm

TOO_LATE = ("is over; for another training", MISSED_THE_END)
RESET = "was reset by an operator"
EXPECTED = frozenset(code for code in Code if code.transient)
OF_A_PUBLISH = {"wrong-contributors", "wrong-contribution"}
"""Refusals that are allowed: a newer state of the leader's own term may have superseded what it publishes."""


class Witness:
    """Knows what each model was really made from, and has seen every block."""

    def __init__(self, swarm: "Swarm", prompt: bool) -> None:
        self._swarm = swarm
        self._log, self._min_peers, self._sites = swarm.log, swarm.min_peers, swarm.sites
        self._prompt = prompt
        self.made_from: dict[str, str] = {}
        self.handed: dict[str, frozenset[str]] = {}
        self.poisoned: set[str] = set()
        self.damaged: set[tuple[str, str]] = set()
        self.shut_out: set[str] = set()
        self.failures: list[tuple[str, str]] = []
        self._publisher = ("", 0)
        self._standing: dict[tuple[int, int], str] = {}
        self._taken: dict[str, int] = {}
        self._terms: dict[tuple[int, int], int] = {}
        self.coded = CodedWitness(swarm)
        self.slices = SliceWitness(swarm)
        self.steps = StepWitness(swarm)
        self.checks = CheckWitness(swarm)
        self._reads = Reads(swarm)
        self._early = EarlyResults(swarm)
        self._forbidden = Forbidden(swarm)
        self.work = WorkWitness(swarm)

    def block(self, entry: SignedTransaction) -> None:
        """The newest block."""
        height = self._log.head.height
        before, after = self._log.training(height - 1), self._log.training(height)
        sender, body = entry.content.sender, entry.content.body
        if sender in self._sites:
            own = papers().thumbprints[self._sites[sender].papers]
            require(entry.signer == own, f"{entry.kind} in the name of {sender} is by somebody else")
        require(sender not in self.shut_out, f"{sender} is heard though its certificate is revoked")
        if entry.content.contract == CONTRACT:
            anchor = entry.content.anchor.height
            require(self._log.training(anchor).run == before.run, f"{entry.kind} of {sender} is of a former run")
        match body:
            case Revoke(thumbprint):
                world = self._log.head.world
                if (
                    found := network.certificate(world, thumbprint)
                ) and found.revoked:  # it may have been proposed only
                    self.shut_out |= {node.uid for node in network.nodes(world) if node.subject == found.subject}
            case Publish(result=result) if result:
                self._published(before, after, sender, body)
                self.slices.published(before, sender, body)
                if before.round is not None:
                    self.coded.published(before.round, body)
                self.steps.published(before, after, sender, body)
                wayback.published(self._swarm, before, sender, body)
                self._publisher = (sender, entry.content.incarnation)
            case Submit():
                self._given(sender, body)
                if body.submission in ("trained", "carried"):
                    self._submitted(sender, body)
            case Depose(cause="progress"):
                self._deposed(before, after, sender)
            case Void(round=number) if entry.content.contract == CONTRACT:
                self._voided(before, after, number)
        self._advanced(before, after)
        self.slices.advanced(before, after, sender, body)
        self.work.advanced(before, body)
        self.checks.advanced(before, after, sender, body)
        if self._swarm.sliced:
            self._reads.advanced(before, after, sender, body)
            self._early.advanced(after)
            self._forbidden.advanced(after, self.slices.taken_in(after))
        self.steps.advanced(before, after)
        if sender in self._swarm.intruders or sender.endswith("-op"):
            self._intruded(before, after, sender, body)

    def _intruded(self, before: Training, after: Training, sender: str, body: object) -> None:
        """Checks that nothing that an adversarial node sends does anything to an honest site."""
        what = f"{type(body).__name__} of {sender}"
        if isinstance(body, Void):
            return  # by an SN: `_voided` has judged it
        if isinstance(body, AnnotateRun | TagRun | HideRun):
            self._noted(before, after, sender, what)
        for name in ("run", "charter", "over", "stopping"):
            require(getattr(before, name) == getattr(after, name), f"{what} changes {name}")
        for uid in before.members.keys() & self._sites.keys():
            require(uid in after.members, f"{what} ends the session of {uid}")
            was, now = before.members[uid], after.members[uid]
            if before.round is not None and not self._is_confirmed(body):
                # until there is a round, a member may agree or not with the terms that most have stated
                require(was.attendance == now.attendance, f"{what} changes the attendance of {uid}")
            for name in ("finished", "may_lead", "weightage", "incarnation"):
                require(getattr(was, name) == getattr(now, name), f"{what} changes {name} of {uid}")

    def _noted(self, before: Training, after: Training, sender: str, what: str) -> None:
        """Checks that a note about a run is its own organisation's, and leaves the training as it was."""
        require(before is after, f"{what} changes the training")
        node = network.node(self._log.head.world, sender)
        former, latest = (
            {each for each in annotations(chain.world) if node and each.organisation != node.organisation}
            for chain in self._log.chains[-2:]
        )
        require(former == latest, f"{what} changes what another organisation has noted")

    def _is_confirmed(self, body: object) -> bool:
        """Returns whether an honest SN has reported the same as this one, of a node that is lost or back."""
        if not isinstance(body, Lost | Back):
            return False
        world = self._log.chains[-2].world
        known = network.node(world, body.uid)
        honest = {sn.name for sn in self._swarm.sns if sn.honest}
        return known is not None and not honest.isdisjoint(reporters(world, known))

    def _published(self, before: Training, after: Training, sender: str, body: Publish) -> None:
        current = before.round
        require(current is not None, "a result without a round")
        assert current is not None
        what = f"the result of round {body.round}, term {body.term}, by {sender}"
        require(current.number == body.round, f"{what} while round {current.number} is in progress")
        require(current.term == body.term, f"{what} wins although the term is {current.term}")
        require(current.leader == sender, f"{what} wins although {current.leader} leads")
        kept = sum(part.reason == "kept-back" for part in body.receipt.exclusions)
        require(len(body.receipt.contributions) + kept >= self._min_peers, f"{what} has too few contributors")
        revoked = self.shut_out.intersection(part.uid for part in body.receipt.contributions)
        require(not revoked, f"{what} has the models of {revoked}, whose certificates are revoked")
        key = (after.run, body.round)
        require(key not in self._standing, f"{what} stands beside another of the same round")
        self._standing[key] = body.result
        kept = body.result in self._sites[sender].store.held or (sender, body.result) in self.damaged
        require(kept or body.result == current.base, f"{what} is not kept by {sender}")
        for part in (one for one in body.receipt.contributions if one.uid in self._sites):
            entry = current.submissions[part.uid]
            if entry.kind in ("trained", "carried"):
                base = self.made_from[part.digest]
                require(not current.base or base == current.base, f"{what} takes a model of {part.uid} on another base")
                hidden = self.slices.is_hidden(before, body.round, part.digest)
                finite = part.digest not in self.poisoned or hidden
                require(finite, f"{what} takes a model of {part.uid} that is not finite")
                origins = self.handed[part.digest]
                twice = origins & self._taken.keys()
                require(not twice, f"{what} takes what {part.uid} handed over a second time")
                if part.coefficient:  # with initial sync `one` the others' models are not in the result
                    self._taken.update(dict.fromkeys(origins, body.round))

    def _submitted(self, sender: str, body: Submit) -> None:
        if body.base and sender in self._sites:  # without one everybody hands in what it has
            require(self.made_from[body.digest] == body.base, f"{sender} submits to round {body.round} on a false base")

    def _given(self, sender: str, body: Submit) -> None:
        """Checks that a site with a privacy lock submits what the lock has made, within its budget."""
        site = self._sites.get(sender)
        if site is None:
            return
        given = site.store.given
        require(site.lock is not None or body.privacy is None, f"{sender} states a privacy lock that it does not have")
        if site.lock is not None:
            require(body.digest not in site.store.private, f"{sender} submits what its lock has not made")
            silent = body.digest in given and body.privacy is None
            require(not silent, f"{sender} gives a model and does not state its lock")
            require(len(given) <= site.lock.budget, f"{sender} has given more than its budget")

    def _deposed(self, before: Training, after: Training, sender: str) -> None:
        was, now = before.round, after.round
        assert was is not None
        assert now is not None
        prompt = self._prompt and not self._swarm.intruders
        own = sender == was.leader
        serves = not (self._swarm.sliced and getattr(self._sites.get(was.leader), "trickling", False))
        # Else nobody gets what it has merged, or it does not get what others have (seed 533).
        reaches = not self._swarm.struck[BROKEN_PAIR]
        waits = own or was.term == now.term or not (prompt and serves and reaches)
        require(waits, f"{was.leader} stands still in round {was.number}")

    def _voided(self, before: Training, after: Training, number: int) -> None:
        alive = {uid for uid, one in before.members.items() if one.attendance in ("present", "ml-lost")}
        if before.result is not None:
            holding = alive.difference(before.result.missing)
            given_up = alive.intersection((*before.result.given_up, *before.result.slow))
            holders = alive.intersection(before.result.holders)
        else:
            assert before.round is not None
            holding = holders = alive.difference(before.round.base_missing)
            given_up = alive.intersection(before.round.base_given_up)
        few = bool(given_up) and (not self._enough(holding) or self._are_fewer(holders, given_up))
        if self._swarm.intruders:
            honest = alive.intersection(self._sites)
            # Where they cannot go on without the others anyway, these may have the round made again (seed 30008664).
            harmless = not self._enough(honest) or not honest <= holding
            require(harmless, f"round {number} is void although no honest site misses it")
            few = True
        require(not holding or few, f"round {number} is void although {holding} have not said that they miss it")
        if before.result is not None:
            del self._standing[before.run, number]
            self._terms.pop((before.run, number + 1), None)
        kept = number if after.round and after.round.base else 0  # without a base all that was learned is lost
        self._taken = {digest: taken for digest, taken in self._taken.items() if taken < kept}

    def _enough(self, uids: Iterable[str]) -> bool:
        """True if the honest sites among these can go on by themselves."""
        return self._swarm.enough([self._sites[uid] for uid in uids if uid in self._sites])

    def _are_fewer(self, holders: set[str], given_up: set[str]) -> bool:
        if self._swarm.min_organisations == 1:
            return len(holders) < len(given_up)
        has, lacks = (
            {self._sites[uid].organisation for uid in uids & self._sites.keys()} for uids in (holders, given_up)
        )
        return len(has) <= len(lacks)

    def _advanced(self, before: Training, after: Training) -> None:
        was, now = before.round, after.round
        if before.terms != after.terms and not after.rounds:  # laid down anew while nothing was merged
            self._terms.pop((after.run, 0), None)
        if now is not None:
            key = (after.run, now.number)
            require(now.term >= self._terms.get(key, 0), f"round {now.number} goes back to term {now.term}")
            self._terms[key] = now.term
        if was is not None and now is not None and was.number != now.number:
            onward = now.number == was.number + 1 and now.term == 0
            again = now.number == was.number - 1 and after.result is None
            require(onward or again, f"round {was.number} is followed by {now.number}")
        if after.over and not before.over:
            finished = sum(member.finished for member in after.members.values())
            require(finished >= self._min_peers, f"training is over though only {finished} have finished")
            honest = any(after.members[uid].finished for uid in after.members.keys() & self._sites.keys())
            require(honest, "training is over though no honest site has finished")
        if after.settled and not before.settled:
            holders = after.result.holders if after.result else ()
            given_up = after.result.given_up if after.result else ()
            impatient = len(after.result.impatient) >= self._min_peers if after.result else False
            enough = (*holders, *given_up) if len(holders) >= max(self._min_peers, len(given_up)) else holders
            hostile = self._swarm.intruders
            lacking = [
                uid
                for uid, one in after.members.items()
                if one.present and uid not in enough and not (hostile and uid in (*given_up, *hostile))
            ]
            require(
                after.over and (impatient or not lacking),
                f"the final model is settled though {lacking} have not got it",
            )
        leader = after.members[now.leader].attendance if now and now.leader else "present"
        require(leader in ("present", "ml-lost"), f"the leader is {leader}")
        for member in after.members.values():
            if not 0 <= member.contributed <= after.rounds:
                raise Violation(f"{member.uid} is credited with {member.contributed}")
            if member.awaited and not member.present:
                raise Violation(f"{member.uid} is awaited though {member.attendance}")
            node = network.node(self._log.head.world, member.uid)
            current = node is not None and node.incarnation == member.incarnation
            if not current and member.present:
                raise Violation(f"{member.uid} was started again and has not opened a session yet")

    # --- what a site does -------------------------------------------------------------------------------------------

    def refused(self, site: "Site", body: object, why: Rejection) -> None:
        """Checks that a live process is refused only what the chain has superseded."""
        expected = EXPECTED | OF_A_PUBLISH if isinstance(body, Publish) else EXPECTED
        if site.revoked:
            expected |= {Code.REVOKED}
        if why.code not in expected:
            raise Violation(f"{site.uid} is refused {type(body).__name__}: {why}")

    def begins(self, site: "Site", work: Work) -> None:
        """Checks that a site does nothing twice at once, and merges or carries over one model at a time."""
        if isinstance(work, Fetch):
            twice = work.digest in site.fetching
        elif isinstance(work, MergeSlice | FetchSlice):
            twice = work in site.work
        else:
            twice = any(isinstance(one, type(work)) for one in site.work)
        self.work.begins(site, work)
        if twice:
            raise Violation(f"{site.uid} begins {type(work).__name__} beside another: {work}")

    def tidies(self, site: "Site", kept: Iterable[str]) -> None:
        if stale := site.fetching.difference(kept):
            raise Violation(f"{site.uid} tidies away what it is fetching: {stale}")
        result = self._log.training(-1).result
        if result is not None and self._publisher == (site.uid, site.life):
            require(result.digest in kept, f"{site.uid} tidies away the result that it has published")
        self.slices.tidies(site, kept)

    def finished(self, site: "Site") -> None:
        require(self._log.training(site.link.height).settled, f"{site.uid} finishes though nothing is settled")

    def ended(self, site: "Site") -> None:
        """Checks an ML process that has ended cleanly."""
        require(self._log.training(-1).settled, f"{site.uid} ends with a model that may still be void")

    def acknowledged(self, entry: SignedTransaction, height: int) -> None:
        """Checks that an acknowledged transaction is on the chain."""
        if self._log.entries[height] is not entry:
            raise Violation(f"{entry.content.body} was acknowledged at {height} and is not there")

    def carried(self, site: "Site", task: Carry) -> None:
        """Checks that a change is carried over since what it was trained from, and that none is added to itself."""
        require(
            self.made_from[task.digest] == task.base, f"{site.uid} carries its change since a model it did not have"
        )
        twice = self.handed[task.digest] & self.handed.get(task.onto, frozenset()) if self.is_own(task.onto) else ()
        require(not twice, f"{site.uid} adds what it has handed over to itself")

    def is_own(self, digest: str) -> bool:
        """Whether this is what a site has trained from a result, rather than a result: with initial sync `one` the
        first is a model that a site has handed over."""
        return digest in self.handed and self.made_from[digest] != ""

    def failed(self, site: "Site", text: str) -> None:
        what = f"the ML process of {site.uid} is failed: {text}"
        expected = (*TOO_LATE, RESET, *([Code.REVOKED] if site.revoked else []))
        require(any(known in text for known in expected), what)
        require(site.uid in site.swarm.harmed, f"though nothing has befallen it, {what}")
        self.failures.append((site.uid, text))
