"""Logs are read by range, across the change from one file to the next, and are bounded."""

import json
import logging
import time
from pathlib import Path

import pytest

from swarmlearning.node import logfile
from swarmlearning.node.errors import NodeError
from swarmlearning.node.logfile import LogError, LogSettings, kept_log, read, read_now
from swarmlearning.node.sealing import MAX_PIECE, Piece, Wanted


def stamped(second: int, text: str) -> str:
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(second))},500 : swarm.SL : INFO : {text}\n"


def last(path: Path, lines: int) -> bytes:
    return read_now(path, Wanted(lines=lines)).data


@pytest.mark.parametrize(
    ("older", "newer", "lines", "found"),
    [
        ("", "", 5, b""),
        ("", "a\nb\nc\n", 2, b"b\nc\n"),
        ("", "a\nb\nc", 2, b"b\nc"),
        ("", "a\nb\nc\n", 0, b""),
        ("", "a\nb", 0, b""),
        ("", "a\nb\n", 5, b"a\nb\n"),
        ("a\nb\n", "c\n", 2, b"b\nc\n"),
        ("a\nb", "b\nc\n", 2, b"bb\nc\n"),
        ("a\nb\n", "", 1, b"b\n"),
    ],
)
def test_the_last_lines(tmp_path: Path, older: str, newer: str, lines: int, found: bytes) -> None:
    path = tmp_path / "log"
    path.write_text(newer)
    if older:
        (tmp_path / "log.1").write_text(older)
    assert last(path, lines) == found


def test_lines_from_a_time_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logfile, "_STEP", 64)  # so that times lie across the steps in which it is looked through
    path = tmp_path / "log"
    text = [stamped(1_700_000_000 + second, f"line {second}\nTraceback") for second in range(40)]
    path.write_text("".join(text))
    for second in (0, 1, 17, 39):
        at = Wanted(since_ms=(1_700_000_000 + second) * 1000 + 500)
        assert read_now(path, at).data == "".join(text[second:]).encode()
    assert read_now(path, Wanted(since_ms=1_700_000_100_000)).data == b""
    path.write_text("no time\n")
    with pytest.raises(LogError, match="have no time"):
        read_now(path, Wanted(since_ms=0))


def test_a_reader_goes_on_where_it_was_although_the_file_is_another_one_now(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("a\n")
    first = read_now(path, Wanted())
    with path.open("a") as file:
        file.write("b\n")
    path.rename(tmp_path / "log.1")
    path.write_text("c\n")
    second = read_now(path, Wanted(cursor=first.cursor))
    assert (first.data, second.data, second.lost) == (b"a\n", b"b\nc\n", False)
    assert read_now(path, Wanted(cursor=second.cursor)) == Piece(b"", second.cursor)


def test_a_reader_that_is_too_slow_goes_on_with_what_is_left_and_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("a\n")
    cursor = read_now(path, Wanted()).cursor
    keep = path.open()  # its inode is not used again
    path.unlink()
    path.write_text("c\n")
    found = read_now(path, Wanted(cursor=cursor))
    assert (found.data, found.lost) == (b"c\n", True)
    keep.close()


def test_a_long_log_comes_in_pieces(tmp_path: Path) -> None:
    path, whole = tmp_path / "log", bytes(range(256)) * 1500
    path.write_bytes(whole)
    found, wanted = b"", Wanted(lines=100_000)
    while True:
        piece = read_now(path, wanted)
        assert len(piece.data) <= MAX_PIECE
        found += piece.data
        if not piece.more:
            break
        wanted = Wanted(cursor=piece.cursor)
    assert found == whole


@pytest.mark.parametrize("cursor", ["x", "1:2:3", "-1:2", "1:" + "9" * 30])
def test_what_is_no_cursor_is_refused(tmp_path: Path, cursor: str) -> None:
    (tmp_path / "log").write_text("a\n")
    with pytest.raises(LogError, match="no place in a log"):
        read_now(tmp_path / "log", Wanted(cursor=cursor))


def test_no_link_and_no_pipe_is_read(tmp_path: Path) -> None:
    secret, link, folder = tmp_path / "key", tmp_path / "log", tmp_path / "folder"
    secret.write_text("secret")
    link.symlink_to(secret)
    folder.mkdir()
    for path in (link, folder, tmp_path / "missing"):
        with pytest.raises(LogError):
            read_now(path, Wanted())


async def test_a_reader_waits_for_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.write_text("a\n")
    end = read_now(path, Wanted()).cursor
    assert (await read(path, Wanted(cursor=end, wait=True), 0.0)).data == b""
    looks = 0

    async def look(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            path.write_text("a\nb\n")

    monkeypatch.setattr("swarmlearning.node.logfile.asyncio.sleep", look)
    assert (await read(path, Wanted(cursor=end, wait=True), 60.0)).data == b"b\n"


def test_a_node_s_own_log_is_kept_within_bounds_for_its_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logfile, "HALF", 1000)
    with kept_log(tmp_path):
        for number in range(100):
            logging.getLogger("swarm.SL").warning("line %d\nforged", number)
    path, older = tmp_path / "node.log", tmp_path / "node.log.1"
    assert last(path, 1).endswith(b"line 99\\nforged\n")
    assert path.stat().st_mode & 0o077 == 0
    assert max(path.stat().st_size, older.stat().st_size) <= 1000
    assert sorted(file.name for file in tmp_path.iterdir()) == ["node.log", "node.log.1"]


def test_more_files_are_kept_on_request_and_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logfile, "HALF", 1000)
    with kept_log(tmp_path, settings=LogSettings(files=12)):
        for number in range(200):
            logging.getLogger("swarm.SL").warning("line %d", number)
    names = ["node.log", *(f"node.log.{number}" for number in range(1, 12))]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(names)
    found = last(tmp_path / "node.log", 1000).splitlines()
    assert [line.rpartition(b" ")[2] for line in found] == [b"%d" % number for number in range(200 - len(found), 200)]
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) == sum(len(line) + 1 for line in found) > 11_000
    with kept_log(tmp_path, settings=LogSettings(files=3)):
        pass
    assert sorted(file.name for file in tmp_path.iterdir()) == ["node.log", "node.log.1", "node.log.2"]


