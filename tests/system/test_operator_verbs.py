"""Operators' acts on the ledger from the command line, by real processes."""

import json
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.ml import CONTRACT
from support.operating import Operator
from support.processes import Processes
from support.swarm import Gate, Swarm, assert_complete, has_models
from swarmlearning.identity.ca import issue
from swarmlearning.identity.workspace import Workspace
from swarmlearning.tensors.digest import is_named

ROUNDS = ("--rounds", "2", "--min-peers", "2")


@pytest.fixture
def swarm(processes: Processes, tmp_path: Path) -> Swarm:
    names = ["SN-1", "SL-1", "SL-2", "SWCI-1"]
    made = Swarm(processes, tmp_path, make_workspace(tmp_path / "cert", names))
    assert made.start_sn().ready
    return made


def test_a_contract_is_trained_a_second_time_after_a_reset(swarm: Swarm) -> None:
    operator = Operator(swarm)
    assert_complete(swarm.start_sites(*ROUNDS, count=2))
    again = swarm.start_sl(1, *ROUNDS)
    assert again.wait() != 0
    assert "an operator resets it" in again.output
    assert f"contract {CONTRACT} is empty; run 2 may begin" in operator.does("contract", "reset", CONTRACT)
    assert [site.wait() for site in swarm.start_sites(*ROUNDS, count=2)] == [0, 0]
    listed = json.loads(operator.does("contract", "list", "--json"))
    assert [(each["contract"], each["run"], each["phase"]) for each in listed] == [(CONTRACT, 2, "over")]


def test_a_stopped_training_ends_with_the_result_of_the_round_in_progress(swarm: Swarm) -> None:
    operator = Operator(swarm)
    sites = swarm.start_sites("--rounds", "1000000", "--min-peers", "2", count=2)
    swarm.until(lambda state: state.rounds > 1)
    assert "ends with the round in progress" in operator.does("contract", "stop", CONTRACT)
    assert_complete(sites)
    assert operator.run("contract", "stop", CONTRACT).wait() == 1


def test_an_operator_fetches_the_newest_result_of_a_training_whole_or_not_at_all(
    swarm: Swarm, gate: Gate, tmp_path: Path
) -> None:
    operator, to = Operator(swarm), tmp_path / "fetched" / "result.safetensors"
    assert "there is no training contract" in operator.fails("contract", "result", CONTRACT, to)
    sites = swarm.start_sites("--rounds", "3", "--min-peers", "2", "--hold-at", "2", "--gate", str(gate.path), count=2)
    result = swarm.until(lambda state: state.rounds == 2).result
    assert result is not None
    digest = result.digest
    assert digest in operator.does("contract", "result", CONTRACT, to)
    assert is_named(to, digest)
    assert [each.name for each in to.parent.iterdir()] == [to.name]
    gate.let(2)
    assert_complete(sites)
    to.unlink()
    assert "none of the SLs that hold the result" in operator.fails("contract", "result", CONTRACT, to)
    assert not list(to.parent.iterdir())


def test_sites_weigh_what_samples_they_state_under_a_contract_that_an_operator_has_created_so(
    swarm: Swarm,
) -> None:
    operator, ml = Operator(swarm), (*ROUNDS, "--contract", "study")
    nameless = swarm.start_sl(1, *ml)
    assert nameless.wait() != 0
    assert "an operator does: swarm contract create study" in nameless.output
    operator.does("contract", "create", "study", "--weights", "samples", "--max-organisation-weight", "0.75")
    changed = operator.does("contract", "change", "study", "--member", "ca-1")
    assert "contract study is for ca-1; observers: nobody (block" in changed
    without = swarm.start_sl(1, *ml)
    assert without.wait() != 0
    assert "trainingSamples=len(data)" in without.output
    sites = [swarm.start_sl(index, *ml, "--samples", str(100 * index)) for index in (1, 2)]
    assert [site.wait() for site in sites] == [0, 0]
    result = swarm.training(swarm.chain(), "study").result
    assert result is not None
    parts = result.receipt.contributions
    assert sorted((part.weight, part.coefficient) for part in parts) == [(100, 100), (200, 200)]


