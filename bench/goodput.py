"""How much of the time sites train whose links are thin and fail: eight of them, with real sockets.

Each site is an SL and a participant in a network namespace of its own. A participant sleeps, as if it trained, and
hands its model over; so round after round. Each link is cut now and then, at phases from a seed, which is printed; one
site is killed. Measured is, from the end of round 0, the share of the time that the participants slept: mean over the
sites that live. Beside it stands the same for rounds that take no longer than any exchange must, under the same cuts
(`linkcuts.py`), and for one merging site.
"""

import argparse
import asyncio
import math
import os
import statistics
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from time import monotonic
from typing import get_args

import msgspec

from linkcuts import Cuts, Span, cuts_of, share, share_at_limit
from linkrow import Link, limit_seconds, wire_bytes
from linkswarm import STAR, LinkSwarm, Network, Site, identities_for, link_swarm, mergers, network, participant_options
from machine import Failed, busy_seconds, run_benchmark
from support.tools import lacks
from swarmlearning.choices import Transfer, TransferBack
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.bodies import Publish, Void
from swarmlearning.supervise.processes import Processes

START_SECONDS = 300.0
KILLED_BETWEEN = 0.25, 0.75
"""The shares of the time between which a site is killed."""


class Outcome(msgspec.Struct, frozen=True):
    """The line that `--json` prints.

    `share`: of the time that the living sites trained, mean; `each_share`: each one's; `limit_share`: with rounds at
    the limit, `limit_s` without cuts; `star_share`: with one merging site. `rounds` were merged, from `contributors`
    sites each (mean); `rounds_lost` had a result that nobody could get, or none. `killed` died at `killed_at_s`.
    `cores` were busy with the swarm, `other_cores` with other work. `transfer` and `back`: how values travel to those
    who merge, and back; the limit is that of so many bytes.
    """

    nodes: int
    mb: int
    mbit: float
    seconds: float
    train_s: float
    cut_s: float
    every_s: float
    seed: int
    transfer: str
    back: str
    killed: str
    killed_at_s: float
    mergers: int
    share: float
    limit_share: float
    star_share: float | None
    rounds: int
    rounds_lost: int
    contributors: float
    each_share: dict[str, float]
    limit_s: float
    cores: float
    other_cores: float


@dataclass(frozen=True)
class Plan:
    """What happens, in seconds from the end of round 0."""

    nodes: int
    mb: int
    mbit: float
    seconds: float
    train: float
    cut: float
    every: float
    seed: int
    transfer: Transfer = "float32"
    back: TransferBack = "float32"

    @property
    def cuts(self) -> list[Cuts]:
        """Each site's."""
        return cuts_of(self.seed, self.nodes, self.every, self.cut)

    @property
    def death(self) -> tuple[int, float]:
        """The site that dies, from 0, and when."""
        random = Random(-self.seed - 1)
        return random.randrange(self.nodes), self.seconds * random.uniform(*KILLED_BETWEEN)

    @property
    def links(self) -> list[Link]:
        """Each site's."""
        return [Link(self.mbit, self.mbit)] * self.nodes

    @property
    def limit(self) -> float:
        """Seconds of a round, at least, without cuts."""
        return limit_seconds(wire_bytes(self.mb, self.transfer), self.links, wire_bytes(self.mb, self.back))


@dataclass(frozen=True)
class Run:
    """What a swarm made of it. `shares`: those of the sites that live, by name."""

    shares: dict[str, float]
    mergers: int
    rounds: int
    lost: int
    contributors: float
    cores: float
    other_cores: float

    @property
    def share(self) -> float:
        """Mean over the sites."""
        return statistics.mean(self.shares.values())


async def measure(folder: Path, plan: Plan) -> Outcome:
    """Runs the plan, and once more with one merging site where there were several. Raises `Failed`, `RunError`."""
    identities = identities_for(folder / "cert", plan.nodes)
    run = await _in_network(folder, identities, plan, {})
    star: Run | None = run
    if run.mergers > 1:
        star = await _in_network(folder / "star", identities, plan, STAR)
        if star.mergers > 1:
            print(f"goodput: star_share is absent: {STAR} makes no star", file=sys.stderr)
            star = None
    victim, death = plan.death
    at_limit = share_at_limit(plan.cuts, plan.limit, plan.train, plan.seconds, {victim: death})
    return Outcome(
        nodes=plan.nodes,
        mb=plan.mb,
        mbit=plan.mbit,
        seconds=plan.seconds,
        train_s=plan.train,
        cut_s=plan.cut,
        every_s=plan.every,
        seed=plan.seed,
        transfer=plan.transfer,
        back=plan.back,
        killed=f"SL-{victim + 1}",
        killed_at_s=round(death, 1),
        mergers=run.mergers,
        share=round(run.share, 3),
        limit_share=round(at_limit, 3),
        star_share=round(star.share, 3) if star else None,
        rounds=run.rounds,
        rounds_lost=run.lost,
        contributors=round(run.contributors, 2),
        each_share={name: round(each, 3) for name, each in run.shares.items()},
        limit_s=round(plan.limit, 2),
        cores=round(run.cores, 2),
        other_cores=round(run.other_cores, 2),
    )


