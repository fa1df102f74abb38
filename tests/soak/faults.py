"""The faults of a soak, by a seed. Pure: the same seed gives the same lanes.

In each lane one fault comes after the other, so that never more is down at once than there are lanes. The nodes of no
lane are *spared*: what they hold after an hour is what a node holds that has worked for an hour.
"""

from collections.abc import Iterator, Mapping
from itertools import cycle
from random import Random
from types import MappingProxyType
from typing import Literal, NamedTuple

Kind = Literal["kill", "stop", "freeze", "damage"]
"""SIGKILL and a new start; SIGTERM and a new start; SIGSTOP for a while; a byte of a stored model is flipped."""

LANES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"SNs": ("SN-2", "SN-3"), "SLs": ("SL-2", "SL-3", "SL-4"), "more SLs": ("SL-5", "SL-6", "SL-7")}
)
SPARED = ("SN-1", "SL-1", "SL-8")
KINDS: Mapping[str, tuple[Kind, ...]] = MappingProxyType(
    {"SN": ("kill", "stop", "freeze"), "SL": ("kill", "kill", "stop", "freeze", "damage")}
)
REST_SHARES = (0.3, 1.7)
"""Of the rest between two faults of a lane, at least and at most."""
DOWN_SECONDS = (0.5, 8.0)
"""Some less than a lease, some much more."""


class Fault(NamedTuple):
    """What happens to a node after a rest, and for how many seconds."""

    rest_s: float
    kind: Kind
    node: str
    seconds: float


def faults(lane: str, seed: int, rest_s: float) -> Iterator[Fault]:
    """The faults of a lane, without end, about `rest_s` apart: each node of it once before any comes again."""
    random = Random(f"{lane} {seed}")
    for _ in cycle((None,)):
        for node in random.sample(LANES[lane], len(LANES[lane])):
            kind = random.choice(KINDS[node[:2]])
            yield Fault(rest_s * random.uniform(*REST_SHARES), kind, node, random.uniform(*DOWN_SECONDS))
