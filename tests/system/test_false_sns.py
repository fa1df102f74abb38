"""An SN that seals what it must not, in a network of real processes."""

import sys
from collections.abc import Sequence
from pathlib import Path

from support import false_sn
from support.processes import Processes
from support.sns import Network, ThisHost
from support.swarm import Gate, assert_complete
from support.tools import needs
from swarmlearning.ledger.bodies import Publish, RefuseBlock


class WithFalse(ThisHost):
    """This machine; the SN on host 3 deceives once the file `signal` is there."""

    def __init__(self, signal: Path) -> None:
        super().__init__()
        self._signal = signal

    def command(self, host: int) -> Sequence[str]:
        return (sys.executable, "-P", false_sn.__file__, str(self._signal)) if host == 3 else ()


@needs("etcd")
def test_rounds_go_on_while_an_sn_dates_its_blocks_an_hour_ahead_which_all_others_refuse(
    processes: Processes, tmp_path: Path, gate: Gate
) -> None:
    signal = tmp_path / "deceive"
    net = Network(processes, tmp_path, WithFalse(signal))
    net.found(3)
    ml = ("--rounds", "4", "--min-peers", "2", "--hold-at", "2", "--gate", str(gate.path))
    sites = [net.start_site(number, *ml, at=at) for number, at in ((1, 1), (2, 3))]
    offered = net.write(1)
    net.until_training(1, lambda training: training.rounds >= 2)
    signal.touch()
    net.offer(3, offered, seconds=5.0)
    gate.let(2)
    named = "SN-3 is in quarantine: most SNs have refused block"
    for number in (1, 2):
        net.until_status(number, lambda status: any(named in alarm for alarm in status["alarms"]))
    assert_complete(sites)
    assert "sealed by SN SN-3, is 3600 s ahead of this SN's clock" in net.sns[1].output + net.sns[2].output
    net.start(4, through=1)
    assert net.sns[4].ready
    net.assert_one_chain(1, 2, 4)
    sent = net.transactions(1)
    times = [header.time_ms for header, _ in sent]
    assert max(times) - min(times) < false_sn.HOUR_MS / 2, "no block has a time that is ahead"
    assert sum(isinstance(tx.content.body, RefuseBlock) for _, tx in sent) == 1
    assert sum(isinstance(tx.content.body, Publish) for _, tx in sent) >= 4
