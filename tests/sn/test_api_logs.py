"""`/v1/logs` of a real SN: who may ask, who may answer, and what a client that has gone leaves behind."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio

from support.local_sn import Member, fetch, member
from support.uids import uid
from swarmlearning.api.client import Refusal
from swarmlearning.identity.identity import Identity
from swarmlearning.node.sealing import MAX_ANSWER, MAX_ASK, digest_of


@pytest_asyncio.fixture
async def operator(sn: dict[str, str], identities: dict[str, Identity]) -> AsyncIterator[Member]:
    async with member(sn["api"], identities["SWCI-1"], uid("SWCI-1"), "SWCI") as made:
        await made.register()
        yield made


async def test_an_sn_carries_a_request_to_its_node_and_the_answer_back(sl: Member, operator: Member) -> None:
    polling = asyncio.create_task(sl.client.next_ask(sl.uid))
    asking = asyncio.create_task(asked_until_connected(operator, sl.uid, "a.request"))
    assert await polling == "a.request"
    await sl.client.answer_logs(sl.uid, digest_of("a.request"), "the.answer")
    assert await asking == "the.answer"
    with pytest.raises(Refusal, match="nobody waits") as late:
        await sl.client.answer_logs(sl.uid, digest_of("a.request"), "the.answer")
    assert late.value.code == "no-request"


async def test_only_a_node_itself_gets_requests_to_it_and_answers_them(
    sn: dict[str, str], identities: dict[str, Identity], sl: Member
) -> None:
    async with member(sn["api"], identities["SL-2"], uid("SL-2")) as other:
        await other.register()
        for attempt in (other.client.next_ask(sl.uid), other.client.answer_logs(sl.uid, "0" * 64, "forged")):
            with pytest.raises(Refusal, match="registered with this certificate"):
                await attempt


async def test_only_operators_ask_and_not_for_too_much(sl: Member, operator: Member) -> None:
    with pytest.raises(Refusal, match="only operators may ask"):
        await sl.client.ask_logs(sl.uid, "a.request")
    with pytest.raises(Refusal) as unknown:
        await operator.client.ask_logs(uid("nobody"), "a.request")
    assert unknown.value.code == "not-connected"
    for attempt in (
        operator.client.ask_logs(sl.uid, "x" * (MAX_ASK + 1)),
        operator.client.ask_logs(sl.uid, "größer"),
        sl.client.answer_logs(sl.uid, "0" * 64, "x" * (MAX_ANSWER + 1)),
    ):
        with pytest.raises(Refusal, match="has to be a JWS"):
            await attempt


async def test_a_node_that_answers_nothing_ends_the_waiting(sl: Member, operator: Member) -> None:
    polling = asyncio.create_task(sl.client.next_ask(sl.uid))
    asking = asyncio.create_task(asked_until_connected(operator, sl.uid, "a.request"))
    await sl.client.answer_logs(sl.uid, digest_of(await polling), "")
    with pytest.raises(Refusal, match="does not answer"):
        await asking


async def test_a_poll_whose_node_has_gone_takes_no_request(
    sn: dict[str, str], identities: dict[str, Identity], sl: Member, operator: Member
) -> None:
    async with member(sn["api"], identities["SL-1"], sl.uid) as gone:
        poll = asyncio.create_task(gone.client.next_ask(sl.uid))
        asking = asyncio.create_task(asked_until_connected(operator, sl.uid, "first"))
        await gone.client.answer_logs(sl.uid, digest_of(await poll), "")
        with pytest.raises(Refusal, match="does not answer"):
            await asking
        poll = asyncio.create_task(gone.client.next_ask(sl.uid))
        await gone.client.clock()  # a request sent after it has been answered
        poll.cancel()
        with suppress(asyncio.CancelledError):
            await poll
    asking = asyncio.create_task(asked_until_connected(operator, sl.uid, "second"))
    assert await sl.client.next_ask(sl.uid) == "second"
    await sl.client.answer_logs(sl.uid, digest_of("second"), "answer")
    assert await asking == "answer"


async def test_who_asks_without_a_role_is_refused(sn: dict[str, str], identities: dict[str, Identity]) -> None:
    status, _, text = await fetch(sn["api"], identities["SL-1"], "/v1/logs/x/not-a-digest", method="PUT", data=b"")
    assert (status, json.loads(text)["code"]) == (422, "malformed")


async def asked_until_connected(operator: Member, node: str, jws: str) -> str:
    """Asks for as long as the node's first poll has not come."""
    while True:
        try:
            return await operator.client.ask_logs(node, jws)
        except Refusal as refusal:
            if refusal.code != "not-connected":
                raise
