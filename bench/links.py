"""Rounds over thin links, beside the least time that any exchange needs, one merging site, and raw TLS on those links.

Every site is an SL and a participant in a network namespace of its own, behind a link whose rate, delay and loss the
kernel keeps; see `linkrow.py` for how a row is written and what its limit is. A round's time is that from the first
hand-over until the last site holds the merged model. A row in which processors work more than 1.5 cores is repeated
behind links of half the rate, and both are printed. A row that cannot be made is left out, with a line to say why.
"""

import argparse
import asyncio
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import sub
from pathlib import Path
from time import monotonic

import msgspec

from linkkill import kill_merger
from linkpeer import hivemind_seconds, lacking
from linkraw import raw_seconds
from linkrow import MEGABYTE, ROWS, Row, parse
from linkswarm import STAR, LinkSwarm, Network, identities_for, link_swarm, mergers, network, participant_options
from machine import Failed, busy_seconds, reason, run_apart
from participant import Done
from round import round_seconds
from support.pings import ping_seconds
from support.thinlinks import Moved
from support.tools import lacks
from swarmlearning.identity.workspace import Workspace
from swarmlearning.supervise.processes import Processes, RunError

WARM_UP = 1
MOST_ROUNDS = 3
LONG_SECONDS = 300.0
"""Of measured rounds as a star makes them; where they would take longer there are fewer."""
MOST_CORES = 1.5
START_SECONDS = 300.0
TIMES_THE_STAR = 6
"""Times as long as a star's limit that rounds may take until a row is given up."""


class Outcome(msgspec.Struct, frozen=True):
    """A row; the line that `--json` prints.

    `rtt_ms`: a ping between two sites; `mergers`: how many sites merged a round; `median_s`: of the `rounds` measured,
    each of which is in `each_s`, or with `kill` the one in which a merger died; `limit_s`: see `limit_seconds`;
    `star_s`: the same with one merging site; `hivemind_s`: hivemind's all-reduce on the same links, its matchmaking
    included; `raw_s`: one TLS stream with the model, from the last site to the first;
    `bytes_per_site`: sent in a round, mean over the sites; `busiest_bytes`: the most that one sent or received;
    `cpu_s`: CPU seconds a round of all nodes and participants; `undisturbed_s`: median of the rounds before the kill;
    `other_cores`: how many cores worked for others meanwhile, the kernel's own work included.
    """

    row: str
    nodes: int
    mb: int
    mbit_up: float
    mbit_down: float
    rtt_ms: float
    loss: float
    mergers: int
    median_s: float
    limit_s: float
    star_s: float | None
    hivemind_s: float | None
    raw_s: float
    bytes_per_site: int
    busiest_bytes: int
    cpu_s: float
    undisturbed_s: float | None
    rounds: int
    each_s: list[float]
    other_cores: float
    congestion: str


@dataclass(frozen=True)
class Rounds:
    """Rounds of one swarm. `sent`: bytes a round and site, mean; `busiest`: the most that one link carried one way in a
    round, median; `disturbed_s`: with a merger killed."""

    seconds: list[float]
    mergers: int
    sent: float
    busiest: float
    cpu_s: float
    other_cores: float
    disturbed_s: float | None


async def measure(folder: Path, row: Row, rounds: int, beside: bool) -> Outcome:
    """Makes the links of a row and measures what goes over them, with hivemind `beside` us. Raises `Failed`, `RunError`
    (alone or in a group) and `TimeoutError`."""
    identities = identities_for(folder / "cert", row.nodes)
    try:
        with network(folder, row.links, row.rtt_ms, row.loss) as made:
            rtt = 1000 * ping_seconds(made.hosts, 1, row.nodes)
            raw = await asyncio.to_thread(raw_seconds, made.hosts, identities, row.nodes, 1, row.mb * MEGABYTE)
            found = await _swarm(folder, made, identities, row, rounds, {})
            star: Rounds | None = found
            if found.mergers > 1:
                await asyncio.to_thread((folder / "star").mkdir)
                star = await _swarm(folder / "star", made, identities, row, rounds, STAR)
            peer = await _hivemind(folder, made, row, rounds) if beside else None
    except TimeoutError as error:
        raise Failed("its rounds took far longer than with one merging site on such links") from error
    except OSError as error:
        raise Failed(str(error)) from error
    if star is not None and star.mergers > 1:
        print(f"bench-links: {row.name}: star_s is absent: {STAR} makes no star", file=sys.stderr)
        star = None
    return _outcome(row, rounds, rtt, raw, found, star, peer)


