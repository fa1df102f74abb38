"""What an SL reads off the ledger of rounds that are merged in slices, and of what members have checked."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import Metric

from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.node.metrics import gauge, gauges
from swarmlearning.views.checks import round_checks
from swarmlearning.views.names import Names, name_of
from swarmlearning.views.sliced import RoundWay, round_way

SLICES: Final = {
    "round_sliced": "1 where the round in progress is merged in slices, 0 where one leader merges it.",
    "way_seconds": "From the freeze until all have the result, as measured last, by `way`: `leader`, `slices`.",
    "slices": "Slices of the round in progress.",
    "slices_awaited": "Of these, slices that are still to come, by the `site` that merges them.",
    "slices_moved": "Of these, slices that were given to another member.",
    "slice_faults": "Models that mergers of this round could not get, or use.",
    "slice_exclusions": "Contributors that are left out of all slices of this round.",
    "slice_share": "The part of this round's model that each `site` merges, 0 to 1.",
    "link_up_bytes_per_second": "What each `site` can send, as it states it.",
    "link_down_bytes_per_second": "What each `site` can receive, as it states it.",
    "checked_round": "The last round whose result was merged in slices.",
    "checked_ratio": "How much of it members have checked, 0 to 1.",
    "checked_wrong_slices": "Slices of it in which a member has found other bytes than the models give.",
}
"""Of the training of an SL."""


def of_slices(state: Training, names: Names) -> Iterator[Metric]:
    """Those of this training, as far as there is anything to tell."""
    if (way := round_way(state)) is not None:
        yield from _of_way(way, names)
    if (checks := round_checks(state)) is not None:
        yield from gauge(SLICES, "checked_round", checks.round)
        yield from gauge(SLICES, "checked_ratio", checks.checked)
        yield from gauge(SLICES, "checked_wrong_slices", len(checks.wrong))


def _of_way(way: RoundWay, names: Names) -> Iterator[Metric]:
    yield from gauge(SLICES, "round_sliced", int(way.sliced))
    took = {"leader": way.leader_ms, "slices": way.sliced_ms}
    yield gauges(SLICES, "way_seconds", ["way"], [((each,), ms / 1000) for each, ms in took.items() if ms])
    if not way.mergers:
        return
    yield from gauge(SLICES, "slices", sum(each.slices for each in way.mergers))
    yield from gauge(SLICES, "slices_moved", sum(len(each.slices) for each in way.moved))
    yield from gauge(SLICES, "slice_faults", sum(len(each.slices) for each in way.faults))
    yield from gauge(SLICES, "slice_exclusions", len(way.left_out))
    sites = [(name_of(names, each.uid), each) for each in way.mergers]
    yield gauges(SLICES, "slices_awaited", ["site"], [((name,), way.waits.get(one.uid, 0)) for name, one in sites])
    yield gauges(SLICES, "slice_share", ["site"], [((name,), one.share) for name, one in sites])
    for what, speeds in (
        ("up", {name: one.up for name, one in sites}),
        ("down", {name: one.down for name, one in sites}),
    ):
        known = [((name,), speed) for name, speed in speeds.items() if speed]
        yield gauges(SLICES, f"link_{what}_bytes_per_second", ["site"], known)
