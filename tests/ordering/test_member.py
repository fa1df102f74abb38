"""An etcd member that cannot be started, or is not ready yet."""

import asyncio
import os
from pathlib import Path
from typing import cast

import pytest

from swarmlearning.ordering.etcd.member import CLIENT_SOCKET, EtcdMember, nobody
from swarmlearning.ordering.protocols import OrderingError


async def test_a_missing_etcd_program_is_an_ordering_error(tmp_path: Path) -> None:
    """As while a package is upgraded: the SN tries again, it does not end."""
    member = EtcdMember(tmp_path / "etcd", tmp_path / "data", "a", nobody)
    with pytest.raises(OrderingError, match=r"cannot start .*etcd in .*data: .*No such file"):
        await member.start(None, new=True)
    assert not member.running
    await member.stop()


async def test_a_site_s_own_proxy_is_not_etcd_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its gRPC would look for its own unix socket there, and never be ready."""
    program = tmp_path / "etcd"
    program.write_text(f"#!/bin/sh\nenv > {tmp_path}/seen\n")
    program.chmod(0o755)
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "no_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://site:1")
    member = EtcdMember(program, tmp_path / "data", "a", lambda: "http://own:2")
    os.mkfifo(tmp_path / "seen")
    await member.start(None, new=True)
    text = await asyncio.to_thread((tmp_path / "seen").read_text)
    await member.stop()
    seen = sorted(line for line in text.splitlines() if "proxy=" in line.lower())
    assert seen == ["HTTP_PROXY=http://own:2", "http_proxy=http://own:2"]


async def test_an_etcd_member_is_ready_for_writes_only_once_it_knows_a_leader(tmp_path: Path) -> None:
    """An etcd that has just started answers before it has elected itself."""
    program, leaders = tmp_path / "etcd", ["0", "0", "1"]
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"leader": "%b"}' % leaders.pop(0).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    member = EtcdMember(program, tmp_path / "data", "a", nobody)
    await member.start(None, new=True)
    server = await asyncio.start_unix_server(answer, str(tmp_path / "data" / CLIENT_SOCKET))
    await member.answers()
    assert len(leaders) == 2
    await member.answers(led=True)
    assert leaders == []
    server.close()
    await member.stop()


def test_an_etcd_member_s_log_begins_anew_while_it_writes_and_never_is_longer_than_two_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was kept for ever: a peer that is away for weeks fills a disk, and every look at its end read all of it."""
    monkeypatch.setattr("swarmlearning.ordering.etcd.member.HALF_LOG", 1000)
    member = EtcdMember(tmp_path / "etcd", tmp_path, "a", nobody)
    member.bound_log()  # there is none yet
    with (tmp_path / "log").open("ab", buffering=0) as etcd:
        for number in range(30):
            etcd.write(b"%d %s\n" % (number, b"x" * 200))
            member.bound_log()
            sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
            assert sizes.keys() <= {"log", "log.1"}
            assert max(sizes.values()) <= 1000 + 210
    kept = (tmp_path / "log.1").read_bytes() + (tmp_path / "log").read_bytes()
    assert [int(line.split()[0]) for line in kept.splitlines()] == list(range(25, 30))


class EndsJustThen:
    """A process that has ended when it is to be killed because it had not."""

    returncode: int | None = None

    async def wait(self) -> int:
        while self.returncode is None:
            await asyncio.Event().wait()
        return self.returncode

    def send_signal(self, number: int) -> None:
        pass

    def kill(self) -> None:
        self.returncode = 0
        raise ProcessLookupError


async def test_an_etcd_member_that_ends_just_before_it_is_killed_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmlearning.ordering.etcd.member.STOP_SECONDS", 0.0)
    member = EtcdMember(tmp_path / "etcd", tmp_path / "data", "a", nobody)
    member._process = cast(asyncio.subprocess.Process, EndsJustThen())
    await member.stop()
    assert not member.running
