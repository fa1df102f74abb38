"""`swarm ledger`: what it shows of a chain file, hostile names included, and which paths lead to one."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from support.chainfile import written
from support.network import Ledger
from support.rounds import SITES, UNUSABLE, finish, publish, report_all, submit, three_sites
from swarmlearning.cli.main import app
from swarmlearning.ledger.block import signed_header
from swarmlearning.ledger.bodies import CreateContract, Equivocation, Register
from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.contracts import network


def ledger_command(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["ledger", *map(str, words)], env={"COLUMNS": "300"})


@pytest.fixture
def over() -> Ledger:
    ledger = three_sites()
    finish(ledger)
    report_all(ledger)
    return ledger


def test_a_run_folder_an_sn_s_directory_and_a_chain_file_all_lead_to_the_ledger(over: Ledger, tmp_path: Path) -> None:
    chain = written(over, tmp_path / "run" / "sn" / "chain.sqlite")
    for path in (tmp_path / "run", chain.parent, chain):
        done = ledger_command("verify", path)
        assert done.exit_code == 0, done.output
        assert "ledger verified" in done.stdout


def test_a_folder_without_a_ledger_is_named_in_the_error(tmp_path: Path) -> None:
    done = ledger_command("verify", tmp_path)
    assert done.exit_code == 1
    assert str(tmp_path / "chain.sqlite") in done.stderr


def test_the_ledger_command_shows_every_block_with_its_time(over: Ledger, tmp_path: Path) -> None:
    chain = written(over, tmp_path / "chain.sqlite")
    lines = ledger_command("show", chain).stdout.splitlines()
    assert "time" in lines[0].split()
    times = [line.split()[1] + " " + line.split()[2] for line in lines[1:]]
    assert times == sorted(times)
    assert all(time.endswith("Z") for time in times)
    assert "organisations=org-1" in lines[1]


@pytest.mark.parametrize("name", ["[/]", "[bold]x[/bold]", "[link=file:///x]y[/link]", ":skull:", "\\[x"])
def test_markup_in_the_name_of_a_node_is_shown_as_it_is(name: str, tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.actor("site-9", "SL")
    ledger.send("site-9", Register("SL", name, ledger.actors["site-9"].pem, "0"), network.CONTRACT)
    done = ledger_command("show", written(ledger, tmp_path / "chain.sqlite"))
    assert done.exit_code == 0, done.output
    assert f"name={name}" in done.stdout


def test_on_whose_behalf_an_operator_has_acted_is_shown_beside_it(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.join("op", "UI")
    ledger.send("op", CreateContract(), "study", on_behalf_of="Dr. [Ada]")
    chain = written(ledger, tmp_path / "chain.sqlite")
    assert " CreateContract  op (for Dr. [Ada]) " in ledger_command("show", chain).stdout
    *_, last = ledger_command("show", "--json", chain).stdout.splitlines()
    assert json.loads(last)["transactions"][0]["on_behalf_of"] == "Dr. [Ada]"


def test_who_was_left_out_of_a_merge_is_shown_with_the_tensor_at_fault(tmp_path: Path) -> None:
    ledger = three_sites()
    submit(ledger, SITES[0], digest=UNUSABLE)
    submit(ledger, *SITES[1:])
    publish(ledger, "f" * 64)
    output = ledger_command("show", written(ledger, tmp_path / "chain.sqlite")).stdout
    (line,) = [line for line in output.splitlines() if "left-out=" in line]
    assert " (non-finite: NaN in a)" in line


def test_the_proof_that_an_sn_has_sealed_two_blocks_is_shown_by_what_they_differ_in(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.join("sn-2", "SN")
    header, signed = signed_header(ledger.seal(sealer="sn-2"))
    later = msgspec.structs.replace(header, time_ms=header.time_ms + 1, state_hash="e" * 64)
    second = ledger.actors["sn-2"].signer.sign(canonical(later))
    ledger.send("sn-1", Equivocation(signed, second), network.CONTRACT)
    output = ledger_command("show", written(ledger, tmp_path / "chain.sqlite")).stdout
    (line,) = [line for line in output.splitlines() if "Equivocation" in line]
    assert line.endswith(
        f"sealer=sn-2 height={header.height}, sealed twice: (time_ms={header.time_ms}; "
        f"state_hash={header.state_hash[:12]}) and (time_ms={later.time_ms}; state_hash={'e' * 12})"
    )


def test_the_ledger_command_writes_one_json_object_a_block(over: Ledger, tmp_path: Path) -> None:
    chain = written(over, tmp_path / "chain.sqlite")
    lines = ledger_command("show", "--json", chain).stdout.splitlines()
    assert [json.loads(line)["height"] for line in lines] == list(range(len(over.blocks)))


def test_a_damaged_block_makes_verification_fail(over: Ledger, tmp_path: Path) -> None:
    chain = written(over, tmp_path / "chain.sqlite")
    with closing(sqlite3.connect(chain)) as database:
        database.execute("UPDATE blocks SET raw = X'00' WHERE height = 3")
        database.commit()
    done = ledger_command("verify", chain)
    assert done.exit_code == 1
