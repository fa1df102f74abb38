"""When the host of a SWOP is the vote that two SNs lack, and how its witness is started."""

from pathlib import Path

import pytest

from support.certs import make_workspace
from swarmlearning.swop.composing import Contact
from swarmlearning.swop.witness import WitnessSettings, command, is_wanted


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
