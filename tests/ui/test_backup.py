"""The UI's folder as an archive: one consistent state, no secret in it, and nothing but what its list says."""

import gzip
import io
import os
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from swarmlearning.ui.backup import LIST, BackupError, Content, backup, restore

PEM = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Of a UI that runs: a write is in its log only, and another one under way."""
    (tmp_path / "ui" / "projects" / "mnist").mkdir(parents=True)
    (tmp_path / "ui" / "projects" / "mnist" / "project.json").write_text("{}")
    opened = sqlite3.connect(tmp_path / "ui" / "ui.sqlite", isolation_level=None)
    opened.execute("PRAGMA journal_mode=WAL")
    opened.execute("PRAGMA wal_autocheckpoint=0")
    opened.execute("CREATE TABLE users (name TEXT, secret BLOB)")
    opened.execute("INSERT INTO users VALUES ('alice', x'00')")
    yield opened
    opened.close()


def contents(folder: Path) -> dict[str, bytes]:
    files = (each for each in folder.rglob("*") if each.is_file())
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in files}


def test_a_folder_in_use_comes_back_as_one_state(database: sqlite3.Connection, tmp_path: Path) -> None:
    folder, archive, again = tmp_path / "ui", tmp_path / "ui.tar.gz", tmp_path / "again"
    (folder / "ui.lock").touch()
    (folder / "link").symlink_to("/etc/passwd")
    database.execute("BEGIN")
    database.execute("INSERT INTO users VALUES ('mallory', NULL)")
    done = backup(folder, archive, "1.0")
    assert (archive.stat().st_mode & 0o777, done.content.version, done.left_out) == (0o600, "1.0", ("link", "ui.lock"))
    assert restore(archive, again).content == done.content
    assert sorted(contents(again)) == ["projects/mnist/project.json", "ui.sqlite"]
    assert done.size == sum(map(len, contents(again).values()))
    assert (again.stat().st_mode & 0o777, (again / "ui.sqlite").stat().st_mode & 0o777) == (0o700, 0o600)
    restored = sqlite3.connect(again / "ui.sqlite")
    assert restored.execute("SELECT name FROM users").fetchall() == [("alice",)]
    restored.close()
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_a_restore_logs_nobody_in(database: sqlite3.Connection, tmp_path: Path) -> None:
    token = b"the hash of a token of a session"
    database.execute("CREATE TABLE sessions (token BLOB, user TEXT)")
    database.execute("INSERT INTO sessions VALUES (?, 'alice')", (token,))
    backup(tmp_path / "ui", tmp_path / "ui.tar.gz", "1.0")
    restore(tmp_path / "ui.tar.gz", tmp_path / "again")
    assert token not in (tmp_path / "again" / "ui.sqlite").read_bytes()
    restored = sqlite3.connect(tmp_path / "again" / "ui.sqlite")
    counts = [restored.execute(f"SELECT count(*) FROM {each}").fetchone() for each in ("sessions", "users")]
    restored.close()
    assert counts == [(0,), (1,)]
    assert database.execute("SELECT count(*) FROM sessions").fetchone() == (1,)  # who works goes on


def test_the_bundle_that_hosts_get_is_in_no_backup(database: sqlite3.Connection, tmp_path: Path) -> None:
    folder, again = tmp_path / "ui", tmp_path / "again"
    for path in ("bundle/bin/etcd", "projects/mnist/bundle/notes.txt"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"x")
    assert backup(folder, tmp_path / "ui.tar.gz", "1.0").left_out == ("bundle/",)
    restore(tmp_path / "ui.tar.gz", again)
    assert [path for path in contents(again) if "bundle" in path] == ["projects/mnist/bundle/notes.txt"]


def test_archives_of_logs_are_in_no_backup(database: sqlite3.Connection, tmp_path: Path) -> None:
    folder, archive = tmp_path / "ui", tmp_path / "ui.tar.gz"
    for parent in (folder, folder / "projects" / "mnist"):
        (parent / "diagnostics").mkdir()
        (parent / "diagnostics" / "log").touch()
    done = backup(folder, archive, "1.0")
    assert done.left_out == ("diagnostics/",)
    paths = sorted(each.path for each in done.content.files)
    assert paths == ["projects/mnist/diagnostics/log", "projects/mnist/project.json", "ui.sqlite"]


def test_a_private_key_is_refused_in_a_file_and_in_a_database(database: sqlite3.Connection, tmp_path: Path) -> None:
    folder, archive = tmp_path / "ui", tmp_path / "ui.tar.gz"
    (folder / "https-key.pem").write_bytes(PEM)
    with pytest.raises(BackupError, match=r"https-key\.pem holds a private key: a backup has no secrets"):
        backup(folder, archive, "1")
    (folder / "https-key.pem").unlink()
    for value in (PEM, PEM.decode()):
        database.execute("UPDATE users SET secret = ?", (value,))
        with pytest.raises(BackupError, match=r"ui\.sqlite \(table users\) holds a private key"):
            backup(folder, archive, "1")
    assert not archive.exists()
    assert [each.name for each in tmp_path.iterdir()] == ["ui"]


def test_places_that_would_lose_something_are_refused(database: sqlite3.Connection, tmp_path: Path) -> None:
    folder, archive = tmp_path / "ui", tmp_path / "ui.tar.gz"
    with pytest.raises(BackupError, match="there is no such folder"):
        backup(tmp_path / "other", archive, "1")
    with pytest.raises(BackupError, match="lies in the folder that is saved"):
        backup(folder, folder / "projects" / "ui.tar.gz", "1")
    with pytest.raises(BackupError, match="No such file or directory"):
        backup(folder, tmp_path / "no" / "ui.tar.gz", "1")
    backup(folder, archive, "1")
    with pytest.raises(BackupError, match="exists; a backup never replaces another one"):
        backup(folder, archive, "1")
    for full in (folder, archive):
        with pytest.raises(BackupError, match="an empty folder only"):
            restore(archive, full)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BackupError, match="an empty folder only"):
        restore(archive, tmp_path / "link")
    (tmp_path / "empty").mkdir()
    restore(archive, tmp_path / "empty")


def repacked(archive: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], object]) -> Path:
    """The archive with other members."""
    with tarfile.open(archive) as tar:
        members = [(each, (tar.extractfile(each) or io.BytesIO()).read()) for each in tar]
    change(members)
    other = archive.with_name("changed.tar.gz")
    with tarfile.open(other, "w:gz") as tar:
        for header, data in members:
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return other


def renamed(members: list[tuple[tarfile.TarInfo, bytes]], name: str) -> None:
    members[0][0].name = name


def linked(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members[0][0].type, members[0][0].linkname = tarfile.SYMTYPE, "/etc/passwd"


def altered(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members[0] = (members[0][0], b"[]")


def relisted(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    listed = msgspec.json.decode(members[-1][1], type=Content)
    members[-1] = (members[-1][0], msgspec.json.encode(msgspec.structs.replace(listed, files=listed.files[1:])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda members: renamed(members, "../outside"), "leads out of the folder"),
        (lambda members: renamed(members, "/etc/cron.d/x"), "leads out of the folder"),
        (lambda members: renamed(members, "a//b"), "leads out of the folder"),
        (linked, "is unexpected in it"),
        (altered, "damaged: what it lists and what it holds differ in ui.sqlite"),
        (relisted, "differ in ui.sqlite"),
        (lambda members: members.append(members[0]), "is unexpected in it"),
        (lambda members: members.insert(0, members[0]), "is in it twice"),
        (lambda members: members.pop(), "its list is missing"),
        (lambda members: members.pop(0), "differ in ui.sqlite"),
        (lambda members: members.__setitem__(-1, (members[-1][0], b"{}")), "its list cannot be read"),
    ],
)
def test_an_archive_that_is_not_as_it_was_made_is_refused_and_leaves_nothing(
    database: sqlite3.Connection, tmp_path: Path, change: Callable[..., object], message: str
) -> None:
    backup(tmp_path / "ui", tmp_path / "ui.tar.gz", "1")
    before = sorted(os.listdir(tmp_path))  # noqa: PTH208 - names alone
    with pytest.raises(BackupError, match=message):
        restore(repacked(tmp_path / "ui.tar.gz", change), tmp_path / "again")
    assert sorted(os.listdir(tmp_path)) == sorted([*before, "changed.tar.gz"])  # noqa: PTH208


@pytest.mark.parametrize("cut", [0, 10, 200])
def test_what_is_no_archive_or_cut_off_is_refused(database: sqlite3.Connection, tmp_path: Path, cut: int) -> None:
    backup(tmp_path / "ui", tmp_path / "ui.tar.gz", "1")
    whole = (tmp_path / "ui.tar.gz").read_bytes()
    for number, data in enumerate((whole[:cut], b"x" * cut, gzip.compress(b"x" * cut))):
        damaged = tmp_path / f"damaged-{number}"
        damaged.write_bytes(data)
        with pytest.raises(BackupError):
            restore(damaged, tmp_path / "again")
        assert not (tmp_path / "again").exists()


def test_the_list_comes_last_so_that_a_cut_archive_is_noticed(database: sqlite3.Connection, tmp_path: Path) -> None:
    backup(tmp_path / "ui", tmp_path / "ui.tar.gz", "1")
    with tarfile.open(tmp_path / "ui.tar.gz") as tar:
        assert tar.getnames()[-1] == LIST
