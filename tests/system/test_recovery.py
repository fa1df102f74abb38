"""Restarting a network of several organisations from one SN, by real processes: others sign a file before."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from support.certs import make_workspace
from support.crafted_certs import craft
from support.network import Ledger
from support.processes import COMMAND, Process, Processes
from support.sns import Network
from support.swarm import identity_options
from support.tools import needs
from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.chain import replay
from swarmlearning.ledger.contracts import network
from swarmlearning.ordering.local import open_chain_file, read_chain_file

UID = "3f2b8c1e-5d4a-4f6b-9c7d-0a1b2c3d4e5f"


@pytest.fixture
def two(net: Network) -> Network:
    """Two organisations: SN-1 is the first one's, SN-2 and the operator SWCI-2 the second one's; SN-2 has died."""
    folder = net.identities["SN-1"].cert_path.parent
    net.identities |= make_workspace(folder, ["SN-2", "SWCI-2"], ca_name="CA-2")
    net.identities |= make_workspace(folder, ["SN-1", "SL-1"])  # both now trust both authorities
    sns = net.found(2)
    net.assert_one_chain(1, 2)
    sns[1].kill()
    sns[0].stop()
    return net


def sign(net: Network, file: Path, node: str = "SWCI-2") -> Process:
    identity = identity_options(net.identities[node])
    words = [word for option, value in identity.items() for word in (f"--{option}", value)]
    return net.processes.start(f"sign-{node}", *COMMAND, "proposal", "sign", "--file", file, "--yes", *words)


@needs("etcd")
def test_a_recovery_waits_for_the_signature_of_the_other_organisation_s_operator(two: Network, tmp_path: Path) -> None:
    file = tmp_path / "recovery.json"
    before = two.blocks(1)
    proposed = two.operate(1, "recover", "--yes", "--proposal", str(file))
    assert proposed.wait() == 0, proposed.output
    assert "Nothing was changed: a recovery needs majority of the organisations; it is signed by ca-1, not by ca-2" in (
        " ".join(proposed.output.split())
    )
    assert two.blocks(1) == before
    again = two.operate(1, "recover", "--yes", "--proposal", str(file)).complaint()
    assert "exists already, perhaps with signatures" in again
    unsigned = two.operate(1, "recover", "--yes", "--signed", str(file), "--proposal", str(tmp_path / "other.json"))
    assert unsigned.wait() == 0
    assert two.blocks(1) == before

    refused = sign(two, file, "SL-1")
    assert refused.wait() == 1
    assert "operators sign" in refused.output
    signed = sign(two, file)
    assert signed.wait() == 0, signed.output
    assert "without SN-2 of ca-2" in signed.output
    second = sign(two, file)
    assert second.wait() == 1
    assert "has signed this recovery already" in second.output

    done = two.operate(1, "recover", "--yes", "--signed", str(file))
    assert done.wait() == 0, done.output
    assert two.start(1).ready
    status = two.until_status(1, lambda status: status["fault_tolerance"].startswith("1 voter"))
    assert [len(recovery["lost"]) for recovery in status["recoveries"]] == [1]
    assert two.start(2, through=1).ready, "it joins anew, as it finds the recovery signed"
    two.until_status(1, lambda status: status["fault_tolerance"].startswith("2 voters"))


def test_a_network_whose_only_authority_has_expired_goes_on_with_a_new_one(
    processes: Processes, tmp_path: Path
) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    authority = craft("CN=CA-1", begin=yesterday - timedelta(days=1), end=yesterday)
    ledger, place = Ledger(authority, founder=UID), tmp_path / "sn"
    stop(ledger, place)
    old = Workspace(tmp_path / "old")
    old.save_authority("CA-1", authority)
    old.save_node(f"SN-{UID}", ledger.actors[UID].pair)
    new, successor = Workspace(tmp_path / "new"), create_authority("CA-2", 90)
    new.save_authority("CA-2", successor)
    new.save_node(f"SN-{UID}", issue(successor, f"SN-{UID}", [], ["127.0.0.1"], 90))
    options: list[str | Path] = ["--data-dir", place, "--capath", old.capath, "--cert", old.certificate(f"SN-{UID}")]
    options += ["--key", old.key(f"SN-{UID}")]

    expired = processes.start("recover", *COMMAND, "sn", "recover", "--yes", *options)
    assert "expired" in expired.complaint()
    anchor = new.authority_certificate("CA-2")
    done = processes.start("recover", *COMMAND, "sn", "recover", "--yes", "--anchor", anchor, *options)
    assert done.wait() == 0, done.output
    assert "org-1 gets a new authority" in done.output
    chain = replay(read_chain_file(place / "chain.sqlite"))
    assert [root.organisation for root in network.authorities(chain.world)] == ["org-1", "org-1"]

    started: dict[str, str | Path] = {
        "ordering": "local",
        "host-ip": "127.0.0.1",
        "data-dir": place,
        "sn-api-port": "0",
    }
    identity = identity_options(new.identity(f"SN-{UID}"))
    assert processes.node("SN", "sn", {**started, **identity}, ["--sentinel"]).ready, "the same node, newly certified"


def stop(ledger: Ledger, place: Path) -> None:
    """The data directory that the ledger's only SN has left behind."""
    place.mkdir()
    record = {"uid": UID, "incarnation": 1, "network": ledger.chain.network_id, "network_name": "test"}
    (place / "node.json").write_bytes(msgspec.json.encode(record))
    with closing(open_chain_file(place / "chain.sqlite")) as file:
        for height, raw in enumerate(ledger.blocks):
            file.execute("INSERT INTO blocks VALUES (?, ?, ?)", (height, sha256(raw).hexdigest(), raw))