async def _hivemind(folder: Path, made: Network, row: Row, rounds: int) -> float | None:
    """Median seconds; None, and a line to say why, where there are none."""
    why = lacking(row)
    if not why:
        try:
            return await hivemind_seconds(made, folder, row, rounds)
        except* (RunError, TimeoutError) as group:
            why = f"it failed: {reason(group)}"
    print(f"bench-links: {row.name}: hivemind_s is absent: {why}", file=sys.stderr)
    return None


async def _swarm(
    folder: Path, made: Network, identities: Workspace, row: Row, rounds: int, environment: Mapping[str, str]
) -> Rounds:
    model = participant_options(row.nodes - row.kill, row.mb, row.method)
    seconds = START_SECONDS + TIMES_THE_STAR * (WARM_UP + rounds + row.kill) * row.star_limit_s
    async with (
        asyncio.timeout(seconds),
        Processes(folder, os.environ) as processes,
        link_swarm(processes, made, folder, identities, model, environment, row.transfer, row.back) as swarm,
    ):
        return await _rounds(swarm, made, identities, row, rounds)


async def _rounds(swarm: LinkSwarm, made: Network, identities: Workspace, row: Row, rounds: int) -> Rounds:
    await swarm.rounds(WARM_UP)
    cpu, busy, begin = made.cpu_seconds(), busy_seconds(), monotonic()
    seconds: list[float] = []
    traffic: list[list[Moved]] = []
    for _ in range(rounds):
        before = _moved(made)
        [done] = await swarm.rounds(1)
        seconds.append(round_seconds(done))
        traffic.append([Moved(*map(sub, now, then)) for now, then in zip(_moved(made), before, strict=True)])
    cpu_s, took = made.cpu_seconds() - cpu, monotonic() - begin
    others = max(0.0, (busy_seconds() - busy - cpu_s) / took)
    disturbed: Sequence[Done] = ()
    if row.kill:
        disturbed = await kill_merger(
            swarm, identities, statistics.median(seconds) / 3
        )  # half of a star's round: the result stands
    return Rounds(
        seconds=seconds,
        mergers=mergers(swarm.transactions()),
        sent=statistics.mean(each.sent for one in traffic for each in one),
        busiest=statistics.median(max(map(max, one)) for one in traffic),
        cpu_s=cpu_s / rounds,
        other_cores=others,
        disturbed_s=round_seconds(disturbed) if disturbed else None,
    )


def _moved(made: Network) -> list[Moved]:
    return [made.links.moved(host) for host in range(1, made.sites + 1)]


def _outcome(
    row: Row, rounds: int, rtt: float, raw: float, found: Rounds, star: Rounds | None, peer: float | None
) -> Outcome:
    def seconds(each: Rounds) -> float:
        return round(each.disturbed_s or statistics.median(each.seconds), 3)

    return Outcome(
        row=row.name,
        nodes=row.nodes,
        mb=row.mb,
        mbit_up=row.up,
        mbit_down=row.down,
        rtt_ms=round(rtt, 2),
        loss=row.loss,
        mergers=found.mergers,
        median_s=seconds(found),
        limit_s=round(row.limit_s, 3),
        star_s=seconds(star) if star else None,
        hivemind_s=round(peer, 3) if peer else None,
        raw_s=round(raw, 3),
        bytes_per_site=round(found.sent),
        busiest_bytes=round(found.busiest),
        cpu_s=round(found.cpu_s, 3),
        undisturbed_s=round(statistics.median(found.seconds), 3) if row.kill else None,
        rounds=rounds,
        each_s=[round(each, 3) for each in found.seconds],
        other_cores=round(found.other_cores, 2),
        congestion=Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
    )


