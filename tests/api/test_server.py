"""The mTLS server over real sockets: what the application learns of its peer, and errors of starting and running."""

import logging
import signal
import socket
import ssl
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from starlette.types import Receive, Scope, Send

from support.certs import expired, make_workspace, stranger
from support.gencert import gen_cert
from support.raw_client import GET, Client, describe
from support.serving import serving
from swarmlearning.api.middleware import BodyLimit
from swarmlearning.api.peer import ServerError, peer_thumbprint
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.transport import listener
from swarmlearning.transport.listener import ListenError

Identities = dict[str, Identity]


async def test_the_application_gets_the_peers_certificate_with_every_request(identities: Identities) -> None:
    """Fails if an upgrade of uvicorn changes its protocol class, on which this depends."""
    async with serving(describe, identities["SN-1"]) as server:
        for name in ("SL-1", "SL-2"):
            async with Client.connected(server, client_context(identities[name])) as client:
                for _ in range(2):
                    status, answer = await client.request()
                    assert status == 200
                    assert answer["thumbprint"] == answer["certificate"] == identities[name].thumbprint


async def test_the_application_gets_the_peers_certificate_also_if_it_was_made_by_the_original(tmp_path: Path) -> None:
    old = gen_cert(tmp_path)
    async with (
        serving(describe, old["SN-1"]) as server,
        Client.connected(server, client_context(old["SL-1"])) as client,
    ):
        _, answer = await client.request()
    assert answer["thumbprint"] == old["SL-1"].thumbprint


def test_a_request_scope_without_a_peer_certificate_is_an_error() -> None:
    with pytest.raises(ServerError, match="no peer certificate"):
        peer_thumbprint({"type": "http"})


@pytest.mark.parametrize("kind", ["none", "stranger", "expired"])
async def test_a_client_without_a_trusted_certificate_gets_no_answer_and_is_logged(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    identities = make_workspace(tmp_path, ["SN-1", "SL-1"])
    if kind == "none":
        context = client_context(identities["SL-1"])
        anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anonymous.check_hostname = False
        anonymous.load_verify_locations(cadata="".join(map(ssl.DER_cert_to_PEM_cert, context.get_ca_certs(True))))
        context = anonymous
    else:
        make = {"stranger": stranger, "expired": expired}[kind]
        context = client_context(make(tmp_path, "SL-9"))
        context.verify_mode = ssl.CERT_NONE  # it is the server's verification that is tested
    called = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal called
        called = True

    caplog.set_level(logging.WARNING)
    async with serving(app, identities["SN-1"]) as server, Client.connected(server, context) as client:
        client.writer.write(GET)
        assert await client.rest() == b""
        async with Client.connected(server, client_context(identities["SL-1"])) as member:
            member.writer.write(GET)
            await member.rest()
    assert called  # by the member, which shows that the server lives
    assert "TLS handshake with 127.0.0.1" in caplog.text


async def test_a_port_that_is_in_use_is_an_error_that_names_it(identities: Identities) -> None:
    async with serving(describe, identities["SN-1"]) as server:
        second = Server(describe, server_context(identities["SN-1"]), "127.0.0.1", server.port)
        with pytest.raises(ListenError, match=rf"127\.0\.0\.1:{server.port}.*in use.*another port"):
            await second.start()


async def test_an_address_of_another_machine_is_an_error_that_names_it(identities: Identities) -> None:
    server = Server(describe, server_context(identities["SN-1"]), "192.0.2.1", 0)
    with pytest.raises(ListenError, match=r"192\.0\.2\.1:0.*address of this machine"):
        await server.start()


def test_a_server_whose_tls_context_demands_no_client_certificate_is_refused() -> None:
    with pytest.raises(ServerError, match="client certificate"):
        Server(describe, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "127.0.0.1", 0)


async def test_a_running_server_leaves_signal_handlers_as_they_are(identities: Identities) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    async with serving(describe, identities["SN-1"]):
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


async def test_a_fastapi_application_is_served_with_the_peers_certificate(identities: Identities) -> None:
    app = FastAPI()

    @app.post("/double")
    async def double(request: Request, value: dict[str, int]) -> dict[str, object]:
        return {"doubled": 2 * value["x"], "by": peer_thumbprint(request.scope)}

    body = b'{"x": 21}'
    head = b"POST /double HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    async with (
        serving(BodyLimit(app, 1000), identities["SN-1"]) as server,
        Client.connected(server, client_context(identities["SL-1"])) as client,
    ):
        assert await client.request(head % len(body) + body) == (
            200,
            {"doubled": 42, "by": identities["SL-1"].thumbprint},
        )


async def test_a_server_that_fails_raises_its_error_in_wait_and_stop(
    identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(host: str, port: int) -> socket.socket:
        sock = socket.socket()
        sock.bind((host, port))
        sock.setblocking(False)
        return sock  # does not listen: accepting fails

    monkeypatch.setattr(listener, "listen", deaf)
    server = Server(describe, server_context(identities["SN-1"]), "127.0.0.1", 0)
    await server.start()
    with pytest.raises(OSError, match="Invalid argument"):
        await server.wait()
    with pytest.raises(OSError, match="Invalid argument"):
        await server.stop()
