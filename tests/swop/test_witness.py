"""When the host of a SWOP is the vote that two SNs lack, and how its witness is started."""

from pathlib import Path

import pytest

from support.agent import SOCKET, Agents, TrustDomain
from support.certs import make_workspace
from swarmlearning.cli.options import Credentials, LicenseOptions, MetricsOptions, NodeProcess
from swarmlearning.cli.swop import NO_WITNESS, NO_WITNESS_ID, SwopOptions
from swarmlearning.node.errors import NodeError
from swarmlearning.swop.composing import Contact
from swarmlearning.swop.witness import WitnessSettings, command, is_wanted

PROFILE = Path(__file__).parents[1] / "data" / "operate" / "profiles" / "process.yaml"


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ("voter", False),  # a second voter survives no more, and can fail too
        ("voter voter", True),
        ("voter voter own:spare", True),
        ("voter voter own:learner", True),
        ("voter voter learner", True),
        ("voter voter own:voter", True),
        ("voter voter own:voter spare", True),
        ("voter own:voter", True),  # without it there is no majority
        ("voter voter voter", False),
        ("voter voter voter spare", False),  # a fourth voter survives no more
        ("voter voter voter own:spare", False),
        ("voter voter voter voter own:voter", True),
        ("unknown unknown unknown", None),
        ("quarantine own:unknown", None),
        ("", None),
    ],
)
def test_a_witness_runs_where_two_others_vote_and_as_long_as_its_vote_counts(parts: str, wanted: bool | None) -> None:
    sns = []
    for number, word in enumerate(parts.split()):
        name, _, part = word.rpartition(":")
        sns.append({"uid": name or str(number), "part": part})
    assert is_wanted(sns, "own") is wanted


@pytest.mark.parametrize(
    ("contact", "through"),
    [
        (Contact("10.0.0.9", "10.0.0.1", 30310), "--sentinel-ip 10.0.0.1 --sentinel-api-port 30310"),
        (Contact("10.0.0.9", sn_api_service="sn.org:443"), "--sentinel-api-service sn.org:443"),
        (Contact("10.0.0.9", "sn-1", network_id="ab"), "--network-id ab --sentinel-ip sn-1 --sentinel-api-port 30304"),
    ],
)
def test_it_joins_through_the_sn_of_the_swop_with_its_own_certificate(
    tmp_path: Path, contact: Contact, through: str
) -> None:
    identity = make_workspace(tmp_path, ["SN-3"])["SN-3"]
    words = command(WitnessSettings(identity, {"capath": Path("/cas")}, 30303), contact, Path("/data"))
    options = "--host-ip 10.0.0.9 --sn-p2p-port 30303 --data-dir /data"
    certificate = f"--cert {identity.cert_path} --key {identity.key_path} --capath /cas"
    assert " ".join(words[words.index("sn") :]) == f"sn --witness {options} {certificate} {through}"


def test_the_witness_of_a_swop_with_an_agent_asks_the_same_agent() -> None:
    domain = TrustDomain("org1.example")
    identity = domain.identity(domain.issue("host-1/sn"))
    words = command(WitnessSettings(identity, {}, 30303), Contact("10.0.0.9", "10.0.0.1", 30304), Path("/data"))
    assert words[words.index("--socket-path") + 1] == str(SOCKET)
    assert not {"--cert", "--key"} & set(words)


def test_a_witness_without_a_certificate_of_an_sn_is_refused_with_what_is_to_be_done(tmp_path: Path) -> None:
    (tmp_path / "profile.yaml").write_bytes(PROFILE.read_bytes())
    agents = Agents()
    try:
        agent = agents.start(TrustDomain("org1.example"), "host-1/swop").socket
        by_agent = Credentials(socket_path=str(agent))
        for credentials, cert, told in (
            (by_agent, None, NO_WITNESS_ID.format(socket=agent)),
            (by_agent, tmp_path / "cert.pem", NO_WITNESS),
            (Credentials(cert=tmp_path / "cert.pem"), None, NO_WITNESS),
        ):
            options = SwopOptions(
                usr_dir=tmp_path,
                profile_file_name="profile.yaml",
                sn_ip="127.0.0.1",
                host_ip="10.0.0.9",
                witness_cert=cert,
                credentials=credentials,
                license=LicenseOptions(),
                metrics=MetricsOptions(),
                process=NodeProcess(),
            )
            with pytest.raises(NodeError) as refused:
                options.settings(make_workspace(tmp_path, ["SWOP-1"])["SWOP-1"])
            assert str(refused.value) == told
    finally:
        agents.close()
