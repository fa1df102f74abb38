"""A relay over real sockets: whom it joins, whom it refuses, and what ends a stream."""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from support.faulty_holder import CONTENT
from support.relays import HOST, Registry, Running, behind, relaying
from support.serving import serving_models
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.models.fileserver import file_app
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import Fetcher, TransferError
from swarmlearning.relay import relay as module
from swarmlearning.relay import stream as stream_module
from swarmlearning.relay.callee import Callee
from swarmlearning.relay.opening import Opening, RelayError
from swarmlearning.transport.shares import Share

Identities = dict[str, Identity]
UID = "sl-1"


class Adopted:
    """Takes the connections of those who call."""

    def __init__(self) -> None:
        self.come: asyncio.Queue[socket.socket] = asyncio.Queue()

    def __call__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.come.put_nowait(sock)


def registry(identities: Identities) -> Registry:
    return Registry({UID: identities["SL-1"].thumbprint})


async def stream(running: Running, caller: Identity, adopted: Adopted) -> tuple[socket.socket, socket.socket]:
    """Both ends of a stream from `caller` to the node behind the relay."""
    own = await running.ask(caller, f"OPEN {UID}")
    own.setblocking(False)
    return own, await adopted.come.get()


async def received(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := await asyncio.get_running_loop().sock_recv(sock, count - len(data))):
        data += more
    return data


async def ended(sock: socket.socket) -> bool:
    try:
        return not await asyncio.get_running_loop().sock_recv(sock, 1)
    except ConnectionError:
        return True