def table(outcome: Outcome) -> str:
    """For people."""
    megabytes = outcome.bytes_per_site / MEGABYTE, outcome.busiest_bytes / MEGABYTE
    raw_rate = outcome.mb * 8 / outcome.raw_s
    lines = [
        f"{outcome.row}: {outcome.nodes} sites, {outcome.mb} MB, {outcome.mbit_up:g} Mbit/s up, {outcome.mbit_down:g} "
        f"down, ping {outcome.rtt_ms:.2f} ms, loss {100 * outcome.loss:g} %, {outcome.congestion}",
        "",
        f"  round, median    {outcome.median_s:8.2f} s   {outcome.median_s / outcome.limit_s:.2f} x the limit; "
        f"mergers: {outcome.mergers}; each: {', '.join(f'{each:.2f}' for each in outcome.each_s)}",
        f"  limit            {outcome.limit_s:8.2f} s",
        f"  one merger       {outcome.star_s:8.2f} s" if outcome.star_s is not None else "  one merger       absent",
        f"  hivemind         {outcome.hivemind_s:8.2f} s" if outcome.hivemind_s else "  hivemind         absent",
        f"  raw TLS          {outcome.raw_s:8.2f} s   {raw_rate:.1f} Mbit/s",
        f"  sent by a site   {megabytes[0]:8.1f} MB  busiest link: {megabytes[1]:.1f} MB one way",
        f"  CPU              {outcome.cpu_s:8.2f} s   others: {outcome.other_cores:.2f} cores",
    ]
    if outcome.undisturbed_s is not None:
        lines.insert(3, f"  no merger killed {outcome.undisturbed_s:8.2f} s")
    return "\n".join(lines)


def rounds_for(row: Row) -> int:
    """How many rounds are measured: each site of unequal ones leads once; few where one takes minutes."""
    wanted = max(MOST_ROUNDS, row.nodes if row.slow != 1 else 0)
    return max(1, min(wanted, int(LONG_SECONDS / row.star_limit_s)))


def run_row(row: Row, options: argparse.Namespace) -> float:
    """Measures and prints a row; returns how many cores it kept busy. Raises `Failed`."""
    rounds = options.rounds or rounds_for(row)
    outcome = run_apart(partial(measure, row=row, rounds=rounds, beside=not options.alone))
    print(msgspec.json.encode(outcome).decode() if options.json else table(outcome) + "\n", flush=True)
    return outcome.cpu_s / statistics.mean(outcome.each_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), help="as in 4x25@200 or 4x25@10/50,rtt=100")
    parser.add_argument("--rounds", type=int, help="measured rounds; default: 3, fewer where one takes minutes")
    parser.add_argument("--alone", action="store_true", help="without hivemind beside it")
    parser.add_argument("--json", action="store_true", help="print JSON, a line for each row, instead of tables")
    options = parser.parse_args()
    try:
        rows = list(map(parse, options.rows))
    except ValueError as error:
        parser.error(str(error))
    if options.rounds is not None and options.rounds < 1:
        parser.error("at least 1 round is measured")
    if why := lacks("tbf"):
        print(f"bench-links: {why}", file=sys.stderr)
        sys.exit(2)
    failed = False
    for row in rows:
        try:
            cores = run_row(row, options)
            if cores > MOST_CORES:
                print(
                    f"bench-links: {row.name}: {cores:.1f} cores were busy: once more at half the rate", file=sys.stderr
                )
                run_row(row.at_half_the_rate(), options)
        except Failed as error:
            print(f"bench-links: {row.name} is absent: {error}", file=sys.stderr)
            failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
