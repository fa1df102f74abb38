"""One try to reach a node: what comes of it is a code, whatever is at the other end."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from support.certs import expired, make_workspace, not_yet_valid, stranger
from support.serving import serving
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.models.destinations import Address, refusal_beside
from swarmlearning.models.fileserver import MOST_PROBED, file_app
from swarmlearning.models.links import PROBE
from swarmlearning.models.store import TensorStore
from swarmlearning.node import probing
from swarmlearning.node.outcomes import Outcome
from swarmlearning.node.probing import Target, probe, rate_of
from swarmlearning.proxies import Proxy, ProxyError
from swarmlearning.transport.parties import Credential

PATH = f"{PROBE}{MOST_PROBED}"


@pytest.fixture
def identities(tmp_path: Path) -> dict[str, Identity]:
    return make_workspace(tmp_path / "cert", ["SL-1", "SL-2"])


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who answers has the time that a busy machine needs for it."""
    for name in ("CONNECT_SECONDS", "TLS_SECONDS", "ANSWER_SECONDS"):
        monkeypatch.setattr(probing, name, 60.0)


@asynccontextmanager
async def files(identity: Identity, folder: Path) -> AsyncIterator[int]:
    app = file_app(TensorStore(folder / "models"), lambda thumbprint, digest, chunks: False)
    async with serving(app, identity) as server:
        yield server.port


def target(port: int, identity: Identity | None = None, path: str = PATH, host: str = "127.0.0.1") -> Target:
    def is_it(credential: Credential) -> bool:
        return identity is None or credential.thumbprint == identity.thumbprint

    return Target("sl-1", "fs", host, port, path, is_it)


async def tried(port: int, own: Identity, wanted: Identity | None = None, path: str = PATH) -> Outcome:
    return await asyncio.to_thread(probe, target(port, wanted, path), client_context(own))


KIB = 1024


@pytest.mark.parametrize(
    ("came", "rate"),
    [
        ([(0.0, 14 * KIB)], None),  # too short to tell
        ([(0.0, 256 * KIB)], 256 * KIB * 1000),  # all at once
        (
            [(0.0, 32 * KIB), *((0.1 * n, (32 + 12 * n) * KIB) for n in range(1, 19))],
            137.9 * KIB,
        ),  # shaped, with a burst
        (
            [(0.2, 14 * KIB), (0.4, 42 * KIB), (0.6, 98 * KIB), (0.8, 210 * KIB), (1.0, 256 * KIB)],
            320 * KIB,
        ),  # far away
        ([(0.0, 64 * KIB), (0.01, 200 * KIB), (0.5, 256 * KIB)], 512 * KIB),  # the last packets were lost once
    ],
)
def test_a_rate_follows_from_the_bytes_that_came_by_each_time(
    came: list[tuple[float, int]], rate: float | None
) -> None:
    assert rate_of(came) == (None if rate is None else pytest.approx(rate, rel=0.05))


async def test_a_file_server_is_reached_and_its_speed_is_seen(identities: dict[str, Identity], tmp_path: Path) -> None:
    async with files(identities["SL-1"], tmp_path) as port:
        outcome = await tried(port, identities["SL-2"], identities["SL-1"])
        assert outcome.code == "ok"
        assert outcome.rate is not None
        assert outcome.rtt_ms is not None
        older = await tried(port, identities["SL-2"], path="/no-such-page")
        assert (older.code, older.rate) == ("ok", None)


async def test_another_node_is_told_from_the_one_that_is_wanted(
    identities: dict[str, Identity], tmp_path: Path
) -> None:
    async with files(identities["SL-1"], tmp_path) as port:
        assert (await tried(port, identities["SL-2"], identities["SL-2"])).code == "another"