async def test_a_model_is_fetched_through_a_relay_which_sees_none_of_its_bytes(
    identities: Identities, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = bytearray()
    loop = asyncio.get_running_loop()

    class Watched(stream_module.Stream):
        async def _copy(self, source: socket.socket, target: socket.socket, limit: asyncio.Timeout) -> None:
            while data := await loop.sock_recv(source, 2**16):
                seen.extend(data)
                await loop.sock_sendall(target, data)
            target.shutdown(socket.SHUT_WR)

    monkeypatch.setattr(module, "Stream", Watched)
    (tmp_path / "content").write_bytes(CONTENT)
    held = TensorStore(tmp_path / "held")
    digest = (await held.adopt(tmp_path / "content")).root
    fetcher = Fetcher(client_context(identities["SL-2"]), TensorStore(tmp_path / "fetched"))
    async with (
        relaying(identities["SN-1"], registry(identities)) as running,
        serving_models(held, identities["SL-1"], [identities["SL-2"]]) as server,
        behind(running, identities["SL-1"], UID, server.adopt),
    ):
        file = await fetcher.fetch(digest, [(HOST, running.port, UID)])
        assert file.read_bytes() == CONTENT
        await fetcher.close()
    assert len(seen) > len(CONTENT)
    assert CONTENT[:16] not in seen
    assert digest.encode() not in seen
    assert identities["SL-2"].chain[0].subject.rfc4514_string().encode() not in seen


async def test_a_node_that_serves_without_listening_serves_through_a_relay(
    identities: Identities, tmp_path: Path
) -> None:
    (tmp_path / "content").write_bytes(CONTENT)
    held = TensorStore(tmp_path / "held")
    digest = (await held.adopt(tmp_path / "content")).root
    server = Server(
        file_app(held, lambda thumbprint, digest, chunks: True), server_context(identities["SL-1"]), HOST, 0
    )
    server.start_unheard()
    fetcher = Fetcher(client_context(identities["SL-2"]), TensorStore(tmp_path / "fetched"))
    async with (
        relaying(identities["SN-1"], registry(identities)) as running,
        behind(running, identities["SL-1"], UID, server.adopt),
    ):
        assert (await fetcher.fetch(digest, [(HOST, running.port, UID)])).read_bytes() == CONTENT
        await fetcher.close()
    assert server.port == 0
    await server.stop(0.1)


async def test_what_follows_the_last_line_at_once_is_not_lost(identities: Identities) -> None:
    adopted = Adopted()
    async with (
        relaying(identities["SN-1"], registry(identities)) as running,
        behind(running, identities["SL-1"], UID, adopted),
    ):
        for _ in range(20):
            own, other = await stream(running, identities["SL-2"], adopted)
            with own, other:
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(own, b"question")
                await loop.sock_sendall(other, b"answer")
                assert await received(other, 8) == b"question"
                assert await received(own, 6) == b"answer"


async def test_the_end_of_one_way_leaves_the_other_open(identities: Identities) -> None:
    adopted = Adopted()
    async with (
        relaying(identities["SN-1"], registry(identities)) as running,
        behind(running, identities["SL-1"], UID, adopted),
    ):
        own, other = await stream(running, identities["SL-2"], adopted)
        with own, other:
            own.shutdown(socket.SHUT_WR)
            assert await ended(other)
            await asyncio.get_running_loop().sock_sendall(other, b"late")
            assert await received(own, 4) == b"late"


@pytest.mark.parametrize(
    ("who", "request_", "reason"),
    [
        ("SL-2", "OPEN nobody", "keeps no connection"),
        ("SL-2", f"SERVE {UID}", "not that of this node"),
        ("SL-2", "ANSWER 0123456789abcdef", "nobody waits"),
        ("SL-2", "GET / HTTP/1.1", "no such request"),
        ("SL-3", f"OPEN {UID}", "it was revoked"),
    ],
)
async def test_a_request_that_is_refused_is_told_the_reason(
    who: str, request_: str, reason: str, identities: Identities
) -> None:
    known = registry(identities)
    known.faults[identities["SL-3"].thumbprint] = "it was revoked"
    async with relaying(identities["SN-1"], known) as running:
        with pytest.raises(RelayError, match=f"refuses to relay: .*{reason}"):
            await running.ask(identities[who], request_)


async def test_the_fault_of_a_fetch_names_relay_and_node(identities: Identities, tmp_path: Path) -> None:
    fetcher = Fetcher(client_context(identities["SL-2"]), TensorStore(tmp_path / "fetched"))
    async with relaying(identities["SN-1"], registry(identities)) as running:
        text = f"{UID} through the relay {running.address} refuses to relay: this node keeps no connection"
        with pytest.raises(TransferError, match=text):
            await fetcher.fetch("0" * 64, [(HOST, running.port, UID)])
        await fetcher.close()


async def test_a_node_that_is_called_and_does_not_come_is_waited_for_a_bounded_time(
    identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)
    async with relaying(identities["SN-1"], registry(identities)) as running:
        kept = await running.ask(identities["SL-1"], f"SERVE {UID}")
        with kept, pytest.raises(RelayError, match="has not come"):
            await running.ask(identities["SL-2"], f"OPEN {UID}")


async def test_a_relay_at_an_address_that_is_no_host_name_cannot_be_reached(identities: Identities) -> None:
    """Another organisation's SN announces it."""
    callee = Callee(client_context(identities["SL-1"]), UID, Adopted(), lambda credential: "")
    with pytest.raises(RelayError, match="is not a known host name"):
        await callee.kept("a..b:30305").__aenter__()
    callee.close()


async def test_a_refused_peer_loses_its_streams_at_once_whichever_end_it_is(identities: Identities) -> None:
    for gone in ("SL-1", "SL-2"):
        adopted, thumbprint = Adopted(), identities[gone].thumbprint
        async with (
            relaying(identities["SN-1"], registry(identities)) as running,
            behind(running, identities["SL-1"], UID, adopted) as kept,
        ):
            own, other = await stream(running, identities["SL-2"], adopted)
            with own, other:
                running.relay.drop(lambda shown, of=thumbprint: "revoked" if shown.thumbprint == of else "")  # type: ignore[misc]
                assert await ended(own)
                assert await ended(other)
            if gone == "SL-1":
                with pytest.raises(ConnectionError):
                    await kept


async def test_a_node_that_comes_again_takes_the_place_of_its_former_connection(identities: Identities) -> None:
    former, latter = Adopted(), Adopted()
    async with (
        relaying(identities["SN-1"], registry(identities)) as running,
        behind(running, identities["SL-1"], UID, former) as kept,
        behind(running, identities["SL-1"], UID, latter),
    ):
        with pytest.raises(ConnectionError):
            await kept
        own, other = await stream(running, identities["SL-2"], latter)
        with own, other:
            assert former.come.empty()


async def test_an_organisation_has_no_more_connections_than_its_quota(identities: Identities) -> None:
    known = registry(identities)
    known.share = Share("org-1", 3, 1000)
    adopted = Adopted()
    async with relaying(identities["SN-1"], known) as running, behind(running, identities["SL-1"], UID, adopted):
        own, other = await stream(running, identities["SL-2"], adopted)
        with own, other, pytest.raises(RelayError, match="organisation org-1 has its 3 connections"):
            await running.ask(identities["SL-2"], f"OPEN {UID}")


async def test_a_node_has_no_more_streams_than_one_may_have(
    identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_FOR_NODE", 1)
    adopted = Adopted()
    async with (
        relaying(identities["SN-1"], registry(identities)) as running,
        behind(running, identities["SL-1"], UID, adopted),
    ):
        own, other = await stream(running, identities["SL-2"], adopted)
        with own, other, pytest.raises(RelayError, match="1 streams to this node"):
            await running.ask(identities["SL-3"], f"OPEN {UID}")


async def test_one_organisation_leaves_streams_to_a_node_for_the_others(
    identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who opens streams to a node uses up connections of that node's organisation, too."""
    monkeypatch.setattr(module, "MOST_OF_ONE", 1)
    known, adopted = registry(identities), Adopted()
    known.share = Share("org-1", 100, 1000)
    async with relaying(identities["SN-1"], known) as running, behind(running, identities["SL-1"], UID, adopted):
        own, other = await stream(running, identities["SL-2"], adopted)
        with own, other:
            with pytest.raises(RelayError, match="organisation org-1 has 1 streams to this node"):
                await running.ask(identities["SL-3"], f"OPEN {UID}")
            known.share = Share("org-2", 100, 1000)
            second, its = await stream(running, identities["SL-3"], adopted)
            second.close()
            its.close()


async def test_a_stream_without_a_byte_ends(identities: Identities, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.1)
    adopted = Adopted()
    async with (
        relaying(identities["SN-1"], registry(identities)) as running,
        behind(running, identities["SL-1"], UID, adopted),
    ):
        own, other = await stream(running, identities["SL-2"], adopted)
        with own, other:
            assert await ended(own)
            assert await ended(other)


async def test_what_nobody_has_asked_a_node_for_ends_its_connection(identities: Identities) -> None:
    async with relaying(identities["SN-1"], registry(identities)) as running:
        reader, writer = await asyncio.open_connection(HOST, running.port, ssl=client_context(identities["SL-1"]))
        writer.write(f"SERVE {UID}\n".encode() + b"PONG\n" * 1000)
        assert await reader.readline() == b"OK\n"
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()


async def test_a_node_answers_pings_and_stays(identities: Identities, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PING_SECONDS", 0.01)
    said: asyncio.Queue[str] = asyncio.Queue()

    class Heard(Opening):
        async def line(self) -> str:
            line = await super().line()
            said.put_nowait(line)
            return line

    monkeypatch.setattr(module, "Opening", Heard)
    adopted = Adopted()
    async with (
        relaying(identities["SN-1"], registry(identities)) as running,
        behind(running, identities["SL-1"], UID, adopted) as kept,
    ):
        assert [await said.get() for _ in range(4)] == [f"SERVE {UID}", "PONG", "PONG", "PONG"]
        assert not kept.done()
        own, other = await stream(running, identities["SL-2"], adopted)
        own.close()
        other.close()


async def test_what_a_stream_carries_counts_for_whoever_has_opened_it(identities: Identities) -> None:
    known, adopted = registry(identities), Adopted()
    async with relaying(identities["SN-1"], known) as running, behind(running, identities["SL-1"], UID, adopted):
        own, other = await stream(running, identities["SL-2"], adopted)
        with own, other:
            await asyncio.get_running_loop().sock_sendall(own, bytes(1000))
            await received(other, 1000)
            await asyncio.get_running_loop().sock_sendall(other, bytes(500))
            await received(own, 500)
    assert known.carried == 1500