async def _in_network(folder: Path, identities: Workspace, plan: Plan, environment: Mapping[str, str]) -> Run:
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    model = participant_options(max(2, plan.nodes // 2), plan.mb)
    try:
        with network(folder, plan.links) as made:
            async with (
                Processes(folder, os.environ) as processes,
                link_swarm(processes, made, folder, identities, model, environment, plan.transfer, plan.back) as swarm,
            ):
                async with asyncio.timeout(START_SECONDS + 10 * 2 * plan.nodes * plan.mb * 8 / plan.mbit):
                    await swarm.rounds(1)
                return await _run(swarm, made, plan)
    except TimeoutError as error:
        raise Failed("round 0 took far longer than with one merging site on such links") from error
    except OSError as error:
        raise Failed(str(error)) from error


async def _run(swarm: LinkSwarm, made: Network, plan: Plan) -> Run:
    before, cpu, busy, begin = len(swarm.transactions()), made.cpu_seconds(), busy_seconds(), monotonic()
    trainings: dict[str, list[Span]] = {site.name: [] for site in swarm.sites}
    with suppress(TimeoutError):
        async with asyncio.timeout(plan.seconds), asyncio.TaskGroup() as tasks:
            working = {
                site: tasks.create_task(_train(swarm, site, trainings[site.name], plan.train, begin))
                for site in swarm.sites
            }
            for host, cuts in enumerate(plan.cuts, start=1):
                tasks.create_task(_cut(made, host, cuts, begin))
            victim, death = plan.death
            await _until(begin + death)
            site = swarm.sites[victim]
            working[site].cancel()
            await swarm.kill(site)
    spent, took = made.cpu_seconds() - cpu, monotonic() - begin
    others = max(0.0, busy_seconds() - busy - spent)
    since = swarm.transactions()[before:]
    results = [signed.content.body for signed in since if isinstance(signed.content.body, Publish)]
    merged = [body for body in results if body.result]
    return Run(
        shares={site.name: share(trainings[site.name], plan.seconds) for site in swarm.sites},
        mergers=mergers(since) if merged else 0,
        rounds=len(merged),
        lost=len(results) - len(merged) + sum(isinstance(signed.content.body, Void) for signed in since),
        contributors=statistics.mean(len(body.receipt.contributions) for body in merged) if merged else 0.0,
        cores=spent / took,
        other_cores=others / took,
    )


async def _train(swarm: LinkSwarm, site: Site, training: list[Span], seconds: float, zero: float) -> None:
    """Until cancelled: the participant waits for its turn, as one that trains, then hands over and gets the result."""
    while True:
        begin = monotonic() - zero
        training.append(Span(begin, math.inf))
        await asyncio.sleep(seconds)
        training[-1] = Span(begin, monotonic() - zero)
        swarm.begin([site])
        await swarm.one_done(site)


async def _cut(made: Network, host: int, cuts: Cuts, zero: float) -> None:
    for span in cuts.spans():
        await _until(zero + span.begin)
        made.links.cut(host)
        await _until(zero + span.end)
        made.links.mend(host)


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - monotonic()))


def table(outcome: Outcome) -> str:
    """For people."""
    star = "absent" if outcome.star_share is None else f"{outcome.star_share:.3f}"
    each = ", ".join(f"{name} {value:.3f}" for name, value in outcome.each_share.items())
    return "\n".join(
        [
            f"{outcome.nodes} sites, {outcome.mb} MB, {outcome.mbit:g} Mbit/s, {outcome.seconds:g} s; "
            f"{outcome.train_s:g} s of training a round; each link cut for {outcome.cut_s:g} s every "
            f"{outcome.every_s:g} s, seed {outcome.seed}; {outcome.killed} killed after {outcome.killed_at_s:g} s; "
            f"values travel as {outcome.transfer}, and back as {outcome.back}",
            "",
            f"  share of the time spent training  {outcome.share:.3f}   ({each})",
            f"  with rounds at the limit          {outcome.limit_share:.3f}   (a round of {outcome.limit_s:.2f} s)",
            f"  with one merging site             {star}   mergers here: {outcome.mergers}",
            f"  rounds merged                     {outcome.rounds}   of {outcome.contributors:.2f} sites each",
            f"  rounds lost                       {outcome.rounds_lost}",
            f"  cores busy                        {outcome.cores:.2f}   others: {outcome.other_cores:.2f}",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=8, help="sites (default %(default)s)")
    parser.add_argument("--mb", type=int, default=25, help="size of the model, 10^6 bytes (default %(default)s)")
    parser.add_argument("--mbit", type=float, default=30.0, help="Mbit/s of each link (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=900.0, help="from the end of round 0 (default %(default)s)")
    parser.add_argument("--train", type=float, default=120.0, help="seconds of training a round (default %(default)s)")
    parser.add_argument("--cut", type=float, default=20.0, help="seconds that a link is cut (default %(default)s)")
    parser.add_argument("--every", type=float, default=120.0, help="seconds from cut to cut (default %(default)s)")
    parser.add_argument("--seed", type=int, help="phases of the cuts, and who is killed when; default: at random")
    parser.add_argument("--transfer", choices=get_args(Transfer), default="float32", help="how changes are coded")
    parser.add_argument("--transfer-back", choices=get_args(TransferBack), default="float32", help="how merges are")
    parser.add_argument("--json", action="store_true", help="print a line of JSON instead of a table")
    options = parser.parse_args()
    if options.nodes < 3 or min(options.mb, options.mbit, options.seconds, options.train) <= 0:
        parser.error("at least 3 sites, one of which dies, need a model, links, and time to train")
    if not 0 <= options.cut < options.every:
        parser.error("a link is cut for less time than from one cut to the next")
    if why := lacks("tbf"):
        print(f"goodput: {why}", file=sys.stderr)
        sys.exit(2)
    seed = SystemRandom().randrange(10**6) if options.seed is None else options.seed
    known = {name: getattr(options, name) for name in ("nodes", "mb", "mbit", "seconds", "train", "cut", "every")}
    plan = Plan(**known, seed=seed, transfer=options.transfer, back=options.transfer_back)
    outcome = run_benchmark("goodput", partial(measure, plan=plan))
    print(msgspec.json.encode(outcome).decode() if options.json else table(outcome))


if __name__ == "__main__":
    main()
