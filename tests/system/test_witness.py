"""A SWOP's host as the vote that two SNs lack."""

from pathlib import Path

from filelock import FileLock

from support.agent import Agents, TrustDomain
from support.certs import make_workspace
from support.sns import Network
from support.swops import operations
from support.tools import needs
from swarmlearning.identity.spiffe import fetch

pytestmark = needs("etcd")


def test_two_sns_and_a_swop_with_a_witness_survive_the_loss_of_an_sn(net: Network, tmp_path: Path) -> None:
    net.found(2)
    net.identities |= make_workspace(tmp_path / "cert", ["SWOP-1", "SWCI-1"])
    identity = net.identities["SN-3"]
    environment = {
        "SWOP_WITNESS_CERT": str(identity.cert_path),
        "SWOP_WITNESS_KEY": str(identity.key_path),
        "SWOP_WITNESS_P2P_PORT": str(net.p2p_ports[3]),
    }
    with operations(net) as ops:
        swop = ops.start("SWOP-1", ["SL-1"], sn=net.api(2), environment=environment, witness=True)
        status = net.until_status(2, lambda status: status["fault_tolerance"].startswith("3 voters: survives 1"))
        assert [sn["name"] for sn in status["sns"] if sn["witness"]] == ["SN-3"]
        raw = net.write(2)
        net.sn.kill()
        net.sn = net.sns[2]
        assert net.offer(2, raw) is not None
        swop.kill()  # its witness ends with it, and there is no majority
        swop = ops.start("SWOP-1", ["SL-1"], sn=net.api(2), environment=environment)
        assert net.offer(2, net.write(2, "another")) is not None
        swop.stop()
    FileLock(tmp_path / "SWOP-1" / "data" / "witness" / "lock").acquire(blocking=False)


def test_a_swop_with_an_agent_has_a_witness_by_a_second_id_from_the_same_agent(net: Network) -> None:
    domain, agents = TrustDomain("hospitals.example"), Agents()
    try:
        paths = {"SN-1": "1/sn", "SN-2": "2/sn", "SL-1": "1/sl", "SWCI-1": "1/swci"}
        net.identities = {name: fetch(agents.start(domain, path).socket) for name, path in paths.items()}
        net.identities["SWOP-1"] = fetch(agents.start(domain, "3/sn", "1/swop").socket, role="SWOP")
        net.found(2)
        with operations(net) as ops:
            port = {"SWOP_WITNESS_P2P_PORT": str(net.p2p_ports[3])}
            swop = ops.start("SWOP-1", ["SL-1"], sn=net.api(2), environment=port, witness=True)
            status = net.until_status(2, lambda status: status["fault_tolerance"].startswith("3 voters: survives 1"))
            assert [sn["witness"] for sn in status["sns"]].count(True) == 1
            swop.stop()
    finally:
        agents.close()