def test_a_reader_goes_on_while_files_become_older_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logfile, "HALF", 300)
    path, found, cursor = tmp_path / "node.log", b"", ""
    with kept_log(tmp_path, settings=LogSettings(files=5)):
        for number in range(60):
            logging.getLogger("swarm.SL").warning("line %d", number)
            if number % 7 == 0:
                piece = read_now(path, Wanted(cursor=cursor, lines=1000))
                assert not piece.lost
                found, cursor = found + piece.data, piece.cursor
    found += read_now(path, Wanted(cursor=cursor)).data
    assert [line.rpartition(b" ")[2] for line in found.splitlines()] == [b"%d" % number for number in range(60)]


def test_lines_in_json_have_a_time_too(tmp_path: Path) -> None:
    with kept_log(tmp_path, "site-1", settings=LogSettings("json")):
        for number in range(3):
            logging.getLogger("swarm.SL").warning("line %d", number)
    path = tmp_path / "node.log"
    lines = path.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["node"] for line in lines] == ["site-1"] * 3
    now = time.time()
    assert read_now(path, Wanted(since_ms=int((now - 3600) * 1000))).data == b"".join(lines)
    assert read_now(path, Wanted(since_ms=int((now + 3600) * 1000))).data == b""
    path.write_bytes(stamped(int(now) - 7200, "in text").encode() + path.read_bytes())  # the form was changed
    assert read_now(path, Wanted(since_ms=int((now - 3600) * 1000))).data == b"".join(lines)
    assert read_now(path, Wanted(since_ms=int((now - 9000) * 1000))).data == path.read_bytes()


def test_nodes_share_a_folder_of_logs_but_no_file(tmp_path: Path) -> None:
    settings, logs = LogSettings(folder=tmp_path / "logs"), []
    for name, uid in (("SL-1", "0a" * 16), ("SL-1", "1b" * 16), ("../x y", "2c" * 16), ("", "3d" * 16)):
        with kept_log(tmp_path, name, uid, settings) as path:
            logging.getLogger("swarm.SL").warning("line")
            assert path.read_text().endswith("line\n")
            logs.append(path.name)
            with pytest.raises(NodeError, match="another process writes this log; give this node another --log-dir"):
                kept_log(tmp_path, name, uid, settings).__enter__()
    assert logs == ["SL-1-0a0a0a0a.log", "SL-1-1b1b1b1b.log", "-x-y-2c2c2c2c.log", "node-3d3d3d3d.log"]
    assert {path.parent for path in tmp_path.rglob("*.log")} == {tmp_path / "logs"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    with pytest.raises(NodeError, match=r"logs/SL-1-0a0a0a0a\.log: cannot be written"):
        kept_log(tmp_path, "SL-1", "0a" * 16, LogSettings(folder=tmp_path / "logs")).__enter__()
