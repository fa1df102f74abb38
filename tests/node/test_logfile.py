"""Logs are read by range, across the change from one file to the next, and are bounded."""

import logging
import time
from pathlib import Path

import pytest

from swarmlearning.node import logfile
from swarmlearning.node.logfile import LogError, kept_log, read, read_now
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
