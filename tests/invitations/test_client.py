"""A newcomer and who answers at the addresses of its code: a man in between, another network, one that floods it."""

import asyncio
import errno
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from support.certs import authority_in, stranger
from support.ports import fixed_port
from swarmlearning.address import join
from swarmlearning.api.middleware import send_json
from swarmlearning.api.server import Server
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import greeting_context
from swarmlearning.invitations import client as client_module
from swarmlearning.invitations.client import NotTheNetworkError, RefusedError, UnreachableError, contact
from swarmlearning.invitations.code import JoinCode
from swarmlearning.ledger.block import MAX_BLOCK
from swarmlearning.ledger.canonical import sha256

Identities = dict[str, Identity]
Answer = Callable[[Send], Awaitable[None]]
BLOCK = b'{"block": 0}'
STANDING = {"state": "open", "request": "", "certificate": "", "authorities": [], "api": "10.0.0.1:30304"}


def code_for(*addresses: str, workspace: Path) -> JoinCode:
    own = bytes.fromhex(thumbprint(authority_in(workspace).certificate))
    return JoinCode(bytes.fromhex(sha256(BLOCK)), bytes(32), "ca-1", "SL-new", 2**31, addresses, (own,), 1)


def answering(status: int, body: bytes) -> Answer:
    async def answer(send: Send) -> None:
        await send_json(send, status, body)

    return answer


