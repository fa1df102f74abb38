"""`swarm status` says how fast the chain grows, and nothing of an SN that does not tell its size."""

import pytest

from support.scripted_sn import STATUS
from swarmlearning.cli.status import show
from swarmlearning.views.growth import YEAR_MS

DAY_MS = 24 * 3600 * 1000
NOW_MS = 1_800_000_000_000


def shown(capsys: pytest.CaptureFixture[str], **facts: object) -> str:
    show({**STATUS, "height": 9899, "time_ms": NOW_MS, "alerts": [], **facts})
    return capsys.readouterr().out


def test_the_growth_of_a_round_and_of_a_year_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    training = {"name": "lungs", "rounds": 1000, "text": "", "waiting": {}}
    text = shown(capsys, chain_bytes=22_900_000, founded_ms=NOW_MS - DAY_MS, trainings=[training])
    assert "chain: 23 MB in 9900 blocks, 23 kB and 9.9 blocks a round, 8.4 GB in a year like this" in " ".join(
        text.split()
    )
    assert YEAR_MS // DAY_MS * 22_900_000 == 8_358_500_000


def test_an_older_sn_tells_no_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert "chain:" not in shown(capsys)
