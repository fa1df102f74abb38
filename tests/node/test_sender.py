"""Sending: at most once on the chain, whatever breaks in between."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from support.certs import authority_in, stranger
from support.local_sn import running_sn
from support.network import CONTRACT, Ledger, parse, read, session
from support.ports import fixed_port
from support.scripted_sn import Answer, ScriptedSn, scripted_sn
from swarmlearning.api.client import Refusal, Unavailable
from swarmlearning.identity.certificates import to_pem
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.bodies import Announce, Register
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.transaction import WINDOW
from swarmlearning.node.follower import Follower
from swarmlearning.node.sender import Author, Sender
from swarmlearning.ordering.local import read_chain_file

Identities = dict[str, Identity]


@asynccontextmanager
async def sending(
    address: str, identity: Identity, on_unavailable: Callable[[str], None] = lambda why: None
) -> AsyncIterator[Sender]:
    """The sender of node `sl-1` with a follower at work."""
    follower = Follower([address], client_context(identity), lambda hash_, name: None)
    work = asyncio.create_task(follower.run())
    try:
        await follower.reached(0)
        yield Sender(Author(identity.signer(), "sl-1", 1), follower, on_unavailable)
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        await follower.close()


@asynccontextmanager
async def scripted(
    identities: Identities,
    blocks: list[bytes],
    *answers: Callable[[str], Answer],
    ends: bool = False,
    on_unavailable: Callable[[str], None] = lambda why: None,
) -> AsyncIterator[tuple[ScriptedSn, Sender]]:
    """An SN that shows these blocks and gives these answers, and a sender to it."""
    async with (
        scripted_sn(identities["SN-1"], blocks, answers=list(answers), ends=ends) as sn,
        sending(sn.address, identities["SL-1"], on_unavailable) as sender,
    ):
        yield sn, sender


def height(at: int) -> Callable[[str], Answer]:
    return lambda raw: (200, {"height": at})


def refusal(code: str, status: int = 409) -> Callable[[str], Answer]:
    return lambda raw: (status, {"code": code, "detail": f"because of {code}", "height": 0})


@pytest.fixture
def ledger(workspace: Path) -> Ledger:
    made = Ledger(authority_in(workspace))
    made.join("sl-1")
    return made


async def test_a_transaction_is_signed_at_the_newest_height_and_numbered(
    ledger: Ledger, identities: Identities
) -> None:
    async with scripted(identities, ledger.blocks, height(1), height(1)) as (sn, sender):
        for _ in range(2):
            assert await sender.send("network", Announce({})) == 1
    sent = [parse(raw).content for raw in sn.received]
    assert [content.sequence for content in sent] == [1, 2]
    assert sent[1].anchor == ledger.chain.anchor
    assert sent[1].expires_at_height == 1 + WINDOW
    assert (sent[1].network, sent[1].sender, sent[1].incarnation) == (ledger.chain.network_id, "sl-1", 1)


async def test_sending_returns_when_the_block_has_been_verified_here(ledger: Ledger, identities: Identities) -> None:
    offered = asyncio.Event()

    def answer(raw: str) -> Answer:
        offered.set()
        return 200, {"height": 1}

    async with scripted(identities, ledger.blocks[:1], answer, ends=True) as (sn, sender):
        sent = asyncio.create_task(sender.send("network", Announce({})))
        await offered.wait()
        assert not sent.done()
        sn.blocks = ledger.blocks
        assert await sent == 1
        assert sender._follower.chain.height == 1
        assert len(sn.received) == 1


async def test_the_same_transaction_is_offered_again_while_an_sn_is_unavailable(
    ledger: Ledger, identities: Identities
) -> None:
    answers = (refusal("unavailable", 503), refusal("unavailable", 503), height(1))
    complaints: list[str] = []
    async with scripted(identities, ledger.blocks, *answers, on_unavailable=complaints.append) as (sn, sender):
        await sender.send("network", Announce({}))
    assert len(sn.received) == 3
    assert len(set(sn.received)) == 1
    assert complaints == [f"SN {sn.address}: because of unavailable"] * 2


async def test_a_transaction_that_expired_on_the_way_is_signed_again(ledger: Ledger, identities: Identities) -> None:
    async with scripted(identities, ledger.blocks, refusal("expired"), height(1)) as (sn, sender):
        await sender.send("network", Announce({}))
    first, second = [parse(raw).content for raw in sn.received]
    assert first.body == second.body
    assert second.sequence == first.sequence + 1


async def test_a_refusal_is_raised_to_the_caller_and_not_retried(ledger: Ledger, identities: Identities) -> None:
    async with scripted(identities, ledger.blocks, refusal("not-allowed")) as (sn, sender):
        with pytest.raises(Refusal, match="because of not-allowed"):
            await sender.send("network", Announce({}))
    assert len(sn.received) == 1


async def test_a_transaction_sent_to_a_dead_sn_is_on_the_chain_once_after_its_restart(
    tmp_path: Path, identities: Identities
) -> None:
    port, unavailable = fixed_port(), asyncio.Event()
    async with AsyncExitStack() as sns:
        sn = await sns.enter_async_context(running_sn(tmp_path, identities["SN-1"], port=port))
        async with sending(sn["api"], identities["SL-1"], lambda why: unavailable.set()) as sender:
            certificate = to_pem(identities["SL-1"].certificate)
            await sender.send(network.CONTRACT, Register("SL", "site-1", certificate, "0"))
            await sns.aclose()
            sent = asyncio.create_task(sender.send(CONTRACT, session()))
            await unavailable.wait()
            assert not sent.done()
            await sns.enter_async_context(running_sn(tmp_path, identities["SN-1"], port=port))
            height = await sent
        blocks = read_chain_file(tmp_path / "chain.sqlite")
    recorded = [(at, tx.kind) for at, raw in enumerate(blocks) for tx in read(raw).transactions]
    assert [found for found in recorded if found[1] == "OpenSession"] == [(height, "OpenSession")]


async def test_a_sender_that_no_sn_trusts_for_long_ends_with_the_reason(
    ledger: Ledger, identities: Identities, tmp_path: Path
) -> None:
    port = fixed_port()
    async with AsyncExitStack() as sns:
        sn = await sns.enter_async_context(scripted_sn(identities["SN-1"], ledger.blocks, port))
        async with sending(sn.address, identities["SL-1"]) as followed:
            await sns.aclose()
            await sns.enter_async_context(scripted_sn(stranger(tmp_path, "SN-1"), ledger.blocks, port))
            sender = Sender(followed.author, followed._follower, lambda why: None, distrust_seconds=0.3)
            with pytest.raises(Unavailable, match="do not trust each other") as error:
                await sender.send("network", Announce({}))
    assert error.value.final


async def test_a_transaction_reaches_an_sn_that_is_trusted_again_in_time(
    ledger: Ledger, identities: Identities, tmp_path: Path
) -> None:
    port, unavailable = fixed_port(), asyncio.Event()
    async with AsyncExitStack() as sns:
        sn = await sns.enter_async_context(scripted_sn(identities["SN-1"], ledger.blocks, port))
        async with sending(sn.address, identities["SL-1"], lambda why: unavailable.set()) as sender:
            await sns.aclose()
            await sns.enter_async_context(scripted_sn(stranger(tmp_path, "SN-1"), ledger.blocks, port))
            sent = asyncio.create_task(sender.send("network", Announce({})))
            await unavailable.wait()
            await sns.aclose()
            await sns.enter_async_context(scripted_sn(identities["SN-1"], ledger.blocks, port, answers=[height(1)]))
            assert await sent == 1
