"""A small language for stories of simulated swarms: the same swarm in many orders of events, and moments in it."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from simulation.faults import Fault, strike
from simulation.scenario import Scenario
from simulation.site import SETTINGS, Plan
from simulation.swarm import Swarm
from swarmlearning.ledger.bodies import Publish, Submit
from swarmlearning.ledger.contracts.training.state import Phase, Result, Training
from swarmlearning.views.render import waiting_text

SEEDS = range(12)
"""Orders of events for each story."""
LATENCIES = (0.01, 0.1, 0.5)
"""From quick to as slow as training."""
FOR_A_WHILE = 60.0
LATE = math.inf
CANNOT_LEAD = replace(SETTINGS, make_me_admin=False)


def swarms(*plans: Plan, min_peers: int) -> Iterator[Swarm]:
    """The same swarm (`sl-1`, `sl-2`, …) in as many orders of events; who joins `LATE` is not started."""
    for seed in SEEDS:
        scenario = Scenario(plans, min_peers, latency=LATENCIES[seed % len(LATENCIES)], doubling=0.1)
        swarm = Swarm(scenario, seed)
        swarm.until_healed(FOR_A_WHILE)  # so long messages come twice
        yield swarm


def round_open(number: int, submitted: int = 0, phase: Phase = "collecting") -> Callable[[Training], bool]:
    """True if this round is in progress, with so many models, in this phase."""

    def reached(state: Training) -> bool:
        now = state.round
        return now is not None and (now.number, len(now.submissions), now.phase) == (number, submitted, phase)

    return reached


def published(number: int) -> Callable[[Training], bool]:
    return lambda state: state.result is not None and state.result.closed.number == number


def held_by_two(state: Training) -> bool:
    return state.result is not None and len(state.result.holders) == 2


def standing(swarm: Swarm) -> Result:
    assert swarm.training.result is not None
    return swarm.training.result


def submits(swarm: Swarm) -> list[tuple[str, Submit]]:
    """Returns all submissions in order, each with its sender."""
    sent = [entry.content for entry in swarm.log.accepted]
    return [(one.sender, one.body) for one in sent if isinstance(one.body, Submit)]


def published_by_all(swarm: Swarm) -> list[Publish]:
    """Every merge that was published, also those of too few models, which have no result."""
    bodies = [entry.content.body for entry in swarm.log.accepted]
    return [body for body in bodies if isinstance(body, Publish)]


def results(swarm: Swarm) -> list[Publish]:
    return [body for body in published_by_all(swarm) if body.result]


def left_out(swarm: Swarm) -> set[tuple[str, str]]:
    """Returns the sites whose models were not merged, with the reasons."""
    return {(part.uid, part.reason) for body in results(swarm) for part in body.receipt.exclusions}


def reasons(swarm: Swarm) -> dict[str, str]:
    """Returns the text that each waiting ML process is shown."""
    waiting = {uid: site.machine.waiting for uid, site in swarm.sites.items() if site.machine}
    return {uid: waiting_text(facts, {}) for uid, facts in waiting.items() if facts}


def strikes(swarm: Swarm, fault: Fault, uid: str, lasts: float = FOR_A_WHILE) -> Callable[[], None]:
    """Lets the fault strike this site, later."""
    return lambda: strike(swarm, fault, swarm.sites[uid], lasts)


def run(swarm: Swarm, without: Iterable[str] = ()) -> None:
    """Until all have ended: well and with the final model, but those `without` an ML process or who came too late."""
    assert swarm.run() == "complete"
    for uid, site in swarm.sites.items():
        if not site.dead and uid not in without and site.script.failed is None:
            assert site.script.final == standing(swarm).digest, uid
