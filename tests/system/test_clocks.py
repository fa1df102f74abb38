"""SNs whose clocks are wrong, by real processes under libfaketime."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from support.processes import Processes
from support.sns import Network, ThisHost
from support.swarm import assert_complete
from support.tools import libfaketime, needs
from swarmlearning.identity import ca
from swarmlearning.ledger.bodies import Publish

HOUR_MS = 3_600_000
ROUND_MS = 5_000


class Skewed(ThisHost):
    """This machine; on host 3 the clock is off by so many seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self._seconds = seconds

    def command(self, host: int) -> Sequence[str]:
        if host != 3:
            return ()
        faked = (f"LD_PRELOAD={libfaketime()}", f"FAKETIME={self._seconds:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC=1")
        return ("env", *faked)


@needs("etcd")
@needs("faketime")
@pytest.mark.parametrize(("seconds", "how"), [(3600, "ahead of"), (-3600, "behind")])
def test_rounds_go_on_and_an_sn_whose_clock_is_an_hour_off_is_named(
    seconds: int, how: str, processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ca, "CLOCK_SKEW", timedelta(hours=2))  # TLS judges certificates by the wrong clock too
    net = Network(processes, tmp_path, Skewed(seconds))
    net.found(3)
    named = f"the clock of SN SN-3 is 3600 s {how} the others'"
    for number in (1, 3):
        net.until_status(number, lambda status: any(named in alarm for alarm in status["alarms"]))
    sites = [net.start_site(number, "--rounds", "4", "--min-peers", "2", at=number) for number in (1, 2)]
    assert_complete(sites)
    net.assert_one_chain(1, 2, 3)
    times = [header.time_ms for header, _ in net.transactions(1)]
    assert max(times) - min(times) < HOUR_MS / 2, "no block has the time of the wrong clock"
    published = [header.time_ms for header, tx in net.transactions(1) if isinstance(tx.content.body, Publish)]
    assert len(published) >= 4
    assert max(after - before for before, after in pairwise(published)) < ROUND_MS
