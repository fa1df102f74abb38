"""An SN whose disk is lost is restored from a backup that was made while it was at work."""

import shutil
from pathlib import Path

from support.ports import fixed_port
from support.processes import COMMAND, Processes
from support.sns import Network
from support.swarm import Gate, Swarm, assert_complete, has_models, identity_options
from support.tools import needs

PAIR = ("--min-peers", "2")


def ledger(processes: Processes, *words: str | Path) -> str:
    """Runs a command of `swarm ledger`, and returns what it has printed."""
    process = processes.start(f"ledger-{words[0]}", *COMMAND, "ledger", *words)
    assert process.wait() == 0, process.output
    return process.output


def test_the_only_sn_is_restored_and_training_goes_on_with_nodes_that_had_seen_more(
    swarm: Swarm, processes: Processes, gate: Gate, tmp_path: Path
) -> None:
    port = fixed_port()
    first = swarm.start_sn(port=port)
    held = [word for at in (1, 2) for word in ("--hold-at", str(at))]
    scripts = [(*PAIR, "--rounds", "3", *held, "--gate", str(gate.path)), (*PAIR, "--rounds", "3")]
    sls = [swarm.start_sl(index) for index in (1, 2)]
    mls = [swarm.train(index, sl, *words) for index, (sl, words) in enumerate(zip(sls, scripts, strict=True), start=1)]
    swarm.until(has_models(1, 1))
    shown = ledger(processes, "backup", tmp_path / "backup", "--data-dir", tmp_path / "sn")
    assert "Backed up and verified" in shown
    gate.let()
    swarm.until(has_models(1, 2))
    first.kill()
    shutil.rmtree(tmp_path / "sn")
    shown = ledger(processes, "restore", tmp_path / "backup", "--data-dir", tmp_path / "sn")
    assert "Restored and verified" in shown
    swarm.start_sn(port=port)
    assert swarm.sn.ready["network"] == first.ready["network"]
    for index, sl in enumerate(sls, start=1):  # they have seen blocks that nobody has any more, and end
        assert sl.wait() == 1
        assert "an SN was restored from a backup. Start it again" in sl.output
        assert swarm.start_sl(index).ready
    gate.let()
    assert_complete(mls)
    assert swarm.chain().height > 0


@needs("etcd")
def test_a_checkpoint_is_signed_by_the_sns_that_answer_if_they_are_a_majority(net: Network) -> None:
    net.found(3)
    place, identity = net.directory / "sn-1", net.identities["SL-1"]
    words = [word for option, value in identity_options(identity).items() for word in (f"--{option}", value)]
    net.sns[3].kill()
    shown = ledger(net.processes, "archive", net.directory / "archive", "--data-dir", place, *words)
    assert "signed by SN-1, SN-2\n" in shown
    [checkpoint] = (net.directory / "archive").glob("*.checkpoint")
    shown = ledger(net.processes, "verify", place, checkpoint)
    assert "ledger verified" in shown
    ledger(net.processes, "restore", checkpoint, "--data-dir", net.directory / "sn-4")
    assert net.start(4, through=1).ready["network"] == net.sns[1].ready["network"]
    net.assert_one_chain(1, 2, 4)
    net.sns[4].kill()
    net.sns[2].kill()
    command = (*COMMAND, "ledger", "archive", net.directory / "later", "--data-dir", place, *words)
    refused = net.processes.start("minority", *command)
    assert refused.wait() == 1
    assert "1 of 4 SNs have signed it, 3 have to: " in refused.output


@needs("etcd")
def test_one_of_three_sns_is_restored_and_votes_again_with_the_blocks_since_then(net: Network) -> None:
    net.found(3)
    backup, place = net.directory / "backup", net.directory / "sn-2"
    ledger(net.processes, "backup", backup, "--data-dir", place)
    net.sns[2].kill()
    shutil.rmtree(place)
    before = net.height(1)
    height = net.offer(1, net.write(1))
    assert height is not None
    assert height > before, "the SNs may have written that SN 2 is lost meanwhile"
    ledger(net.processes, "restore", backup, "--data-dir", place)
    assert net.start(2, through=1).ready
    net.until_status(1, lambda status: status["fault_tolerance"].startswith("3 voters"))
    net.until_status(2, lambda status: bool(status["votes"]))
    net.assert_one_chain(1, 2, 3)
