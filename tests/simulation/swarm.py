"""A whole swarm in virtual time: its SNs and SLs, the network between them, and the faults that a seed causes.

Real are the chain with its contracts (but for signatures), every SL's round machine, and what an SN makes of leases.
A model of them are the ordered log, leases, SNs, the network, stores, transfers, merges and ML processes.

`run` ends when every site has ended, or when those that are left wait for sites that are gone for good and say so.
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Collection
from typing import TypeAlias

from simulation.clock import Clock
from simulation.intruder import Intruder
from simulation.invariants import Witness
from simulation.ledger import Log, Presence, Sn
from simulation.locks import can_begin
from simulation.moments import Moments
from simulation.outersteps import NESTEROV, sound
from simulation.scenario import Scenario, is_deposed_at_work, traits
from simulation.shown import short
from simulation.site import Site
from simulation.telling import names_those_missing
from simulation.violation import Violation, require
from swarmlearning.ledger.bodies import MergeMethod, Publish, Weigh
from swarmlearning.ledger.contracts.network.watching import MANY_ORGANISATIONS
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.contracts.training.steps import companions
from swarmlearning.ledger.transaction import SignedTransaction
from swarmlearning.rounds.machine import RoundMachine
from swarmlearning.views.render import participation_text, waiting_text
from swarmlearning.views.training import participation, waiting

ROUND_BOUND = 600.0
"""Seconds in which a round must close, or training end, once all faults are over: several slow trainings (a straggler's
with the longest adaptive interval takes 4 minutes), graces and doubled time-outs."""
SILENT_BOUND = 1500.0
"""The same where merges cannot be seen to move and patience is shorter than they take: each leader is deposed several
times until its patience has doubled often enough (seed 20013218, where a site drips beside that)."""
TRICKLE_BOUND = 4000.0
"""The same where a site serves results so slowly that they never come: others give a result up only after 30 times as
long as results needed that they got, twice that where it is made again, and slow sites need 40 s (seed 952)."""
WAITING_BOUND = 300.0
"""Seconds without progress once all faults are over, after which sites that cannot go on name those they wait for."""
LOST_SECONDS = 10.0
"""Seconds until the loss of a site is on the ledger, in a network without other faults."""
LOOK_SECONDS = 10.0
SILENCE_SECONDS = 6.0
"""Seconds until a follower of an SN notices that it receives nothing any more."""
FAILOVER_SECONDS = 2.0
LATE_SECONDS = 20.0
SKEW_MS = 60_000
LARGE_MODEL = 2**22
"""Bytes of a model, where rounds are merged in slices: enough for some slices a site."""
MOST_ROUNDS = 40
"""Rounds after which those that lack sites of enough organisations to end count as waiting, while others contribute."""
STEPS = 16
"""Events between two checks of whether the run is over."""
MAX_STEPS = 1_000_000

Trace: TypeAlias = Callable[[float, str, str], None]


class Swarm:
    """`seed` decides in what order things happen. `trace` is called with (seconds, who, what). `sliced`: models are so
    large that rounds are merged in slices."""

    def __init__(
        self, scenario: Scenario, seed: int, trace: Trace | None = None, *, sliced: bool = False, stepped: bool = False
    ) -> None:
        self.seed, self.size = seed, LARGE_MODEL if sliced else 1
        self.sliced = sliced
        self.method: MergeMethod = "geomedian" if sliced and random.Random(f"method {seed}").random() < 0.4 else "mean"
        self.outer = NESTEROV if stepped else None
        self.dice = random.Random(f"order {seed}")
        self.clock = Clock(self.dice, scenario.haste)
        self.log = Log()
        self.min_peers = scenario.min_peers
        self.sites: dict[str, Site] = {}
        self.intruders: dict[str, Intruder] = {}
        self.operator = "SWCI"
        self.min_organisations = 1
        self.witness = Witness(self, scenario.prompt)
        self.moments = Moments()
        self.struck: Counter[str] = Counter()
        self.moves: Counter[str] = Counter()
        self.harmed: set[str] = set()
        self._trace = trace
        self._scenario = scenario
        self._blocked_until = 0.0
        self._cuts: list[tuple[set[str], set[str]]] = []
        self._healed_at = 0.0
        self._progress: tuple[tuple[int, bool], float] = ((0, False), 0.0)
        self.presence = Presence(self)
        self.sns: list[Sn] = []
        for index in range(scenario.sns):
            self.sns.append(Sn(self, f"sn-{index + 1}", self.dice.randint(-SKEW_MS, SKEW_MS)))
            self.struck["skewed clock"] += 1
        self.log.found(self.sns[0].author)
        for sn in self.sns[1:]:
            sn.register()
        for uid, plan in ((f"sl-{number}", plan) for number, plan in enumerate(scenario.plans, 1)):
            self.sites[uid] = Site(self, uid, sound(plan) if self.outer else plan, self.dice.randrange(scenario.sns))
        for sn in self.sns:
            sn.advance()
        for site in self.sites.values():
            self.struck.update(traits(site.plan))
            if scenario.leaves_behind or site.plan.lag or site.plan.joins:
                self.harmed.add(site.uid)
            if site.plan.joins < math.inf:
                self.until_healed(site.plan.joins)
                self.clock.after(site.plan.joins, site.start)
        self.struck["haste"] += scenario.haste > 0
        self.clock.after(LOOK_SECONDS, self._look)

    @property
    def training(self) -> Training:
        """The newest state of the training."""
        return self.log.training(-1)

    @property
    def hasty(self) -> bool:
        """True if timers fire before their time."""
        return self._scenario.haste > 0

    def note(self, who: str, what: str) -> None:
        if self._trace:
            self._trace(self.clock.now, who, what)

    # --- the network ------------------------------------------------------------------------------------------------

    @property
    def healed(self) -> bool:
        return self.clock.now > self._healed_at

    def until_healed(self, seconds: float) -> None:
        """Notes that a fault lasts this many seconds from now."""
        self._healed_at = max(self._healed_at, self.clock.now + seconds)

    def reach(self, one: str, other: str) -> bool:
        return not self._cuts or not any((one in a and other in b) or (one in b and other in a) for a, b in self._cuts)

    def delay(self) -> float:
        """Draws the seconds that a message takes; others may overtake it, sometimes many."""
        late = self.dice.uniform(0.0, LATE_SECONDS) if self._happens("late message", self._scenario.lateness) else 0.0
        return self.dice.expovariate(1 / self._scenario.latency) + late

    def lag(self, site: Site) -> float:
        """Draws the seconds that it takes longer on this site's link."""
        return self.dice.expovariate(1 / site.plan.lag) if site.plan.lag else 0.0

    def loses(self) -> bool:
        return self._happens("lost message", self._scenario.loss)

    def doubles(self) -> bool:
        return self._happens("doubled message", self._scenario.doubling)

    def _happens(self, what: str, probability: float) -> bool:
        """Draws whether this fault befalls a message, while there are faults."""
        if not probability or self.healed or self.dice.random() >= probability:
            return False
        self.struck[what] += 1
        return True

    def cut(self, part: set[str], others: set[str], seconds: float) -> None:
        """Lets nothing pass between these for a while."""
        self.note("network", f"{sorted(part)} and {sorted(others)} do not hear each other")
        gap = (part, others)
        self._cuts.append(gap)
        self.clock.after(seconds, lambda: self._cuts.remove(gap))
        self._streams_break(SILENCE_SECONDS)

    def _streams_break(self, seconds: float) -> None:
        """Lets every site notice, after this many seconds, that it cannot reach its SN any more."""
        for site in self.sites.values():
            if site.alive:
                site.at(seconds, site.link.look_for_sn)

    def contributes(self, uid: str, digest: str) -> bool:
        """Returns whether this model is the site's contribution to the round in progress, and not the result."""
        current, result = self.training.round, self.training.result
        submission = current.submissions.get(uid) if current else None
        return submission is not None and submission.digest == digest and not (result and result.digest == digest)

    # --- SNs --------------------------------------------------------------------------------------------------------

    def can_order(self) -> bool:
        return self.clock.now >= self._blocked_until and 2 * sum([sn.joined for sn in self.sns]) > len(self.sns)

    def append(self, entry: SignedTransaction, sn: Sn) -> int:
        """Orders a transaction by way of this SN. Raises `Rejection`."""
        known = len(self.log.chains)
        height = self.log.append(entry, int(sn.time * 1000) + sn.skew_ms)
        if height == known:
            if self._trace:
                self.note(entry.content.sender, f"[{height}] {short(entry.content.body)}")
            self.witness.block(entry)
            self.struck["contribution left out as too slow"] += _leaves_out_slow(entry)
            self._spread(sn)
            self.moments.block(self.log.training(height), self.sites)
            if isinstance(entry.content.body, Weigh) and entry.content.sender in self.sites:
                self.moment("weighed", self.sites[entry.content.sender])
        return height

    def seal_void(self, sn: Sn) -> None:
        """Orders a block of this SN that breaks the rules."""
        self.note(sn.name, f"[{len(self.log.chains)}] seals a void block")
        self.log.void(sn.name)
        self._spread(sn)

    def _spread(self, sealer: Sn) -> None:
        """Lets the SNs learn of the newest block."""
        for other in self.sns:
            other.at(0.0 if other is sealer else self.delay(), other.advance)

    def shown(self, sn: Sn) -> None:
        """Notifies the followers of this SN of new blocks."""
        for site in self.sites.values():
            if site.alive and site.link.sn is sn:
                site.link.see()

    def leases_changed(self) -> None:
        for sn in self.sns:
            sn.look()

    def can_spare_sn(self, sn: Sn) -> bool:
        """Returns whether the honest SNs are the majority among those that lie even without this one."""
        honest = [other for other in self.sns if other.honest and other.joined and other is not sn]
        lying = [other for other in self.sns if not other.honest]
        if len({other.organisation for other in self.sns}) >= MANY_ORGANISATIONS:
            return len({other.organisation for other in honest}) > len({other.organisation for other in lying})
        return not lying or len(honest) > len(lying)

    def crash_sn(self, sn: Sn) -> None:
        self.note(sn.name, "crashes")
        sn.alive = False
        if len(self.sns) == 1:
            self.presence.forget()
        self._fail_over()
        self._streams_break(0.1)

    def restart_sn(self, sn: Sn) -> None:
        self.note(sn.name, "is there again")
        sn.restart()

    def freeze_sn(self, sn: Sn) -> None:
        self.note(sn.name, "is frozen")
        sn.frozen = True
        self._fail_over()
        self._streams_break(SILENCE_SECONDS)

    def thaw_sn(self, sn: Sn) -> None:
        self.note(sn.name, "goes on")
        sn.wake()
        sn.at(0.0, sn.advance)
        sn.at(0.0, sn.look)

    def join_sn(self, sn: Sn) -> None:
        self.note(sn.name, "hears the others")
        sn.isolated = False
        sn.at(0.0, sn.advance)

    def _fail_over(self) -> None:
        """Blocks ordering until the SNs have elected another leader of etcd, which this SN may have been."""
        if len(self.sns) > 1 and self.dice.random() < 1 / len(self.sns):
            self._blocked_until = self.clock.now + self.dice.uniform(0.5, FAILOVER_SECONDS)
            self.presence.extend()

    # --- the run ----------------------------------------------------------------------------------------------------

    def moment(self, moment: str, site: Site) -> None:
        """Performs what is due at this moment of a leader."""
        self.moments.at(moment, self.training.rounds, site)

    def can_spare(self, site: Site) -> bool:
        """Returns whether the others suffice, one of whom may lead, if none of them is gone later."""
        others = [other for other in self.sites.values() if other is not site]
        sound = [other for other in others if other.serves and not other.dead]
        return self.enough(sound) and any(other.plan.settings.make_me_admin for other in sound)

    def enough(self, sites: Collection[Site]) -> bool:
        """Returns whether these are enough to go on with."""
        organisations = {site.organisation for site in sites}
        return len(sites) >= self.min_peers and len(organisations) >= self.min_organisations

    def unjam(self, site: Site) -> None:
        self.note(site.uid, "gets on again")
        site.jammed = False
        self.until_healed(0.0)

    def run(self) -> str:
        """Returns the outcome: `complete`, `waits` (for sites that are gone), `gone` (all are). Raises `Violation`."""
        while not (outcome := self._outcome()):
            require(self.clock.run(STEPS), "nothing happens any more, and training is not over")
            if self.clock.steps > MAX_STEPS:
                raise Violation(f"it goes round in circles: {self._text()}")
        if outcome == "complete":
            self._check_end()
        return outcome

    def _outcome(self) -> str:
        if self._waits or (self.intruders and self.training.rounds > MOST_ROUNDS and not self.can_go_on(self.training)):
            return "waits"
        if all(site.dead for site in self.sites.values()):
            return "gone"
        if all(site.dead or (site.finished and not site.alive) for site in self.sites.values()):
            return "complete"
        return ""

    _waits = False

    def _look(self) -> None:
        """Checks from time to time that the training makes progress."""
        self.clock.after(LOOK_SECONDS, self._look)
        training = self.training
        if (state := (training.rounds, training.over)) != self._progress[0]:
            self._progress = (state, self.clock.now)
        since = self.clock.now - max(self._progress[1], self._healed_at)
        if since > WAITING_BOUND:
            able = self.can_go_on(training)
            require(not able or since <= self._bound(), f"no progress for {since:.0f} s: {self._text()}")
            if not able and not any(site.jammed for site in self.sites.values()):
                self._check_waiting()
        if since > LOST_SECONDS:
            gone = [uid for uid, site in self.sites.items() if site.dead and uid in training.members]
            missed = [uid for uid in gone if training.members[uid].present]
            require(not missed, f"nobody has noticed that {missed} are gone")

    def _bound(self) -> float:
        """Returns the seconds in which a round must close once all faults are over."""
        if self.intruders or any(site.trickling for site in self.sites.values()):
            return TRICKLE_BOUND
        return SILENT_BOUND if any(map(is_deposed_at_work, self._scenario.plans)) else ROUND_BOUND

    def can_go_on(self, training: Training) -> bool:
        """Returns whether the sites left can go on: enough of them, one that may lead, and the model to go on from."""
        out = [site for site in self.sites.values() if site.dead or site.jammed or not site.serves]
        here = [site for site in self.sites.values() if site not in out and not site.came_too_late]
        if training.over:
            here = [site for site in here if site.uid in training.members]  # nobody joins any more
        result, jammed = training.result, any(site.jammed for site in self.sites.values())
        base = training.round.base if training.round and result is None else ""
        needed = result.digest if result and jammed else base  # else all can say that they miss it
        if training.over and jammed:
            return False  # who is there has to have the final model
        models = {needed, *companions(training, needed)}
        model = any(models <= site.store.whole for site in here if site.alive) if needed else can_begin(training, here)
        if needed and not model and result is None:  # a base that fewer may have than miss it is done without
            model = self._outnumber(here, [site for site in out if not site.dead])
        return self.enough(here) and any(site.plan.settings.make_me_admin for site in here) and model

    def _outnumber(self, sites: Collection[Site], holders: Collection[Site]) -> bool:
        """Returns whether these do without what others hold, or say that they hold: see the contract's `outnumber`."""
        if self.min_organisations == 1:
            return len(sites) > len(holders)
        claim = {node.organisation for node in self.intruders.values() if node.kind == "SL"}
        return len({site.organisation for site in sites}) >= len(claim | {site.organisation for site in holders})

    def _check_waiting(self) -> None:
        """Checks that, when too few sites are left, the state names those that the others wait for."""
        others_are_there = bool(self.intruders) or any(site.dripping or site.trickling for site in self.sites.values())
        for site in self.sites.values():
            if not site.dead and site.script.process is not None and site.machine is not None:
                text = _waits(site.machine)
                told = others_are_there or names_those_missing(text, self.sites)
                require(told, f"{site.uid} waits and is told: {text}")
        self._waits = True

    def _check_end(self) -> None:
        training = self.training
        require(training.over and training.result is not None, "all have ended though training is not over")
        assert training.result is not None
        text = participation_text(participation(training), {})
        calm = self._scenario.calm and not self.intruders  # who need not contribute
        require(not calm or text.startswith("complete"), f"though nothing has happened: {text}")
        for site in self.sites.values():
            if not site.dead and site.script.failed is None and site.script.final:
                require(site.script.final == training.result.digest, f"{site.uid} ends with another model")

    def _text(self) -> str:
        return waiting_text(waiting(self.training), {})


def _waits(machine: RoundMachine) -> str:
    return waiting_text(machine.waiting, {}) if machine.waiting else ""


def _leaves_out_slow(entry: SignedTransaction) -> int:
    body = entry.content.body
    return sum(part.reason == "too-slow" for part in body.receipt.exclusions) if isinstance(body, Publish) else 0
