"""Proposals among three organisations, by the commands of their operators."""

import json
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.operating import Operator
from support.processes import Processes
from support.swarm import Swarm


@pytest.fixture
def swarm(processes: Processes, tmp_path: Path) -> Swarm:
    folder = tmp_path / "cert"
    identities = make_workspace(folder, ["SWCI-2"], ca_name="CA-2") | make_workspace(folder, ["SWCI-3"], ca_name="CA-3")
    made = Swarm(processes, tmp_path, identities | make_workspace(folder, ["SN-1", "SL-1", "SWCI-1"]))
    assert made.start_sn().ready
    return made


def test_an_organisation_is_admitted_once_a_majority_of_the_others_has_signed(swarm: Swarm, tmp_path: Path) -> None:
    one, two, three = (Operator(swarm, f"SWCI-{number}") for number in (1, 2, 3))
    make_workspace(tmp_path / "clinic", ["SN-9"], ca_name="CA-9")
    authority = tmp_path / "clinic" / "ca" / "capath" / "ca-9-cert.pem"
    proposed = one.does("organisation", "admit", "clinic", authority, "--name", "The Clinic")
    assert "proposal 1 (admit-organisation clinic (The Clinic), authority CN=CA-9" in proposed
    assert "needs a majority of the organisations" in proposed
    assert "signed by ca-1, not yet by ca-2, ca-3. Until " in proposed
    assert "swarm proposal sign 1" in proposed
    assert "clinic" not in three.does("organisation", "list")
    assert "organisation ca-1 has answered proposal 1 so already" in one.fails("proposal", "sign", "1")
    assert "rejected by ca-3, not yet by ca-2" in three.does("proposal", "reject", "1")
    assert "admit-organisation  clinic" in two.does("proposal", "list")
    assert "CN=CA-9" in two.does("proposal", "show", "1")
    assert "proposal 1 (admit-organisation clinic (The Clinic), authority CN=CA-9" in two.does("proposal", "sign", "1")
    assert "The Clinic" in three.does("organisation", "list")
    assert "proposal 1 is done" in three.fails("proposal", "sign", "1")


def test_a_policy_that_the_others_reject_stays_as_it_is(swarm: Swarm) -> None:
    one, two, three = (Operator(swarm, f"SWCI-{number}") for number in (1, 2, 3))
    assert "read-logs cannot need 'majority'; it can need own, one" in one.fails(
        "policy", "set", "read-logs", "majority"
    )
    assert "proposal 1 (set-policy revoke: all) needs a majority" in one.does("policy", "set", "revoke", "all")
    two.does("proposal", "reject", "1")
    assert "proposal 1 (set-policy revoke: all) is rejected; rejected by ca-2, ca-3" in three.does(
        "proposal", "reject", "1"
    )
    assert "proposal 1 is rejected" in two.fails("proposal", "sign", "1")
    assert "there is no proposal 7" in two.fails("proposal", "sign", "7")
    assert "name a proposal by its number" in two.fails("proposal", "sign")


def test_lists_name_the_organisation_of_each_node_and_the_owner_and_members_of_each_contract(swarm: Swarm) -> None:
    one, two = (Operator(swarm, f"SWCI-{number}") for number in (1, 2))
    two.does("contract", "create", "scans", "--member", "ca-1", "--member", "ca-2")
    listed = [line.split() for line in one.does("contract", "list").splitlines()]
    assert listed[0] == ["contract", "owner", "for", "run", "rounds", "state"]
    assert listed[1][:4] == ["scans", "ca-2", "ca-1", "1"]
    assert listed[2] == ["ca-2"]
    nodes = [line.split() for line in one.does("node", "list").splitlines()]
    assert ["SWCI", "SWCI-2", "ca-2"] in [line[:3] for line in nodes]


def test_a_contract_s_owner_changes_its_members_and_what_another_member_changes_is_a_proposal(swarm: Swarm) -> None:
    one, two = (Operator(swarm, f"SWCI-{number}") for number in (1, 2))
    two.does("contract", "create", "scans", "--member", "ca-2")
    assert "contract scans is for ca-1, ca-2; observers: nobody" in two.does(
        "contract", "change", "scans", "--member", "ca-1"
    )
    proposed = one.does("contract", "change", "scans", "--without", "ca-2")
    assert "proposal 1 (change-members scans) needs a majority" in proposed
    assert "not yet by ca-2" in proposed
    assert "(change-members scans) takes effect" in two.does("proposal", "sign", "1")
    shown = json.loads(two.does("contract", "show", "scans"))
    assert shown["state"]["charter"] == {"owner": "ca-2", "members": ["ca-1"]}
