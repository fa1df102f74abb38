"""Organisations as a file describes them, or as they follow from certificates of authorities."""

from pathlib import Path

import pytest

from swarmlearning.identity.ca import create_authority
from swarmlearning.identity.certificates import to_pem
from swarmlearning.ledger.bodies import Anchor, NewOrganisation, Quotas
from swarmlearning.node.errors import NodeError
from swarmlearning.node.organisations import founders, read_founding

CA_1, CA_2 = (create_authority(f"CA-{number}", 30).certificate for number in (1, 2))
FEW = Quotas(nodes=9, ledger_bytes=5000)
FILE = """
[policies]
create-contract = "majority"

[[organisation]]
id = "hospital-a"
name = "Hospital A"
[[organisation.authority]]
certificate = "a.pem"
roles = ["SL", "SWCI"]

[[organisation]]
id = "hospital-b"
quotas = { nodes = 9, ledger_bytes = 5000 }
[[organisation.authority]]
certificate = "b.pem"
trust-domain = "b.example"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.pem").write_text(to_pem(CA_1))
    (tmp_path / "b.pem").write_text(to_pem(CA_2))
    return tmp_path


def test_a_file_describes_organisations_quotas_and_policies(folder: Path) -> None:
    (folder / "net.toml").write_text(FILE)
    found = read_founding(folder / "net.toml")
    assert found.policies == {"create-contract": "majority"}
    assert found.organisations == (
        NewOrganisation("hospital-a", "Hospital A", (Anchor(to_pem(CA_1), roles=("SL", "SWCI")),)),
        NewOrganisation("hospital-b", "hospital-b", (Anchor(to_pem(CA_2), trust_domain="b.example"),), FEW),
    )


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("[policies]", "policies", r"net\.toml: .*line 2"),
        ('"majority"', '"most"', r"Invalid enum value 'most' - at `\$\.policies"),
        ('"hospital-a"', '"Hospital A"', r"net\.toml: .*\$\.organisation\[0\]\.id"),
        ('"SWCI"', '"BOSS"', r"Invalid enum value 'BOSS'"),
        ("nodes = 9", "nodes = 0", r"Expected `int` >= 1 - at `\$\.organisation\[1\]\.quotas\.nodes"),
        ("a.pem", "gone.pem", r"gone\.pem: cannot be read: No such file"),
        ("trust-domain", "trustdomain", r"unknown field `trustdomain`"),
    ],
)
def test_a_mistake_in_the_file_is_named(folder: Path, old: str, new: str, reason: str) -> None:
    (folder / "net.toml").write_text(FILE.replace(old, new))
    with pytest.raises(NodeError, match=reason):
        read_founding(folder / "net.toml")


def test_each_authority_is_an_organisation_of_its_own_that_is_called_by_its_subject() -> None:
    namesake = create_authority("CA-1", 30).certificate
    found = founders([CA_1, CA_2, namesake])
    assert [(each.id, each.name) for each in found] == [
        ("ca-1", "CN=CA-1,OU=Swarm-Learning"),
        ("ca-2", "CN=CA-2,OU=Swarm-Learning"),
        ("ca-1-2", "CN=CA-1,OU=Swarm-Learning"),
    ]