def test_resetting_a_contract_that_does_not_exist_names_those_that_do(swarm: Swarm) -> None:
    operator = Operator(swarm)
    refused = operator.run("contract", "reset", "else")
    assert refused.wait() == 1
    assert "there is no training contract 'else'; there is none yet" in refused.output
    listed = json.loads(operator.does("node", "list", "--json"))
    assert [each["type"] for each in listed] == ["SN"]  # a command that is refused leaves nothing on the ledger


def test_an_operator_s_command_needs_an_operator_s_certificate(swarm: Swarm) -> None:
    refused = Operator(swarm, "SL-1").run("contract", "reset", CONTRACT)
    assert refused.wait() == 1
    assert "is a certificate for SL; an operator needs one whose name begins with SWCI- or UI-" in refused.output


def test_an_organisation_joins_once_its_authority_is_trusted(swarm: Swarm, tmp_path: Path) -> None:
    swarm.identities |= make_workspace(tmp_path / "cert", ["SL-9"], ca_name="CA-2")  # from now on all nodes connect
    swarm.sn.stop()
    assert swarm.start_sn().ready
    assert "(untrusted)" in swarm.start_sl(9, *ROUNDS, identity="SL-9").complaint()
    operator = Operator(swarm)
    assert "CN=CA-2" in operator.does("trust", "add", Workspace(tmp_path / "cert").authority_certificate("CA-2"))
    assert len(json.loads(operator.does("trust", "list", "--json"))) == 2
    assert_complete([swarm.start_sl(1, *ROUNDS), swarm.start_sl(9, *ROUNDS, identity="SL-9")])


def test_an_operator_gives_an_organisation_other_quotas_and_those_not_named_stay(swarm: Swarm) -> None:
    operator = Operator(swarm)
    (before,) = json.loads(operator.does("organisation", "list", "--json"))
    assert "ca-1 has the quotas nodes 1, streams 9" in operator.does(
        "organisation", "quotas", "ca-1", "--nodes", "1", "--streams", "9"
    )
    (after,) = json.loads(operator.does("organisation", "list", "--json"))
    assert after["quotas"] == before["quotas"] | {"nodes": 1, "streams": 9}
    assert "(too-many)" in swarm.start_sl(1, *ROUNDS).complaint()


def test_a_revoked_site_is_shut_out(swarm: Swarm) -> None:
    operator = Operator(swarm)
    assert_complete(swarm.start_sites(*ROUNDS, count=2))
    assert "is revoked: site-2" in operator.does("node", "revoke", "site-2")
    listed = json.loads(operator.does("node", "list", "--json"))
    assert {each["name"]: each["state"] for each in listed if each["type"] != "SN"} == {
        "SWCI-1": "left",
        "site-1": "left",
        "site-2": "revoked",
    }
    operator.does("contract", "reset", CONTRACT)
    complaint = swarm.start_sl(2, *ROUNDS).complaint()
    assert f"SN {swarm.address} refuses this node: the certificate of CN=SL-2" in complaint
    assert "has been revoked" in complaint


def test_a_certificate_that_the_office_has_issued_and_no_node_has_used_is_refused_once_it_is_revoked(
    swarm: Swarm, tmp_path: Path
) -> None:
    operator, office = Operator(swarm), Workspace(tmp_path / "cert")
    stolen = issue(office.load_authority("CA-1"), "SL-1", [], [], 9)
    office.save_issued(stolen.certificate)
    office.save_node("SL-1", stolen)
    assert "CN=SL-1,OU=Swarm-Learning is revoked" in operator.does("ca", "revoke", "SL-1", "--out", office.root)
    assert "revoked before it was used" in swarm.start_sl(1, *ROUNDS).complaint()
    assert "revoked on the ledger already" in operator.fails("ca", "revoke", "SL-1", "--out", office.root)


def test_a_site_that_is_revoked_while_its_script_waits_ends_with_the_reason(swarm: Swarm, gate: Gate) -> None:
    held = swarm.start_sl(1, *ROUNDS, "--gate", str(gate.path), "--hold-at", "1")
    waiting = swarm.start_sl(2, *ROUNDS)
    swarm.until(has_models(1, 1))
    Operator(swarm).does("node", "revoke", "site-2")
    assert waiting.wait() == 1
    assert f"SN {swarm.address} refuses this node: the certificate of CN=SL-2" in waiting.output
    held.kill()
