"""How fast a chain grows, from its blocks."""

from functools import reduce

import pytest

from support.network import Ledger
from support.rounds import finish, report_all, three_sites
from swarmlearning.ledger.chain import Step
from swarmlearning.ledger.history import round_count, rounds, steps
from swarmlearning.views.growth import YEAR_MS, Growth


def grown(ledger: Ledger) -> Growth:
    return reduce(Growth.after, steps(ledger.blocks), Growth())


def test_all_blocks_count_for_the_rounds_that_they_bring() -> None:
    ledger = three_sites()
    assert grown(ledger).a_round is None
    finish(ledger)
    report_all(ledger)
    found = grown(ledger)
    assert found.size == sum(map(len, ledger.blocks))
    assert found.blocks == len(ledger.blocks)
    assert found.rounds >= 1
    assert found.a_round == found.size // found.rounds


def test_a_year_is_as_the_time_from_the_first_block_to_the_last_and_not_said_of_seconds() -> None:
    assert Growth(10_000, 5, 1, 1, 59_000).a_year is None
    assert Growth(10_000, 5, 1, 1000, 3_601_000).a_year == 10_000 * YEAR_MS // 3_600_000
    assert str(Growth(22_900_000, 9_900, 1000, 0, 0)).startswith("chain: 23 MB in 9900 blocks, 23 kB and 9.9 blocks")


def test_rounds_are_counted_without_the_state_that_each_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = three_sites()
    finish(ledger)
    walked = list(steps(ledger.blocks))
    assert [round_count(step) for step in walked] == [len(list(rounds([step]))) for step in walked]
    monkeypatch.setattr(Step, "world_at", None)
    assert reduce(Growth.after, walked, Growth()).rounds == 1
