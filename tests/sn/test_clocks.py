"""Blocks are dated by the median of the SNs' clocks, and an SN whose clock is off is named."""

from typing import cast

import pytest

from support.mining import Site
from swarmlearning.api.client import SnClient, Unavailable
from swarmlearning.ledger.bodies import Announce
from swarmlearning.ledger.contracts import network
from swarmlearning.node.clocks import clock_ms, correction
from swarmlearning.sn.clocks import Clocks, creeping, describe

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("offsets", "added"),
    [
        ([], 0),
        ([500], 0),
        ([HOUR], 0),
        ([-HOUR], -HOUR),
        ([0, HOUR], 0),
        ([0, -HOUR], 0),
        ([HOUR, HOUR + 40], HOUR),
        ([-HOUR, -HOUR - 40], -HOUR),
        ([-HOUR, HOUR], 0),
        ([5, -5, -HOUR, -HOUR], 0),
        ([-HOUR, -HOUR, -HOUR, 3], -HOUR),
    ],
)
def test_an_sn_dates_blocks_by_the_median_of_all_clocks_and_of_two_by_the_earlier(
    offsets: list[int], added: int
) -> None:
    assert correction(offsets) == added


@pytest.mark.parametrize(
    ("offsets", "text"),
    [
        ({}, ""),
        ({"SN-2": 500, "SN-3": -700}, ""),
        ({"SN-2": 500}, ""),
        ({"SN-2": -HOUR}, "the clocks of SN SN-1 and SN SN-2 differ by 3600 s; blocks go by the earlier"),
        ({"SN-2": HOUR, "SN-3": 100}, "the clock of SN SN-2 is 3600 s ahead of the others'"),
        ({"SN-2": HOUR, "SN-3": HOUR}, "the clock of SN SN-1 is 3600 s behind the others'"),
        (
            {"SN-2": HOUR, "SN-3": 0, "SN-4": -HOUR, "SN-5": 0},
            "the clock of SN SN-2 is 3600 s ahead of the others'; the clock of SN SN-4 is 3600 s behind the others'",
        ),
    ],
)
def test_whoever_s_clock_is_off_is_named(offsets: dict[str, int], text: str) -> None:
    assert describe("SN-1", offsets) == text


class Other:
    """Another SN as far as it is asked for its time: so far ahead, or down."""

    def __init__(self, name: str, ahead: int | None) -> None:
        self.address, self.ahead = f"{name}:1", ahead

    async def clock(self) -> int:
        if self.ahead is None:
            raise Unavailable("down")
        return clock_ms() + self.ahead


async def test_a_comparison_uses_the_names_on_the_ledger_and_those_that_answer() -> None:
    site = Site()
    site.ledger.send("sn-2", Announce({"api": "two:1"}), network.CONTRACT)
    others = [Other("two", -HOUR), Other("three", -HOUR), Other("four", None)]
    clocks = Clocks("SN-1", lambda: cast(list[SnClient], others), lambda: site.ledger.chain)
    assert abs(clocks.now_ms() - clock_ms()) < 60_000
    await clocks.compare()
    assert abs(clocks.now_ms() + HOUR - clock_ms()) < 60_000
    assert clocks.alarm.startswith("the clock of SN SN-1 is 3600 s ahead of the others'; the ledger's time is 3")
    others[0].ahead, others[1].ahead = None, None
    await clocks.compare()
    assert abs(clocks.now_ms() + HOUR - clock_ms()) < 60_000, "nobody answers, so what was found stands"
    others[0].ahead, others[1].ahead = HOUR, 0
    await clocks.compare()
    assert abs(clocks.now_ms() - clock_ms()) < 60_000
    assert clocks.alarm == "the clock of SN sn-2 is 3600 s ahead of the others'"


def test_a_ledger_whose_time_is_ahead_is_named_and_one_within_the_bound_is_not() -> None:
    assert creeping(HOUR, 0).startswith("the ledger's time is 3600 s ahead of this SN's clock")
    assert creeping(network.AHEAD_MS, 0) == ""
    assert creeping(0, HOUR) == ""
