"""The outcome of a soak, made of its samples and its chain: what held, what broke, and the series. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import pairwise
from statistics import median

import msgspec

from soak.faults import SPARED
from soak.plots import Points, plot
from soak.verdict import JUDGED_SECONDS, Judgement, bound_of, judge
from soak.watching import Sample
from swarmlearning.ledger.bodies import Void
from swarmlearning.ledger.chain import Step
from swarmlearning.ledger.history import rounds
from swarmlearning.views.growth import Growth
from swarmlearning.views.nodes import sl_names


class Outcome(msgspec.Struct, frozen=True):
    """What a soak has found; `verdict`: held, broke (`faults_found` says what), or too short to judge growth.

    `round_s` are points of (seconds since the beginning, seconds since the result before).
    """

    verdict: str
    faults_found: list[str]
    seed: int
    seconds: float
    struck: dict[str, int]
    rounds: int
    void_rounds: int
    rounds_without_a_spared_site: int
    median_round_s: float
    slowest_round_s: float
    median_load: float
    growth: Growth
    judgements: list[Judgement]
    round_s: list[tuple[float, float]]
    samples: list[Sample]


def outcome(
    samples: Sequence[Sample], walked: Sequence[Step], begin_ms: int, seed: int, struck: Mapping[str, int]
) -> Outcome:
    """`walked`: the verified chain; `begin_ms`: when the first sample's second 0 was, by the clock of the blocks."""
    times = [record.time_ms for record in rounds(walked) if record.time_ms >= begin_ms]
    round_s = [((later - begin_ms) / 1000, (later - earlier) / 1000) for earlier, later in pairwise(times)]
    seconds = samples[-1].at_s
    judgements = [
        judge(name, points, bound_of(name)) for name, points in series(samples, round_s).items() if len(points) > 1
    ]
    voids = sum(isinstance(tx.content.body, Void) for step in walked for tx in step.block.transactions)
    found = [f"block {step.chain.height} is void: {step.void}" for step in walked if step.void is not None]
    if seconds >= JUDGED_SECONDS:
        found += [
            f"{each.series} grew by {each.growth:g}, of which {each.allowed:g} may be chance"
            for each in judgements
            if not each.flat
        ]
    held = "held" if seconds >= JUDGED_SECONDS else f"held; too short to judge growth ({JUDGED_SECONDS:.0f} s)"
    return Outcome(
        verdict="broke" if found else held,
        faults_found=found,
        seed=seed,
        seconds=seconds,
        struck=dict(struck),
        rounds=len(times),
        void_rounds=voids,
        rounds_without_a_spared_site=_without_spared(walked, begin_ms),
        median_round_s=round(median(length for _, length in round_s), 2),
        slowest_round_s=round(max(length for _, length in round_s), 2),
        median_load=median(sample.load for sample in samples),
        growth=reduce(Growth.after, (step for step in walked if step.block.header.time_ms >= begin_ms), Growth()),
        judgements=judgements,
        round_s=[(round(at, 1), round(length, 2)) for at, length in round_s],
        samples=list(samples),
    )


def _without_spared(walked: Sequence[Step], begin_ms: int) -> int:
    """The rounds that closed without a site that was there all the time."""
    names = sl_names(walked[-1].chain.world)
    spared = {uid for uid, name in names.items() if name.replace("site", "SL") in SPARED}
    return sum(not spared.issubset(each.contributed) for each in rounds(walked) if each.time_ms >= begin_ms)


def series(samples: Sequence[Sample], round_s: Points) -> dict[str, Points]:
    """All series that are judged, by a name that begins with what is measured."""
    found: dict[str, Points] = {}
    for field in ("memory_mb", "descriptors", "disk_mb"):
        looks: list[tuple[float, dict[str, float]]] = [(sample.at_s, getattr(sample, field)) for sample in samples]
        for part in sorted({part for _, values in looks for part in values}):
            found[f"{field} {part}"] = [(at, float(values[part])) for at, values in looks if part in values]
    found["answer_ms SN-1"] = [(sample.at_s, sample.answer_ms) for sample in samples]
    found["round_s"] = round_s
    ends = [at for at, _ in round_s]
    for part in sorted(samples[-1].cpu_s):
        if not part.endswith(("keeper", "script")):
            found[f"cpu_ms_a_round {part}"] = list(_cpu_a_round(samples, part, ends))
    return found


def _cpu_a_round(samples: Sequence[Sample], part: str, ends: Sequence[float]) -> Iterator[tuple[float, float]]:
    """CPU milliseconds a round between two samples; one that no round ended between is added to the next."""
    known = [sample for sample in samples if part in sample.cpu_s]
    before = known[0]
    for sample in known[1:]:
        count = sum(before.at_s < end <= sample.at_s for end in ends)
        if count:
            yield sample.at_s, 1000 * (sample.cpu_s[part] - before.cpu_s[part]) / count
            before = sample


def plots(found: Outcome) -> dict[str, str]:
    """The plots of a soak as SVG, by file name."""
    all_series = series(found.samples, found.round_s)

    def part(field: str) -> dict[str, Points]:
        return {
            name.partition(" ")[2]: points
            for name, points in all_series.items()
            if name.startswith(f"{field} ") and not name.endswith("keeper")
        }

    disk = {**part("disk_mb"), "chain of SN-1": [(sample.at_s, sample.chain_mb) for sample in found.samples]}
    return {
        "soak-memory.svg": plot("Memory of the spared processes", "MB", part("memory_mb")),
        "soak-descriptors.svg": plot("Open descriptors", "", part("descriptors")),
        "soak-disk.svg": plot("Disk of all data directories without chains, and one chain", "MB", disk),
        "soak-latency.svg": plot("Seconds from result to result", "s", {"round": found.round_s}),
        "soak-answers.svg": plot("SN-1's answer to a request for its state", "ms", part("answer_ms")),
        "soak-cpu.svg": plot("CPU time a round", "ms", part("cpu_ms_a_round")),
    }


def text(found: Outcome) -> str:
    """The outcome for people."""
    lines = [
        f"{found.verdict}: {found.seconds:.0f} s, seed {found.seed}, {found.rounds} rounds, faults: "
        + ", ".join(f"{count} {kind}" for kind, count in sorted(found.struck.items())),
        *found.faults_found,
        f"rounds: median {found.median_round_s} s, slowest {found.slowest_round_s} s; {found.void_rounds} void, "
        f"{found.rounds_without_a_spared_site} closed without a spared site; load of the machine {found.median_load}",
        str(found.growth),
        f"{'series':<34}{'median':>10}{'growth':>10}{'allowed':>10}",
    ]
    for each in found.judgements:
        note = "" if each.flat else "  <-- grows"
        lines.append(f"{each.series:<34}{each.median:>10.4g}{each.growth:>10.3g}{each.allowed:>10.3g}{note}")
    return "\n".join(lines)
