"""Backups of an SN, and SNs made of them, by files alone."""

import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest

from support.network import Ledger
from support.uids import uid
from swarmlearning.ledger.bodies import Announce
from swarmlearning.ledger.contracts import network
from swarmlearning.node.checkpoints import Checkpoints
from swarmlearning.node.datadir import DataDirectory, NodeRecord, read_record, write_record
from swarmlearning.node.errors import NodeError
from swarmlearning.ordering.local import ChainWriter, read_chain_file
from swarmlearning.sn.copies import MANIFEST, STARTS, Manifest, back_up, restore

SN = uid("sn-1")


@pytest.fixture
def ledger() -> Ledger:
    made = Ledger(founder=SN)
    made.join(uid("sl-1"))
    for number in range(5):
        made.send(uid("sl-1"), Announce({"fs": f"site:{number + 1}"}), network.CONTRACT)
    return made


def place(folder: Path, ledger: Ledger) -> Path:
    """The data directory of the ledger's SN."""
    folder.mkdir()
    chain_file(folder, ledger)
    write_record(folder, NodeRecord(SN, 3, ledger.chain.network_id, "test"))
    (folder / "sealed").write_bytes(ledger.blocks[-1])
    return folder


def chain_file(folder: Path, ledger: Ledger) -> None:
    with ChainWriter(folder / "chain.sqlite") as writer:
        for height, raw in enumerate(ledger.blocks):
            writer.add(height, raw)


def altered(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / "chain.sqlite")
    with connection:
        connection.execute(statement)
    connection.close()


def test_an_sn_that_is_restored_has_the_same_chain_and_identity_and_starts_with_a_new_number(
    ledger: Ledger, tmp_path: Path
) -> None:
    source = place(tmp_path / "sn", ledger)
    done = back_up(source, tmp_path / "backup")
    assert (done.kept, done.added) == (0, len(ledger.blocks))
    assert done.manifest.state == ledger.chain.world.state_hash()
    shutil.rmtree(source)
    found = restore(tmp_path / "backup", source)
    assert found.chain.hash == ledger.chain.hash
    assert read_chain_file(source / "chain.sqlite") == ledger.blocks
    assert (source / "sealed").read_bytes() == ledger.blocks[-1]
    chain = Checkpoints(source).read(ledger.chain.network_id)
    assert chain is not None
    assert chain.world.state_hash() == ledger.chain.world.state_hash()
    with DataDirectory(source) as started:
        assert (started.uid, started.network) == (SN, ledger.chain.network_id)
        assert started.incarnation == 3 + STARTS + 1
    assert not list(tmp_path.glob(".*"))


def test_a_second_backup_copies_only_what_is_new_and_verifies_it(ledger: Ledger, tmp_path: Path) -> None:
    source, target = place(tmp_path / "sn", ledger), tmp_path / "backup"
    back_up(source, target)
    before = len(ledger.blocks)
    ledger.send(uid("sl-1"), Announce({"fs": "site:99"}), network.CONTRACT)
    chain_file(source, ledger)
    done = back_up(source, target)
    assert (done.kept, done.added) == (before, 1)
    assert done.manifest.height == ledger.chain.height
    assert back_up(source, target).added == 0
    assert restore(target, tmp_path / "new").chain.hash == ledger.chain.hash


def test_a_backup_whose_checkpoint_is_damaged_is_made_anew_and_one_that_did_not_end_goes_on(
    ledger: Ledger, tmp_path: Path
) -> None:
    source, target = place(tmp_path / "sn", ledger), tmp_path / "backup"
    done = back_up(source, target)
    (target / "checkpoint").write_bytes(b"damaged")
    assert back_up(source, target).added == len(ledger.blocks)
    msgspec.structs.replace(done.manifest, height=-1).write(target)
    with pytest.raises(NodeError, match="begun and did not end"):
        restore(target, tmp_path / "new")
    assert back_up(source, target).manifest == done.manifest


