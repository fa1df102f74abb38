"""Which releases understand each other: a table, and nodes and SNs that do not are refused by name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from swarmlearning.api.client import SnClient, Unavailable
from swarmlearning.api.middleware import send_json
from swarmlearning.api.releases import HEADER, NEWEST, OLDEST, OWN, Releases, Spoken, mismatch
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context

Identities = dict[str, Identity]
HEALTH = b'{"time_ms":1}'


@pytest.mark.parametrize(
    ("own", "other", "found"),
    [
        (Spoken(1, 2, "b"), Spoken(1, 1, "a"), ""),
        (Spoken(1, 2, "b"), Spoken(2, 9, "i"), ""),
        (Spoken(2, 3, "c"), Spoken(1, 1, "a"), "the SN is too old for this node: its release (a)"),
        (Spoken(1, 2, "b"), Spoken(3, 4, "d"), "this node is too old for the SN: its release (b)"),
    ],
)
def test_two_releases_understand_each_other_if_they_share_a_protocol(own: Spoken, other: Spoken, found: str) -> None:
    text = mismatch(own, other, "the SN")
    assert text.startswith(found)
    assert bool(text) == bool(found)


def test_a_header_is_read_as_it_is_written_and_no_header_is_protocol_1() -> None:
    assert Spoken.read(str(OWN)) == OWN
    assert (Spoken.read(None).oldest, Spoken.read(None).newest) == (1, 1)
    assert OLDEST <= NEWEST


@pytest.mark.parametrize("header", ["", "2", "1-2", "a-b 1", "1-2 <script>", "1-2 " + "9" * 100, "9999999-9999999 1"])
def test_a_header_that_cannot_be_read_is_one_of_a_release_to_come(header: str) -> None:
    assert mismatch(OWN, Spoken.read(header), "the SN").startswith("this node is too old")


async def _healthy(scope: Scope, receive: Receive, send: Send) -> None:
    await send_json(send, 200, HEALTH)


@asynccontextmanager
async def serving(identities: Identities, app: ASGIApp) -> AsyncIterator[str]:
    server = Server(app, server_context(identities["SN-1"]), "127.0.0.1", 0)
    await server.start()
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        await server.stop(0.1)


async def test_a_node_that_is_too_old_is_refused_by_name_whatever_it_requests(identities: Identities) -> None:
    sn = Releases(_healthy, Spoken(3, 4, "3.0.0"))
    async with serving(identities, sn) as address, SnClient(address, client_context(identities["SL-1"])) as client:
        with pytest.raises(Unavailable, match=r"this node is too old for SN .*Remedy: upgrade this node") as refused:
            await client.clock()
    assert refused.value.final
    assert f"needs {3} or a newer one" in str(refused.value)


async def test_a_release_from_before_protocols_were_stated_reads_the_reason_in_the_answer(
    identities: Identities,
) -> None:
    async with (
        serving(identities, Releases(_healthy, Spoken(2, 3, "2.0.0"))) as address,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client_context(identities["SL-1"]))) as old,
        old.get(f"https://{address}/health") as response,
    ):
        assert response.status == 426
        assert response.headers[HEADER] == "2-3 2.0.0"
        answer = await response.json()
    assert answer["code"] == "release"
    assert answer["detail"].startswith("this node is too old for the SN: its release (from before protocol 2)")


async def test_an_sn_that_is_too_old_is_named_and_a_newer_one_is_spoken_with(identities: Identities) -> None:
    tls = client_context(identities["SL-1"])
    async with (
        serving(identities, _healthy) as silent,  # as all SNs before this
        serving(identities, Releases(_healthy, Spoken(2, 7, "7.0.0"))) as newer,
    ):
        async with SnClient(newer, tls) as client:
            assert await client.clock() == 1
        async with SnClient(silent, tls) as client:
            assert await client.clock() == 1
        async with SnClient(silent, tls, speaks=Spoken(2, 3, "3.0.0")) as client:
            with pytest.raises(
                Unavailable, match=rf"SN {silent} is too old for this node.*upgrade SN {silent}"
            ) as named:
                await client.clock()
    assert named.value.final
