"""`swarm privacy`: what sites with a privacy lock state, shown, proved and verified by the ledger."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from support.chainfile import written
from support.network import Ledger
from support.rounds import SITES, finish, publish, report_all, submit, three_sites
from swarmlearning.cli.main import app
from swarmlearning.ledger.bodies import Privacy, Reset, Submit
from swarmlearning.ledger.contracts.training.submissions import NO_MODEL
from swarmlearning.privacy.accounting import composed_epsilon

NOISE, DELTA = 2.0, 1e-5
GIVEN = "9" * 64


def swarm_privacy(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["privacy", *map(str, words)], env={"COLUMNS": "300"})
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def stated(releases: int, epsilon: float | None = None, noise: float = NOISE) -> Privacy:
    exact = composed_epsilon([noise] * releases, DELTA) if noise else 0.0
    return Privacy(1.0, noise, DELTA if noise else 0.0, exact if epsilon is None else epsilon, releases)


def give(ledger: Ledger, privacy: Privacy, digest: str = GIVEN) -> None:
    """What the first site submits to the round in progress."""
    current = ledger.training.round
    assert current
    body = Submit(current.number, current.base, "trained", digest, 1, 1, privacy)
    if privacy.withheld:
        body = Submit(current.number, current.base, "withheld", current.base or NO_MODEL, 0, 0, privacy)
    ledger.send(SITES[0], body)


def trained(*last: Privacy) -> Ledger:
    """A training whose first site states something in each round: nothing in round 0, one model in round 1, and this
    in those after it."""
    ledger = three_sites()
    for number, privacy in enumerate((Privacy(1.0, NOISE, withheld="no-base"), stated(1), *last)):
        give(ledger, privacy)
        submit(ledger, *SITES[1:])
        publish(ledger, f"{number}" * 64)
        report_all(ledger)
    return ledger


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    return written(trained(stated(2)), tmp_path / "chain.sqlite")


def test_it_shows_bound_noise_and_composed_epsilon_of_each_round(chain: Path) -> None:
    rows = [line.split() for line in swarm_privacy("show", "--data-dir", chain).splitlines()[1:]]
    one, two = (f"{composed_epsilon([NOISE] * count, DELTA):.6g}" for count in (1, 2))
    assert [row[1:9] for row in rows] == [
        ["1", "0", SITES[0], "1", "2", "0", "0", "0"],
        ["1", "1", SITES[0], "1", "2", "1e-05", one, "1"],
        ["1", "2", SITES[0], "1", "2", "1e-05", two, "2"],
    ]
    assert [" ".join(row[9:-1]) for row in rows] == ["nothing (no-base)", GIVEN[:12], GIVEN[:12]]
    only = json.loads(swarm_privacy("show", "--json", "--site", SITES[0], "--run", "1", "--data-dir", chain))
    assert [(each["round"], each["digest"], each["subject"]) for each in only] == [
        (0, "", "CN=SL-site-1,OU=Swarm-Learning"),
        (1, GIVEN, "CN=SL-site-1,OU=Swarm-Learning"),
        (2, GIVEN, "CN=SL-site-1,OU=Swarm-Learning"),
    ]
    assert len(swarm_privacy("show", "--site", "site-2", "--data-dir", chain).splitlines()) == 1


def test_a_statement_belongs_to_the_run_in_which_it_was_made(tmp_path: Path) -> None:
    ledger = trained()
    ledger.join("op", "SWCI")
    finish(ledger)
    report_all(ledger)
    ledger.send("op", Reset(forced=False))
    found = json.loads(swarm_privacy("show", "--json", "--data-dir", written(ledger, tmp_path / "chain.sqlite")))
    assert [each["run"] for each in found] == [1, 1]


def test_a_proof_is_verified_by_whoever_has_the_ledger(chain: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof.json"
    swarm_privacy("prove", proof, "--round", "2", "--data-dir", chain)
    shown = swarm_privacy("verify", proof, "--data-dir", chain)
    epsilon = f"{composed_epsilon([NOISE] * 2, DELTA):.6g}"
    assert f"site-1 (CN=SL-site-1,OU=Swarm-Learning of org-1) gave model {GIVEN}" in shown
    assert f"by the site's own record 2 models with noise so far: ε = {epsilon} at δ = 1e-05" in shown
    assert f"this ledger has 2 models with noise of it: ε = {epsilon}, not more than it states" in shown


def test_a_proof_that_was_altered_or_is_of_another_ledger_is_refused(chain: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof.json"
    swarm_privacy("prove", proof, "--round", "1", "--data-dir", chain)
    whole = json.loads(proof.read_text())
    other = written(trained(stated(2)), tmp_path / "other.sqlite")
    assert "is of network" in swarm_privacy("verify", proof, "--data-dir", other, code=1)
    for change in ({"height": whole["height"] + 1}, {"transaction": whole["transaction"][:-4] + "AAAA"}):
        proof.write_text(json.dumps(whole | change))
        assert "of this ledger has no such statement" in swarm_privacy("verify", proof, "--data-dir", chain, code=1)
    for text in ("", "{}", "[" * 2000, json.dumps(whole | {"height": -1}), "x" * (1024 * 1024 + 1)):
        proof.write_text(text)
        assert "no proof of `swarm privacy prove`" in swarm_privacy("verify", proof, "--data-dir", chain, code=1)


def test_a_model_is_compared_with_what_was_given(chain: Path, tmp_path: Path) -> None:
    proof, model = tmp_path / "proof.json", tmp_path / "model.safetensors"
    swarm_privacy("prove", proof, "--round", "1", "--data-dir", chain)
    model.write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    refused = swarm_privacy("verify", proof, "--model", model, "--data-dir", chain, code=1)
    assert f"which is not what site-1 gave to round 1: {GIVEN}" in refused
    assert "verified" not in refused, "of what is refused nothing is called verified"


def test_a_site_that_states_less_than_it_gave_is_found(tmp_path: Path) -> None:
    honest = composed_epsilon([NOISE], DELTA)
    chain, proof = written(trained(stated(2, honest)), tmp_path / "chain.sqlite"), tmp_path / "proof.json"
    swarm_privacy("prove", proof, "--round", "2", "--data-dir", chain)
    refused = swarm_privacy("verify", proof, "--data-dir", chain, code=1)
    assert f"site-1 states ε = {honest:.6g}, but 2 models of it on this ledger compose to" in refused
    assert "verified" not in refused


def test_clipping_alone_states_no_epsilon(tmp_path: Path) -> None:
    chain, proof = written(trained(stated(0, noise=0.0)), tmp_path / "chain.sqlite"), tmp_path / "proof.json"
    swarm_privacy("prove", proof, "--round", "2", "--data-dir", chain)
    assert "without noise, so without a bound on ε" in swarm_privacy("verify", proof, "--data-dir", chain)


def test_what_is_not_clear_is_an_error(chain: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof.json"
    assert "no statements of a privacy lock for round 7" in swarm_privacy(
        "prove", proof, "--round", "7", "--data-dir", chain, code=1
    )
    assert not proof.exists()
    assert "one of --data-dir (on this disk) and --sn-ip" in swarm_privacy("show", code=1)
    assert "cannot be read" in swarm_privacy("verify", proof, "--data-dir", chain, code=1)
    wrong = swarm_privacy("show", "--network-id", "0" * 64, "--data-dir", chain, code=1)
    assert "this is the ledger of network" in wrong
