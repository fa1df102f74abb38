"""Links that are cut now and then, and what rounds at the limit would make of them: arithmetic only."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple


class Span(NamedTuple):
    """Seconds since the beginning."""

    begin: float
    end: float


@dataclass(frozen=True)
class Cuts:
    """A link is down for `long` seconds in every `every`, the first time at `phase`."""

    phase: float
    every: float
    long: float

    def spans(self) -> Iterator[Span]:
        """All cuts, for ever."""
        begin = self.phase
        while True:
            yield Span(begin, begin + self.long)
            begin += self.every

    def after(self, begin: float, moving: float) -> float:
        """The moment at which the link has been up for `moving` seconds since `begin`."""
        end = begin + moving
        for cut in self.spans():
            if cut.begin >= end:
                return end
            end += max(0.0, cut.end - max(cut.begin, begin))
        raise AssertionError("cuts do not end")


def cuts_of(seed: int, sites: int, every: float, long: float) -> list[Cuts]:
    """Each site's cuts, with phases from this seed."""
    random = Random(seed)
    return [Cuts(random.uniform(0.0, every), every, long) for _ in range(sites)]


def share(training: Sequence[Span], seconds: float) -> float:
    """The share of the first `seconds` that these spans cover."""
    return sum(max(0.0, min(span.end, seconds) - span.begin) for span in training) / seconds


def share_at_limit(
    cuts: Sequence[Cuts], limit: float, train: float, seconds: float, deaths: Mapping[int, float]
) -> float:
    """The mean share of the time that living sites would train if each round took no longer than it must.

    A site trains for `train` seconds and hands over. Once all living ones have, the round begins; at each site it ends
    when its link has been up for `limit` seconds since. `deaths`: sites, from 0, and when they die.
    """
    training: list[list[Span]] = [[Span(0.0, train)] for _ in cuts]
    begin = 0.0
    while begin < seconds:
        ready = [spans[-1].end for site, spans in enumerate(training) if spans[-1].end < deaths.get(site, math.inf)]
        begin = max(ready)
        for spans, cut in zip(training, cuts, strict=True):
            end = cut.after(begin, limit)
            spans.append(Span(end, end + train))
    living = [spans for site, spans in enumerate(training) if site not in deaths]
    return sum(share(spans, seconds) for spans in living) / len(living)
