"""The speed of links as the kernel measures it, and compression of models that go over a slow one."""

import asyncio
import contextlib
import http.client
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from zstandard import ZstdDecompressor

from support.certs import make_workspace
from support.faulty_holder import fetching
from support.namespaces import Namespaces
from support.tools import needs
from swarmlearning.identity.tls import client_context
from swarmlearning.models.links import Links
from swarmlearning.models.store import TensorStore
from swarmlearning.tensors.digest import ModelDigest

SIZE = 5_000_000
NOISE = blake3(b"noise").digest(SIZE)
SHRINKS = b"".join(NOISE[at : at + 100] + bytes(900) for at in range(0, SIZE, 1000))
MEGABITS = 64


class Counters:
    """Stands in for a connection: what the kernel counts of it."""

    def __init__(self) -> None:
        self.acked = self.busy = self.no_room = 0

    def getsockopt(self, level: int, option: int, length: int) -> bytes:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        return bytes(120) + struct.pack("=Q40xQQ", self.acked, self.busy, self.no_room)


def note(links: Links, host: str, acked: int, busy: float, no_room: float = 0) -> None:
    connection = Counters()
    connection.acked, connection.busy = 10**9, 10**9  # of earlier answers
    with links.watched(host, connection):  # type: ignore[arg-type]
        connection.acked += acked
        connection.busy += int(busy * 1e6)
        connection.no_room += int(no_room * 1e6)


def test_the_speed_of_a_link_is_that_of_the_last_transfer_to_the_host() -> None:
    links = Links()
    note(links, "a", 10**6, 2.0)
    note(links, "b", 10**6, 0.5)
    assert (links.speed("a"), links.speed("b"), links.speed("c")) == (5e5, 2e6, None)
    note(links, "a", 10**6, 0.25)
    assert links.speed("a") == 4e6


def test_a_receiver_without_room_does_not_make_the_link_slow() -> None:
    links = Links()
    note(links, "a", 10**6, 2.0, no_room=1.0)
    assert links.speed("a") == 1e6
    note(links, "b", 10**6, 2.0, no_room=1.99)
    assert links.speed("b") is None


def test_a_transfer_that_was_too_short_gives_no_speed() -> None:
    links = Links()
    note(links, "a", 10**4, 0.04)
    assert links.speed("a") is None


def test_the_number_of_hosts_whose_speed_is_remembered_is_bounded() -> None:
    links = Links()
    for number in range(5000):
        note(links, str(number), 10**6, 1.0)
    assert len(links._speeds) <= 1024
    assert links.speed("4999") == 1e6


def test_a_connection_whose_counters_cannot_be_read_gives_no_speed() -> None:
    links, ended = Links(), socket.socket()
    ended.close()
    with links.watched("a", ended):
        pass
    assert links.speed("a") is None


def test_what_has_arrived_elsewhere_is_counted_also_after_the_kernel_has_taken_it() -> None:
    links, one, other, ended = Links(), Counters(), Counters(), socket.socket()
    one.acked = 10**9  # of earlier answers
    ended.close()
    with links.watched("a", one), links.watched("b", other), links.watched("c", ended):  # type: ignore[arg-type]
        one.acked += 300
        assert links.arrived() == 300
    other.acked += 5
    assert links.arrived() == links.arrived() == 305
    with links.watched("a", one):  # type: ignore[arg-type]
        one.acked += 1
    assert links.arrived() == 306


@pytest.fixture
def hosts() -> Iterator[Namespaces]:
    with Namespaces(1) as made:
        yield made


@needs("tbf")
async def test_over_a_slow_link_only_a_model_that_shrinks_is_compressed(hosts: Namespaces, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "cert", ["SL-1", "SL-2"])
    there = TensorStore(tmp_path / "there")
    models: list[ModelDigest] = []
    for content in (NOISE, SHRINKS):
        (tmp_path / "content").write_bytes(content)
        models.append(await there.adopt(tmp_path / "content"))
    options = [str(tmp_path / "cert"), "SL-1", hosts.address(1), str(tmp_path / "there"), str(2**62)]
    command = [*hosts.command(1), sys.executable, "-m", "support.holder", *options]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    hosts.slow_down(1, MEGABITS)
    server = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        source = (hosts.address(1), int(await server.stdout.readline()))

        def ask(model: ModelDigest) -> tuple[str | None, bytes]:
            """Content coding and body."""
            connection = http.client.HTTPSConnection(*source, context=client_context(workspace["SL-2"]))
            with contextlib.closing(connection):
                connection.request("GET", f"/models/{model.root}/bundle", headers={"Accept-Encoding": "zstd"})
                response = connection.getresponse()
                return response.getheader("content-encoding"), response.read()

        noise, shrinks = models
        assert (await asyncio.to_thread(ask, shrinks))[0] is None  # nothing is known of the link yet
        coding, body = await asyncio.to_thread(ask, shrinks)
        assert coding == "zstd"
        assert len(body) < SIZE / 5
        assert ZstdDecompressor().decompressobj().decompress(body) == shrinks.to_bytes() + SHRINKS
        assert (await asyncio.to_thread(ask, noise))[0] is None
        here = TensorStore(tmp_path / "here")
        async with fetching(workspace["SL-2"], here) as fetcher:
            assert (await fetcher.fetch(shrinks.root, [source])).read_bytes() == SHRINKS
    finally:
        server.kill()
        await server.wait()
