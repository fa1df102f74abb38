"""An operator's acts on a stopped SN, by real processes: repairing its chain, restarting the network from it."""

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from support.processes import COMMAND, Process
from support.sns import Network
from support.swarm import assert_complete, identity_options
from support.tools import needs

pytestmark = needs("etcd")


def flip_a_byte(file: Path, height: int) -> None:
    """In the stored bytes of one block, as a bad disk would."""
    with closing(sqlite3.connect(file)) as connection:
        (raw,) = connection.execute("SELECT raw FROM blocks WHERE height = ?", (height,)).fetchone()
        changed = raw[:100] + bytes([raw[100] ^ 1]) + raw[101:]
        connection.execute("UPDATE blocks SET raw = ? WHERE height = ?", (changed, height))
        connection.commit()


def test_a_flipped_byte_of_a_chain_is_named_and_repaired_from_the_other_sns(net: Network) -> None:
    sns = net.found(2)
    file = net.directory / "sn-2" / "chain.sqlite"
    sns[1].stop()
    flip_a_byte(file, 2)
    complaint = net.start(2).complaint()
    assert "chain.sqlite: block 2 has been altered" in complaint
    assert "swarm sn repair" in complaint
    repaired = net.operate(2, "repair")
    assert repaired.wait() == 0
    assert "block 2 has been altered" in repaired.output
    assert "Repaired: 2 blocks kept, " in repaired.output
    assert len(list((net.directory / "sn-2").glob("damaged-*/chain.sqlite"))) == 1
    assert net.start(2).ready
    net.assert_one_chain(1, 2)


def test_repair_leaves_a_valid_chain_as_it_is(net: Network) -> None:
    sns = net.found(2)
    sns[1].stop()
    checked = net.operate(2, "repair")
    assert checked.wait() == 0
    assert "Nothing to repair" in checked.output


def test_repair_changes_nothing_without_another_sn(net: Network) -> None:
    sns = net.found(2)
    for sn in sns:
        sn.stop()
    file = net.directory / "sn-2" / "chain.sqlite"
    flip_a_byte(file, 1)
    before = file.read_bytes()
    complaint = net.operate(2, "repair").complaint()
    assert "no other SN can be reached" in complaint
    assert file.read_bytes() == before


def show_status(net: Network, number: int) -> Process:
    """`swarm status` at this SN."""
    identity = identity_options(net.identities["SL-1"])
    words = [word for option, value in identity.items() for word in (f"--{option}", value)]
    where = ("--sn-ip", net.hosts.address(number), "--sn-api-port", str(net.ports[number]))
    return net.processes.start(f"status-{number}", *COMMAND, "status", *where, *words)


def test_the_network_is_restarted_from_one_survivor_and_the_others_join_anew(net: Network) -> None:
    sns = net.found(3)
    sites = [net.start_site(number, "--rounds", "2", "--min-peers", "2", at=3) for number in (1, 2)]
    assert_complete(sites)
    net.assert_one_chain(1, 2, 3)
    before = net.blocks(3)
    for sn in sns[:2]:
        sn.kill()
    net.until_status(3, lambda status: status["fault_tolerance"].startswith("no majority"))
    shown = show_status(net, 3)
    assert shown.wait() == 1
    assert "ALARM no majority of voters answers" in shown.output
    sns[2].stop()
    recovered = net.operate(3, "recover", "--yes")
    assert recovered.wait() == 0, recovered.output
    assert "SN-1, SN-2 have no part in the network any more" in recovered.output
    assert net.start(3).ready
    status = net.until_status(3, lambda status: status["fault_tolerance"].startswith("1 voter"))
    assert [len(recovery["lost"]) for recovery in status["recoveries"]] == [2]
    assert net.blocks(3)[: len(before)] == before
    # the others come back: fenced out, they join anew by themselves
    assert net.start(1).ready
    assert net.start(2).ready
    net.until_status(3, lambda status: status["fault_tolerance"].startswith("3 voters"))
    net.assert_one_chain(1, 2, 3)


@pytest.mark.parametrize("blocks", [1, 6], ids=["by one block", "by more blocks than the network has since"])
def test_the_old_majority_is_fenced_and_its_blocks_are_repaired_away(net: Network, blocks: int) -> None:
    """The operator was wrong: the others live, and have gone on alone."""
    sns = net.found(3)
    sns[2].stop()
    for number in range(blocks):
        net.write(1, f"client {number}")  # registers a node
    for sn in sns[:2]:
        sn.signal(signal.SIGSTOP)
    assert net.operate(3, "recover", "--yes").wait() == 0
    assert net.start(3).ready
    for sn in sns[:2]:
        sn.signal(signal.SIGCONT)
    for sn in sns[:2]:
        assert "an operator has restarted the network from SN-3" in sn.complaint()
    again = net.start(1)
    assert again.wait() == 1
    assert "`swarm sn repair`" in again.output.splitlines()[-1]  # it has a block that is not part of the network
    assert net.operate(1, "repair").wait() == 0
    assert net.start(1).ready
    net.until_status(3, lambda status: status["fault_tolerance"].startswith("2 voters"))
    net.assert_one_chain(1, 3)


def test_recovery_is_refused_while_there_is_a_majority(net: Network) -> None:
    sns = net.found(3)
    sns[2].stop()
    complaint = net.operate(3, "recover", "--yes").complaint()
    assert "recovery is not needed" in complaint
    assert net.start(3).ready
    net.assert_one_chain(1, 2, 3)


def test_a_witness_votes_without_an_api(net: Network) -> None:
    net.found(2)
    witness = net.start(3, through=1, witness=True)
    assert "api" not in witness.ready
    status = net.until_status(1, lambda status: status["fault_tolerance"].startswith("3 voters: survives 1"))
    assert [sn["name"] for sn in status["sns"] if sn["witness"]] == ["SN-3"]
    net.sn.kill()
    sites = [net.start_site(number, "--rounds", "2", "--min-peers", "2", at=2) for number in (1, 2)]
    assert_complete(sites)


@pytest.mark.parametrize("flags", [("--witness", "--sentinel"), ("--witness", "--ordering", "local")])
def test_a_witness_cannot_be_the_only_sn(net: Network, flags: tuple[str, ...]) -> None:
    identity = identity_options(net.identities["SN-1"])
    words = [word for option, value in identity.items() for word in (f"--{option}", value)]
    refused = net.processes.start("witness", *COMMAND, "sn", "--host-ip", "127.0.0.1", *words, *flags)
    assert "cannot found one or order alone" in refused.complaint()