async def test_it_is_told_at_which_end_a_certificate_is_not_trusted(
    identities: dict[str, Identity], tmp_path: Path
) -> None:
    foreign = stranger(tmp_path, "SL-9")
    knows_both = Identity(
        foreign.chain, (*foreign.anchors, *identities["SL-1"].anchors), *(foreign.cert_path, foreign.key_path),
        foreign.private_key,
    )  # fmt: skip
    async with files(identities["SL-1"], tmp_path) as port:
        assert (await tried(port, foreign)).code == "distrusted-here"
        assert (await tried(port, knows_both)).code == "distrusted-there"


@pytest.mark.parametrize(("make", "code"), [(expired, "expired"), (not_yet_valid, "not-yet-valid")])
async def test_a_certificate_at_the_wrong_time_is_named_as_that(
    make: type[object], code: str, identities: dict[str, Identity], tmp_path: Path
) -> None:
    async with files(make(tmp_path / "cert", "SL-3"), tmp_path) as port:  # type: ignore[call-arg,arg-type]
        assert (await tried(port, identities["SL-2"])).code == code


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0))) as made:
        yield made


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


async def test_a_process_that_takes_connections_and_does_not_answer_is_stalled(
    identities: dict[str, Identity], listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "TLS_SECONDS", 0.5)
    assert (await tried(port_of(listener), identities["SL-2"])).code == "stalled"


async def test_what_speaks_no_tls_and_what_hangs_up_are_told_apart(identities: dict[str, Identity]) -> None:
    async def chats(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()
        writer.close()

    async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    for serve, code in ((chats, "no-tls"), (hangs_up, "closed")):
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            assert (await tried(port_of(server.sockets[0]), identities["SL-2"])).code == code


async def test_nobody_listens_no_such_name_and_no_such_address(
    identities: dict[str, Identity], listener: socket.socket
) -> None:
    port, context = port_of(listener), client_context(identities["SL-2"])
    listener.close()
    assert (await tried(port, identities["SL-2"])).code == "refused"
    unknown = target(port, host="no-such-host.invalid")
    assert (await asyncio.to_thread(probe, unknown, context)).code == "unknown-host"

    def refuse(address: Address) -> str:
        return "is not to be connected to"

    assert (await asyncio.to_thread(probe, target(port), context, refuse)).code == "forbidden"


def test_a_proxy_that_is_not_there_is_named(identities: dict[str, Identity], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    outcome = probe(target(9, host="192.0.2.1"), client_context(identities["SL-2"]))
    assert outcome.code == "proxy"


async def test_no_more_is_sent_than_was_asked_for(identities: dict[str, Identity], tmp_path: Path) -> None:
    from support.serving import request

    app = file_app(TensorStore(tmp_path / "models"), lambda thumbprint, digest, chunks: False)
    async with serving(app, identities["SL-1"]) as server:
        for asked, sent in ((10, 10), (MOST_PROBED, MOST_PROBED), (999_999, MOST_PROBED)):
            status, _, body = await request(server, identities["SL-2"], f"{PROBE}{asked}")
            assert (status, len(body)) == (200, sent)
        status, _, _ = await request(server, identities["SL-2"], f"{PROBE}99999999999")
        assert status == 404


def test_no_proxy_leads_to_an_address_that_is_refused(
    identities: dict[str, Identity], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that another organisation announces must not try ports of the proxy's own host, link or cloud."""
    asked: list[str] = []

    def connect(proxy: Proxy, host: str, port: int, seconds: float) -> socket.socket:
        asked.append(host)
        raise ProxyError("it lets nobody through")

    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setattr(probing, "connect_through", connect)
    refuse, context = refusal_beside(["192.0.2.7"]), client_context(identities["SL-2"])
    for host in ("169.254.169.254", "127.1", "localhost", "0.0.0.0"):
        assert probe(target(9, host=host), context, refuse).code == "forbidden"
    assert asked == []
    for host in ("192.0.2.1", "no-such-host.invalid"):
        assert probe(target(9, host=host), context, refuse).code == "proxy"
    assert asked == ["192.0.2.1", "no-such-host.invalid"], "the proxy may know a name that is not known here"
