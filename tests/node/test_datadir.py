"""The data directory: one node, across its restarts."""

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError

A, B = "a" * 64, "b" * 64
UID = str(uuid4())


def test_a_data_directory_keeps_the_uid_and_counts_starts_as_incarnations(tmp_path: Path) -> None:
    starts = []
    for _ in range(3):
        with DataDirectory(tmp_path / "new" / "folder") as place:
            starts.append((place.uid, place.incarnation))
    uid = starts[0][0]
    assert str(UUID(uid)) == uid
    assert starts == [(uid, 1), (uid, 2), (uid, 3)]


def test_each_data_directory_is_a_node_of_its_own(tmp_path: Path) -> None:
    with DataDirectory(tmp_path / "a") as one, DataDirectory(tmp_path / "b") as other:
        assert one.uid != other.uid


def test_a_node_has_the_uid_that_it_was_given_and_no_other_later(tmp_path: Path) -> None:
    with DataDirectory(tmp_path, uid=UID) as place:
        assert place.uid == UID
    with DataDirectory(tmp_path) as place:
        assert place.uid == UID
    other = DataDirectory(tmp_path, uid=str(uuid4()))
    with pytest.raises(NodeError, match=f"is the data directory of node {UID}"), other:
        pass
    with pytest.raises(NodeError, match="has to be a UUID"):
        DataDirectory(tmp_path, uid="sl-1")


def test_only_its_user_can_read_a_data_directory(tmp_path: Path) -> None:
    with DataDirectory(tmp_path / "data") as place:
        assert place.path.stat().st_mode & 0o077 == 0


def test_a_second_process_cannot_use_a_data_directory_until_the_first_has_ended(tmp_path: Path) -> None:
    hold = "import sys\nfrom pathlib import Path\nfrom swarmlearning.node.datadir import DataDirectory\n"
    hold += "with DataDirectory(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    command = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(NodeError, match="another process of this node is running; stop it, or") as refused:
            DataDirectory(tmp_path).__enter__()
        assert str(tmp_path) in str(refused.value)
        other.kill()
    with DataDirectory(tmp_path) as place:
        assert place.incarnation == 2


def test_a_data_directory_is_pinned_to_one_network(tmp_path: Path) -> None:
    with DataDirectory(tmp_path) as place:
        assert place.network == ""
        place.pin(A, "hospitals")
        place.pin(A, "hospitals")
    with DataDirectory(tmp_path) as place:
        assert place.network == A
        place.pin(A, "hospitals")
        with pytest.raises(NodeError, match=r"belongs to network 'hospitals', .* found network 'banks'") as refused:
            place.pin(B, "banks")
        assert place.network == A
    for part in (A, B, f"use another --data-dir; where the old network is gone for good, delete {tmp_path}/node.json"):
        assert part in str(refused.value)


def test_a_network_that_is_named_before_the_first_contact_is_the_only_one_to_join(tmp_path: Path) -> None:
    with DataDirectory(tmp_path, A) as place:
        for join in (place.require, place.pin):
            with pytest.raises(NodeError, match=rf"--network-id names network {A}, but found network 'banks', {B}: "):
                join(B, "banks")
        assert place.network == ""
        place.pin(A, "hospitals")
    with DataDirectory(tmp_path, A) as place:
        assert place.network == A


def test_a_node_that_belongs_to_another_network_than_the_one_named_does_not_start(tmp_path: Path) -> None:
    with DataDirectory(tmp_path) as place:
        place.pin(A, "hospitals")
    with pytest.raises(NodeError, match=rf"names network {B}, but .* network 'hospitals', {A}: .* delete {tmp_path}/n"):
        DataDirectory(tmp_path, B).__enter__()
    with DataDirectory(tmp_path, A) as place:
        assert place.incarnation == 2


@pytest.mark.parametrize("content", [b"", b"{}", b"nonsense", b'{"uid": 1}', b"\xff\xfe"])
def test_a_damaged_node_file_is_named_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "node.json"
    file.write_bytes(content)
    with pytest.raises(NodeError, match=r"node\.json: cannot be read .*restore it, or use another --data-dir"):
        DataDirectory(tmp_path).__enter__()
    assert file.read_bytes() == content


@pytest.mark.parametrize("uid", ["", "sl-1", "F53668E1-23DB-4B2B-8AA6-C5FCC236C87E"])
def test_a_node_file_whose_uid_is_no_uuid_is_refused(tmp_path: Path, uid: str) -> None:
    record = {"uid": uid, "incarnation": 1, "network": "", "network_name": ""}
    (tmp_path / "node.json").write_text(json.dumps(record))
    with pytest.raises(NodeError, match=rf"node\.json: {uid!r} is no UUID; restore the file"):
        DataDirectory(tmp_path).__enter__()


def test_the_node_file_is_replaced_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash in between leaves the old content, never half of the new one."""
    with DataDirectory(tmp_path):
        pass

    def crash(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(NodeError, match=r"node\.json: cannot be written: No space left on device"):
        DataDirectory(tmp_path).__enter__()
    assert json.loads((tmp_path / "node.json").read_bytes())["incarnation"] == 1


def test_a_data_directory_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        with pytest.raises(NodeError, match=f"{path}: cannot make the data directory"):
            DataDirectory(path)


def test_a_data_directory_keeps_the_addresses_of_the_sns_for_the_next_start(tmp_path: Path) -> None:
    with DataDirectory(tmp_path) as place:
        assert place.sns == ()
        place.remember(["10.0.0.1:30304", "10.0.0.2:30304"])
        place.remember(["10.0.0.2:30304"])
    with DataDirectory(tmp_path) as place:
        assert place.sns == ("10.0.0.2:30304",)