def flooding(size: int) -> Answer:
    """An answer that states no length, and goes on far beyond what one may have."""

    async def answer(send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(size // 65536 * 2):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return answer


async def stalling(send: Send) -> None:
    """An answer that begins and never ends."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x", "more_body": True})
    await asyncio.Event().wait()


@asynccontextmanager
async def false_sn(tls: ssl.SSLContext, **answers: Answer) -> AsyncIterator[str]:
    """The address of a server with these answers to `block` and `standing`."""
    known = {
        "block": answering(200, BLOCK),
        "standing": answering(200, json.dumps(STANDING).encode()),
        **answers,
    }

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await known["block" if scope["path"] == "/join/block" else "standing"](send)

    server = Server(app, tls, "127.0.0.1", 0, to_strangers=True)
    await server.start()
    try:
        yield join("127.0.0.1", server.port)
    finally:
        await server.stop(0.05)


async def test_an_sn_of_the_network_is_contacted(identities: Identities, workspace: Path) -> None:
    """What the others here lack: else all of them would be refused for another reason."""
    async with (
        false_sn(greeting_context(identities["SN-1"])) as address,
        contact(code_for(address, workspace=workspace)) as client,
    ):
        assert (await client.standing()).api == "10.0.0.1:30304"


async def test_who_has_another_authority_is_refused_before_anything_is_sent(
    tmp_path: Path, identities: Identities, workspace: Path
) -> None:
    asked: list[str] = []

    async def note(send: Send) -> None:
        asked.append("asked")

    async with false_sn(greeting_context(stranger(tmp_path, "SN-1")), block=note, standing=note) as address:
        with pytest.raises(NotTheNetworkError, match="no SN of this code: no authority that the code names"):
            async with contact(code_for(address, workspace=workspace)):
                pass
    assert asked == []


async def test_who_only_shows_the_right_authority_is_refused(
    tmp_path: Path, identities: Identities, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A man in between knows the certificate of the authority as everybody may, but has none by it."""
    own = stranger(tmp_path, "SN-1")
    monkeypatch.setattr(Identity, "authorities", (authority_in(workspace).certificate,))
    async with false_sn(greeting_context(own)) as address:
        with pytest.raises(NotTheNetworkError, match="its certificate is not by the authority that the code names"):
            async with contact(code_for(address, workspace=workspace)):
                pass


async def test_a_node_that_is_no_sn_cannot_stand_in_between(identities: Identities, workspace: Path) -> None:
    async with false_sn(greeting_context(identities["SL-1"])) as address:
        with pytest.raises(NotTheNetworkError, match=r"is no SN: .*for the role SL, not SN"):
            async with contact(code_for(address, workspace=workspace)):
                pass


async def test_an_sn_of_another_network_is_refused(identities: Identities, workspace: Path) -> None:
    async with false_sn(greeting_context(identities["SN-1"]), block=answering(200, b'{"block": 1}')) as address:
        with pytest.raises(NotTheNetworkError, match="it belongs to another network"):
            async with contact(code_for(address, workspace=workspace)):
                pass


async def test_what_an_sn_sends_is_bounded_in_bytes_and_in_time(
    identities: Identities, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = greeting_context(identities["SN-1"])
    async with false_sn(tls, block=flooding(MAX_BLOCK)) as address:
        with pytest.raises(NotTheNetworkError, match=f"more than the {MAX_BLOCK} bytes"):
            async with contact(code_for(address, workspace=workspace)):
                pass
    async with (
        false_sn(tls, standing=flooding(client_module.MOST_BYTES)) as address,
        contact(code_for(address, workspace=workspace)) as client,
    ):
        with pytest.raises(NotTheNetworkError, match=f"more than the {client_module.MOST_BYTES} bytes"):
            await client.standing()
    monkeypatch.setattr(client_module, "ANSWER_SECONDS", 0.3)
    async with false_sn(tls, block=stalling) as address:
        with pytest.raises(UnreachableError, match="no answer in time"):
            async with contact(code_for(address, workspace=workspace)):
                pass


async def test_a_server_that_never_shakes_hands_is_left(
    identities: Identities, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "CONNECT_SECONDS", 0.3)

    async def keep_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(keep_silent, "127.0.0.1", 0) as server:
        address = join(*server.sockets[0].getsockname())
        with pytest.raises(UnreachableError, match="no answer in time"):
            async with contact(code_for(address, workspace=workspace)):
                pass


@pytest.mark.parametrize(
    "body",
    [
        b"nothing",
        b"[" * 100_000,
        json.dumps({**STANDING, "state": "done"}).encode(),
        json.dumps({**STANDING, "authorities": ["x"] * 65}).encode(),
        json.dumps({**STANDING, "certificate": "x" * 70_000}).encode(),
    ],
)
async def test_an_answer_that_is_none_is_refused(body: bytes, identities: Identities, workspace: Path) -> None:
    async with (
        false_sn(greeting_context(identities["SN-1"]), standing=answering(200, body)) as address,
        contact(code_for(address, workspace=workspace)) as client,
    ):
        with pytest.raises(NotTheNetworkError, match="an answer that cannot be understood"):
            await client.standing()


async def test_a_refusal_is_shown_escaped_and_cut(identities: Identities, workspace: Path) -> None:
    body = json.dumps({"code": "no-invitation", "detail": "\x1b[31m" + "long " * 1000}).encode()
    async with (
        false_sn(greeting_context(identities["SN-1"]), standing=answering(409, body)) as address,
        contact(code_for(address, workspace=workspace)) as client,
    ):
        with pytest.raises(RefusedError) as refused:
            await client.standing()
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 500


async def test_the_next_address_is_tried_and_every_reason_is_named(identities: Identities, workspace: Path) -> None:
    closed = join("127.0.0.1", fixed_port())
    async with (
        false_sn(greeting_context(identities["SN-1"])) as address,
        contact(code_for(closed, address, workspace=workspace)) as client,
    ):
        assert client.address == address
    with pytest.raises(UnreachableError, match=f"{closed}: Connection refused; .*no-such-host.invalid:1"):
        async with contact(code_for(closed, "no-such-host.invalid:1", workspace=workspace)):
            pass


async def test_a_refused_connection_is_named_in_words_and_not_as_asyncio_writes_it(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.1', 30307)")

    monkeypatch.setattr(client_module, "open_tls", refuse)
    with pytest.raises(UnreachableError, match=r"^no SN can be reached at 10\.0\.0\.1:30307: Connection refused$"):
        async with contact(code_for("10.0.0.1:30307", workspace=workspace)):
            pass


async def test_the_authority_of_an_sn_is_among_what_its_port_shows(identities: Identities, workspace: Path) -> None:
    async with false_sn(greeting_context(identities["SN-1"])) as address:
        code = code_for(address, workspace=workspace)
        found = await client_module.authority_at(address, code)
    assert to_pem(found) == to_pem(authority_in(workspace).certificate)