def test_what_is_restored_joins_as_a_new_sn_with_the_chain_alone(ledger: Ledger, tmp_path: Path) -> None:
    back_up(place(tmp_path / "sn", ledger), tmp_path / "backup")
    assert restore(tmp_path / "backup", tmp_path / "new", new_node=True).uid == ""
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"chain.sqlite", "checkpoint", "node.json"}
    record = read_record(tmp_path / "new")
    assert record.uid != SN
    assert (record.incarnation, record.network) == (0, ledger.chain.network_id)


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE blocks SET raw = zeroblob(10) WHERE height = 3", "block 3 has been altered"),
        ("DELETE FROM blocks WHERE height = 2", "block 2 is missing"),
        ("DELETE FROM blocks WHERE height > 4", "height 4 instead of 6"),
    ],
)
def test_a_backup_that_is_not_what_it_was_is_not_restored(
    ledger: Ledger, tmp_path: Path, statement: str, fault: str
) -> None:
    back_up(place(tmp_path / "sn", ledger), tmp_path / "backup")
    altered(tmp_path / "backup", statement)
    with pytest.raises(Exception, match=fault):
        restore(tmp_path / "backup", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_damaged_chain_is_not_backed_up_and_the_block_is_named(ledger: Ledger, tmp_path: Path) -> None:
    source = place(tmp_path / "sn", ledger)
    altered(source, "UPDATE blocks SET raw = zeroblob(10) WHERE height = 3")
    with pytest.raises(Exception, match="block 3 has been altered"):
        back_up(source, tmp_path / "backup")
    manifest = Manifest.read(tmp_path / "backup")
    assert manifest is not None
    assert manifest.height == -1


def test_nothing_is_overwritten_and_what_differs_is_named(ledger: Ledger, tmp_path: Path) -> None:
    source, target = place(tmp_path / "sn", ledger), tmp_path / "backup"
    back_up(source, target)
    ledger.send(uid("sl-1"), Announce({"fs": "site:99"}), network.CONTRACT)
    chain_file(source, ledger)
    before = read_chain_file(source / "chain.sqlite")
    with pytest.raises(NodeError, match=r"this SN with the same chain: it has blocks up to 7, the backup up to 6"):
        restore(target, source)
    assert read_chain_file(source / "chain.sqlite") == before
    other = Ledger(founder=SN)
    foreign = place(tmp_path / "foreign", other)
    with pytest.raises(NodeError, match="it belongs to another network, test"):
        restore(target, foreign)
    write_record(foreign, NodeRecord(uid("sn-2"), 1, ledger.chain.network_id, "test"))
    with pytest.raises(NodeError, match=f"it is that of another SN, {uid('sn-2')}"):
        restore(target, foreign)
    write_record(foreign, NodeRecord(SN, 1, ledger.chain.network_id, "test"))
    with pytest.raises(NodeError, match="another chain: block 0 differs"):
        restore(target, foreign)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(NodeError, match="no data directory of an SN"):
        restore(target, tmp_path / "notes")


def test_a_folder_that_is_another_s_or_holds_something_else_is_no_place_for_a_backup(
    ledger: Ledger, tmp_path: Path
) -> None:
    source, target = place(tmp_path / "sn", ledger), tmp_path / "backup"
    back_up(source, target)
    other = place(tmp_path / "other", Ledger(founder=SN))
    with pytest.raises(NodeError, match="is the backup of another SN"):
        back_up(other, target)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(NodeError, match="is not empty, and no backup"):
        back_up(source, tmp_path / "notes")
    with pytest.raises(NodeError, match="no data directory of an SN"):
        back_up(tmp_path / "notes", tmp_path / "backup-2")
    with pytest.raises(NodeError, match="no backup"):
        restore(tmp_path / "notes", tmp_path / "new")
    (target / MANIFEST).write_text("{}")
    with pytest.raises(NodeError, match="no manifest of a backup"):
        restore(target, tmp_path / "new")


def test_a_chain_that_was_restarted_from_an_earlier_block_is_not_mixed_with_a_backup(
    ledger: Ledger, tmp_path: Path
) -> None:
    source, target = place(tmp_path / "sn", ledger), tmp_path / "backup"
    branch, height = ledger.chain, len(ledger.blocks)
    ledger.send(uid("sl-1"), Announce({"fs": "one:1"}), network.CONTRACT)
    chain_file(source, ledger)
    back_up(source, target)
    ledger.chain, ledger.blocks = branch, ledger.blocks[:height]
    ledger.send(uid("sl-1"), Announce({"fs": "two:2"}), network.CONTRACT)
    chain_file(source, ledger)
    with pytest.raises(NodeError, match=f"block {height} is another one than in the backup"):
        back_up(source, target)
