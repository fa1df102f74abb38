"""The resilience report: the effect of faults on a swarm."""

from collections.abc import Collection, Iterable, Sequence
from statistics import median

import msgspec

from swarmlearning.cli.chaos.inject import Injected
from swarmlearning.cli.chaos.plan import Plan
from swarmlearning.cli.report import Report
from swarmlearning.ledger.bodies import Publish, Void
from swarmlearning.ledger.chain import Step
from swarmlearning.ledger.contracts.training.state import Training, awaited, state_of
from swarmlearning.views.nodes import sl_names
from swarmlearning.views.training import main_contract


class Recovery(msgspec.Struct, frozen=True):
    """Seconds from a fault to the next merge, over all faults; null where there was none."""

    median: float | None
    max: float | None


class ResilienceReport(msgspec.Struct, frozen=True):
    """`faults` and `rounds` are counts; `participation` is the number of rounds to which each site contributed."""

    plan: str
    seed: int
    faults: int
    recovery_s: Recovery
    rounds: int
    rounds_lost: int
    participation: dict[str, int]
    digests_equal: bool
    ledger_verified: bool


def resilience(
    plan: Plan, seed: int, injected: Sequence[Injected], walked: Sequence[Step], run: Report
) -> ResilienceReport:
    """The report; `walked` is the verified chain, `run` the ordinary report of the run."""
    recoveries = [each.recovery_s for each in injected]
    return ResilienceReport(
        plan=plan.name,
        seed=seed,
        faults=len(injected),
        recovery_s=Recovery(round(median(recoveries), 3), max(recoveries)) if recoveries else Recovery(None, None),
        rounds=len(run.rounds),
        rounds_lost=lost_rounds(walked, {(each.round, each.site) for each in injected if each.took_down}),
        participation={site: sum(site in each.contributors for each in run.rounds) for site in run.digests},
        digests_equal=bool(run.model) and set(run.digests.values()) == {run.model},
        ledger_verified=run.ledger_verified,
    )


def problems(report: ResilienceReport, plan: Plan, run: Report) -> list[str]:
    """The signs that a swarm has not survived; empty when there are none. Lost rounds are a figure, no failure."""
    found = [] if run.over and run.ledger_verified else [run.status]
    if not report.digests_equal:
        held = ", ".join(f"{name} {digest or 'none'}" for name, digest in run.digests.items())
        found.append(f"the sites do not hold the ledger's final model {run.model}: {held}")
    if report.faults < plan.faults:
        found.append(f"training was over after {report.faults} of {plan.faults} faults; train longer, or plan fewer")
    return found


def lost_rounds(walked: Iterable[Step], struck: Collection[tuple[int, str]] = ()) -> int:
    """Counts rounds whose result was void, and rounds that closed with fewer than the members that were up.

    A member is up if it was present and awaited when the contributors were fixed, and has been present ever since. The
    ledger learns of a death only after a while; `struck` names the rounds in which sites went down.
    """
    lost, before, up = 0, None, frozenset[str]()
    for step in walked:
        contract = main_contract(step.chain.world)
        after, names = state_of(step.chain.world, contract), sl_names(step.chain.world)
        bodies = [tx.content.body for tx in step.block.transactions if tx.content.contract == contract]
        if before is not None and step.void is None:
            up = _still_up(before, after, up)
            for body in bodies:
                if isinstance(body, Publish) and body.result:
                    missed = up - {part.uid for part in body.receipt.contributions}
                    lost += any((body.round, names[uid]) not in struck for uid in missed)
                lost += isinstance(body, Void)
        before = after
    return lost


def _still_up(before: Training, after: Training, up: frozenset[str]) -> frozenset[str]:
    there = {uid for uid, member in after.members.items() if member.present}
    if after.round and after.round.phase == "frozen" and not (before.round and before.round.phase == "frozen"):
        up = frozenset({*after.round.submissions, *awaited(before)})
    return up & there
