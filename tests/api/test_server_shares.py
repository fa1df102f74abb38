"""Organisations share a server: none has all of its connections or requests."""

import asyncio
import json

from support.raw_client import Client, describe
from support.serving import Answer, request, serving
from swarmlearning.api.middleware import BYTES_A_REQUEST
from swarmlearning.api.protocol import Limits
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.transport.parties import Credential
from swarmlearning.transport.shares import Share, ShareOf

Identities = dict[str, Identity]


def by_certificate(identities: Identities, share: Share) -> ShareOf:
    """SL-1 belongs to one organisation, all others to another; each has as much."""
    first = identities["SL-1"].thumbprint

    def share_of(credential: Credential) -> Share:
        return share._replace(organisation="north" if credential.thumbprint == first else "south")

    return share_of


async def test_connections_over_an_organisation_s_quota_are_refused_and_another_organisation_is_served(
    identities: Identities,
) -> None:
    share_of = by_certificate(identities, Share("", connections=2, requests=1000))
    async with serving(describe, identities["SN-1"], Limits(), share_of=share_of) as server:
        context = client_context(identities["SL-1"])
        async with Client.connected(server, context) as first, Client.connected(server, context) as second:
            assert (await first.request())[0] == (await second.request())[0] == 200
            async with Client.connected(server, context) as third:
                status, answer = await third.answer()
            assert (status, answer["code"]) == (503, "quota")
            assert answer["detail"] == (
                "more than 2 connections of organisation north, its quota of connections; close some first"
            )
            async with Client.connected(server, client_context(identities["SL-2"])) as other:
                assert (await other.request())[0] == 200
        async with Client.connected(server, context) as again:
            assert (await again.request())[0] == 200


async def test_requests_over_the_quota_wait_or_are_refused_and_another_organisation_is_answered_meanwhile(
    identities: Identities,
) -> None:
    share_of = by_certificate(identities, Share("", connections=50, requests=1))
    async with serving(describe, identities["SN-1"], share_of=share_of) as server:
        flood = [asyncio.create_task(request(server, identities["SL-1"], "/")) for _ in range(30)]
        refused = await first_refused(flood)
        assert (await request(server, identities["SL-2"], "/"))[0] == 200
        assert not all(task.done() for task in flood)
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
    assert refused[1]["retry-after"] == "5"
    assert json.loads(refused[2]) == {
        "code": "quota",
        "detail": "organisation north has used its quota of 1 requests a second; try again in 5 s",
    }


async def first_refused(tasks: list[asyncio.Task[Answer]]) -> Answer:
    for finished in asyncio.as_completed(tasks):
        answer = await finished
        if answer[0] == 429:
            return answer
    raise AssertionError("no request was refused")


async def test_a_large_body_counts_as_many_requests(identities: Identities) -> None:
    share_of = by_certificate(identities, Share("", connections=50, requests=1))
    size = 12 * BYTES_A_REQUEST
    async with (
        serving(describe, identities["SN-1"], share_of=share_of) as server,
        Client.connected(server, client_context(identities["SL-1"])) as client,
    ):
        assert (await client.request())[0] == 200
        client.writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))
        assert (await client.answer())[0] == 200
        assert (await request(server, identities["SL-1"], "/"))[0] == 429
