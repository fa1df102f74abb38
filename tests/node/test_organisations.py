"""Organisations as a file describes them, or as they follow from certificates of authorities."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.agent import TrustDomain
from support.crafted_certs import craft
from swarmlearning.identity.ca import create_authority
from swarmlearning.identity.certificates import to_pem
from swarmlearning.identity.identity import Bundle
from swarmlearning.ledger.bodies import Anchor, NewOrganisation, Quotas
from swarmlearning.node.errors import NodeError
from swarmlearning.node.organisations import founders, read_founding

CA_1, CA_2 = (create_authority(f"CA-{number}", 30).certificate for number in (1, 2))
NOW_MS = int(datetime.now(UTC).timestamp() * 1000)
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


def test_an_authority_without_a_certificate_is_a_trust_domain_that_the_founder_s_agent_knows(folder: Path) -> None:
    domain = TrustDomain("a.example")
    domain.prepare_root()
    roots = tuple(root.certificate for root in domain.roots)
    (folder / "net.toml").write_text(FILE.replace('certificate = "a.pem"', 'trust-domain = "a.example"'))
    found = read_founding(folder / "net.toml", [Bundle("a.example", roots)])
    assert found.organisations[0].anchors == tuple(
        Anchor(to_pem(root), roles=("SL", "SWCI"), trust_domain="a.example", bundle=True) for root in roots
    )
    with pytest.raises(NodeError, match=r"net\.toml: .*it has c\.example, and not 'a\.example'"):
        read_founding(folder / "net.toml", [Bundle("c.example", roots)])
    with pytest.raises(NodeError, match=r"it has none \(--socket-path\), and not 'a\.example'"):
        read_founding(folder / "net.toml")


def test_each_trust_domain_of_the_founder_s_agent_is_an_organisation() -> None:
    one, two = (TrustDomain(f"org{number}.swarm.learning").roots[0].certificate for number in (1, 2))
    bundles = [Bundle("org1.swarm.learning", (one,)), Bundle("org2.swarm.learning", (two,))]
    assert founders([one, CA_1, two], NOW_MS, bundles) == (
        *(
            NewOrganisation(
                f"org{number}-swarm-learning",
                f"org{number}.swarm.learning",
                (Anchor(to_pem(root), trust_domain=f"org{number}.swarm.learning", bundle=True),),
            )
            for number, root in ((1, one), (2, two))
        ),
        NewOrganisation("ca-1", "CN=CA-1,OU=Swarm-Learning", (Anchor(to_pem(CA_1)),)),
    )


def test_each_authority_is_an_organisation_of_its_own_that_is_called_by_its_subject() -> None:
    namesake = create_authority("CA-1", 30).certificate
    found = founders([CA_1, CA_2, namesake], NOW_MS)
    assert [(each.id, each.name) for each in found] == [
        ("ca-1", "CN=CA-1,OU=Swarm-Learning"),
        ("ca-2", "CN=CA-2,OU=Swarm-Learning"),
        ("ca-1-2", "CN=CA-1,OU=Swarm-Learning"),
    ]


def test_a_network_is_founded_without_an_authority_that_has_expired(caplog: pytest.LogCaptureFixture) -> None:
    expired = craft("CN=old", begin=datetime(2020, 1, 1, tzinfo=UTC), end=datetime(2021, 1, 1, tzinfo=UTC)).certificate
    assert [each.id for each in founders([CA_1, expired], NOW_MS)] == ["ca-1"]
    assert "The CA 'CN=old' has expired: the network is founded without it" in caplog.text
