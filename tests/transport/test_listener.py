"""Accepting TLS connections over real sockets while strangers hold theirs half open."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from swarmlearning.identity.certificates import thumbprint
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.rates import Rate
from swarmlearning.transport.listener import HandshakeLimits, Listener
from swarmlearning.transport.parties import Party, credential_of, party_of

Identities = dict[str, Identity]


class Hello(asyncio.Protocol):
    """Sends a greeting; notes who was greeted."""

    def __init__(self, parties: list[Party]) -> None:
        self._parties = parties

    def connection_made(self, transport: Any) -> None:
        credential = credential_of(transport.get_extra_info("ssl_object"))
        self._parties.append(party_of(credential, transport.get_extra_info("peername")))
        transport.write(b"hello")


@asynccontextmanager
async def listening(
    identity: Identity, limits: HandshakeLimits, parties: list[Party] | None = None
) -> AsyncIterator[int]:
    listener = Listener(server_context(identity), lambda: Hello([] if parties is None else parties), limits)
    port = await listener.start("127.0.0.1", 0)
    try:
        yield port
    finally:
        await listener.stop()


class SlowLink:
    """Holds a client's last part of a handshake back."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()


async def greeted(port: int, tls: ssl.SSLContext, source: str = "127.0.0.1", link: SlowLink | None = None) -> bool:
    """True if the handshake succeeds."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind((source, 0))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = tls.wrap_bio(incoming, outgoing)
    with sock, contextlib.suppress(OSError):
        await loop.sock_connect(sock, ("127.0.0.1", port))
        while True:
            try:
                connection.do_handshake()
            except ssl.SSLWantReadError:
                await loop.sock_sendall(sock, outgoing.read())
                data = await loop.sock_recv(sock, 65536)
                if not data:
                    return False
                incoming.write(data)
                continue
            break
        if link is not None:
            link.reached.set()
            await link.go_on.wait()
        await loop.sock_sendall(sock, outgoing.read())
        while data := await loop.sock_recv(sock, 65536):
            incoming.write(data)
            with contextlib.suppress(ssl.SSLWantReadError):
                if connection.read() == b"hello":
                    return True
    return False


@asynccontextmanager
async def silent_connections(port: int, number: int, source: str = "127.0.0.1") -> AsyncIterator[list[socket.socket]]:
    """Connections that send nothing."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(number)]
        for sock in found:
            sock.setblocking(False)
            sock.bind((source, 0))
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        yield found


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
async def test_silent_connections_do_not_displace_a_handshake_in_progress(source: str, identities: Identities) -> None:
    """From the member's own address as from another one; more than there is room for, while its link is slow."""
    link = SlowLink()
    async with listening(identities["SN-1"], HandshakeLimits(number=4, seconds=100)) as port:
        member = asyncio.create_task(greeted(port, client_context(identities["SL-1"]), link=link))
        await link.reached.wait()
        async with silent_connections(port, 40, source) as connections:
            # the first of them has been dropped when the listener has accepted as many as there is room for
            assert await asyncio.get_running_loop().sock_recv(connections[0], 1) == b""
            link.go_on.set()
            assert await member


async def test_unfinished_handshakes_of_a_stranger_do_not_displace_a_member_at_another_address(
    identities: Identities,
) -> None:
    link, never = SlowLink(), SlowLink()
    tls = client_context(identities["SL-1"])
    async with listening(identities["SN-1"], HandshakeLimits(number=4, seconds=100)) as port:
        member = asyncio.create_task(greeted(port, tls, link=link))
        await link.reached.wait()
        strangers = [asyncio.create_task(greeted(port, tls, "127.0.0.2", never)) for _ in range(20)]
        assert await greeted(port, tls, "127.0.0.3")
        link.go_on.set()
        assert await member
        never.go_on.set()
        assert not all(await asyncio.gather(*strangers))


async def test_a_silent_connection_ends_after_the_time_for_handshakes(identities: Identities) -> None:
    async with (
        listening(identities["SN-1"], HandshakeLimits(number=4, seconds=0.1)) as port,
        silent_connections(port, 1) as connections,
    ):
        assert await asyncio.get_running_loop().sock_recv(connections[0], 1) == b""


async def test_the_party_of_a_connection_has_its_authority(identities: Identities) -> None:
    parties: list[Party] = []
    async with listening(identities["SN-1"], HandshakeLimits(), parties) as port:
        assert await greeted(port, client_context(identities["SL-2"]))
    authority = thumbprint(identities["SL-2"].anchors[0])
    assert parties == [Party(authority, identities["SL-2"].thumbprint, "127.0.0.1")]


async def test_failed_handshakes_of_one_network_do_not_fill_the_log(
    identities: Identities, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(identities["SN-1"], HandshakeLimits()) as port:
        for _ in range(20):
            async with silent_connections(port, 1) as connections:
                await asyncio.get_running_loop().sock_sendall(connections[0], b"GET / HTTP/1.1\r\n\r\n")
                with contextlib.suppress(OSError):
                    while await asyncio.get_running_loop().sock_recv(connections[0], 1000):
                        pass
    assert caplog.text.count("TLS handshake with 127.0.0.1") == 1


async def test_handshakes_from_one_network_are_begun_at_a_bounded_rate_and_others_do_not_wait(
    identities: Identities,
) -> None:
    tls = client_context(identities["SL-1"])
    limits = HandshakeLimits(number=20, seconds=100, pace=Rate(1, 0, seconds=1000))
    async with listening(identities["SN-1"], limits) as port:
        assert await greeted(port, tls, "127.0.0.2")
        for _ in range(5):
            assert not await greeted(port, tls, "127.0.0.2")
        assert await greeted(port, tls, "127.0.0.3")
