"""Sending: at most once on the chain, whatever breaks in between."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from support.certs import authority_in, stranger
from support.local_sn import running_sn
from support.network import CONTRACT, Ledger, parse, read, session
from support.ports import fixed_port
from support.scripted_sn import Answer, ScriptedSn, scripted_sn
from swarmlearning.api.client import Refusal, Unavailable
from swarmlearning.backoff import Backoff
from swarmlearning.identity.certificates import to_pem
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.bodies import Announce, Register
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.transaction import MAX_TRANSACTION, WINDOW
from swarmlearning.node import sender as sender_module
from swarmlearning.node.follower import Follower
from swarmlearning.node.sender import Author, Sender
from swarmlearning.ordering.local import read_chain_file

Identities = dict[str, Identity]


@asynccontextmanager
async def sending(
    addresses: Sequence[str],
    identity: Identity,
    author: Author | None = None,
    on_unavailable: Callable[[str], None] = lambda why: None,
) -> AsyncIterator[Sender]:
    """The sender of node `sl-1` with a follower at work."""
    follower = Follower(addresses, client_context(identity), lambda hash_, name: None)
    work = asyncio.create_task(follower.run())
    try:
        await follower.reached(0)
        yield Sender(author or Author(identity.signer(), "sl-1", 1), follower, on_unavailable)
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        await follower.close()


def author_in(ledger: Ledger) -> Author:
    """That of node `sl-1` as it is registered on this ledger."""
    actor = ledger.actors["sl-1"]
    return Author(actor.signer, actor.uid, actor.incarnation, actor.sequence)


@asynccontextmanager
async def scripted(
    identities: Identities,
    ledger: Ledger,
    *answers: Callable[[str], Answer],
    on_unavailable: Callable[[str], None] = lambda why: None,
) -> AsyncIterator[tuple[ScriptedSn, Sender]]:
    """An SN that shows this ledger and gives these answers, and a sender to it."""
    async with (
        scripted_sn(identities["SN-1"], ledger.blocks, answers=list(answers)) as sn,
        sending([sn.address], identities["SL-1"], author_in(ledger), on_unavailable) as sender,
    ):
        await sender._follower.reached(ledger.chain.height)
        yield sn, sender


@asynccontextmanager
async def beside_a_liar(
    identities: Identities, ledger: Ledger, lie: Callable[[str], Answer], *answers: Callable[[str], Answer]
) -> AsyncIterator[tuple[ScriptedSn, ScriptedSn, Sender]]:
    """An SN that gives this answer to everything, an honest one that gives these, and a sender that begins with the
    first; both show the ledger."""
    async with (
        scripted_sn(identities["SN-1"], ledger.blocks, answers=[lie] * 100) as liar,
        scripted_sn(identities["SN-1"], ledger.blocks, answers=list(answers)) as honest,
        sending([liar.address, honest.address], identities["SL-1"], author_in(ledger)) as sender,
    ):
        await sender._follower.reached(ledger.chain.height)
        assert sender._follower.client.address == liar.address
        yield liar, honest, sender


def height(at: int) -> Callable[[str], Answer]:
    return lambda raw: (200, {"height": at})


def refusal(code: str, status: int = 409, at: int = 0) -> Callable[[str], Answer]:
    return lambda raw: (status, {"code": code, "detail": f"because of {code}", "height": at})


def committed(ledger: Ledger) -> Callable[[str], Answer]:
    """Puts what was sent into the next block, if it is not on the ledger."""
    heights: dict[str, int] = {}

    def answer(raw: str) -> Answer:
        if raw not in heights:
            ledger.commit(parse(raw))
            heights[raw] = ledger.chain.height
        return 200, {"height": heights[raw]}

    return answer


@pytest.fixture
def ledger(workspace: Path) -> Ledger:
    made = Ledger(authority_in(workspace))
    made.join("sl-1")
    return made


async def test_a_transaction_is_signed_at_the_newest_height_and_numbered(
    ledger: Ledger, identities: Identities
) -> None:
    async with scripted(identities, ledger, committed(ledger), committed(ledger)) as (sn, sender):
        for at in (2, 3):
            assert await sender.send("network", Announce({"fs": f"here:{at}"})) == at
    sent = [parse(raw).content for raw in sn.received]
    assert [content.sequence for content in sent] == [2, 3]
    assert [content.anchor.height for content in sent] == [1, 2]
    assert sent[1].expires_at_height == 2 + WINDOW
    assert (sent[1].network, sent[1].sender, sent[1].incarnation) == (ledger.chain.network_id, "sl-1", 1)


async def test_a_transaction_that_follows_from_a_state_is_signed_at_that_height_and_not_again_when_it_expires(
    ledger: Ledger, identities: Identities
) -> None:
    decided_on = ledger.chain
    ledger.join("sl-2")
    async with scripted(identities, ledger, refusal("expired", at=2)) as (sn, sender):
        with pytest.raises(Refusal, match="because of expired"):
            await sender.send("network", Announce({"fs": "here:1"}), decided_on)
    assert [parse(raw).content.anchor.height for raw in sn.received] == [decided_on.height]


async def test_sending_returns_when_the_block_has_been_verified_here(ledger: Ledger, identities: Identities) -> None:
    offered = asyncio.Event()

    def answer(raw: str) -> Answer:
        sn.blocks = list(ledger.blocks)
        ledger.commit(parse(raw))
        offered.set()
        return 200, {"height": 2}

    async with scripted(identities, ledger, answer) as (sn, sender):
        sent = asyncio.create_task(sender.send("network", Announce({})))
        await offered.wait()
        assert not sent.done()
        sn.show(ledger.blocks)
        assert await sent == 2
        assert sender._follower.chain.height == 2
        assert len(sn.received) == 1


async def test_the_same_transaction_is_offered_again_while_an_sn_is_unavailable(
    ledger: Ledger, identities: Identities
) -> None:
    answers = (refusal("unavailable", 503), refusal("unavailable", 503), committed(ledger))
    complaints: list[str] = []
    async with scripted(identities, ledger, *answers, on_unavailable=complaints.append) as (sn, sender):
        await sender.send("network", Announce({}))
    assert len(sn.received) == 3
    assert len(set(sn.received)) == 1
    assert complaints == [f"SN {sn.address}: because of unavailable"] * 2


async def test_what_is_offered_again_does_not_come_over_the_connection_that_brought_no_answer(
    ledger: Ledger, identities: Identities
) -> None:
    """On one from before an outage TCP tries ever less often."""
    answers = refusal("down", 503), committed(ledger), committed(ledger)
    async with scripted(identities, ledger, *answers) as (sn, sender):
        await sender.send("network", Announce({}))
        await sender.send("network", Announce({"fs": "sl-1:1"}))
        first, again, later = sn.peers
        assert again != first
        assert later == first


async def test_a_transaction_that_expired_on_the_way_is_signed_again(ledger: Ledger, identities: Identities) -> None:
    async with scripted(identities, ledger, refusal("expired"), committed(ledger)) as (sn, sender):
        await sender.send("network", Announce({}))
    first, second = [parse(raw).content for raw in sn.received]
    assert first.body == second.body
    assert second.sequence == first.sequence + 1


async def test_a_transaction_over_a_quota_is_offered_again_until_it_is_accepted(
    ledger: Ledger, identities: Identities
) -> None:
    complaints: list[str] = []
    answers = (*[refusal("quota")] * 7, committed(ledger))
    async with scripted(identities, ledger, *answers, on_unavailable=complaints.append) as (sn, sender):
        await sender.send("network", Announce({}))
    assert (len(sn.received), len(set(sn.received))) == (8, 1)
    assert complaints == ["a transaction waits: because of quota"] * 7


async def test_a_refusal_of_the_only_sn_is_raised_to_the_caller_and_not_retried(
    ledger: Ledger, identities: Identities
) -> None:
    async with scripted(identities, ledger, refusal("not-allowed")) as (sn, sender):
        with pytest.raises(Refusal, match="because of not-allowed"):
            await sender.send("network", Announce({}))
    assert len(sn.received) == 1


LIES: dict[str, Callable[[str], Answer]] = {
    "a block that never comes": height(2**53 - 1),
    "a block without it": height(1),
    "a refusal": refusal("old-incarnation"),
    "a refusal at a height that never comes": refusal("not-allowed", at=2**53 - 1),
    "an expiry": refusal("expired"),
    "a quota": refusal("quota", 429),
    "a failure": refusal("unavailable", 503),
    "an answer of no meaning": lambda raw: (200, {"height": 10**30}),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_transaction_about_which_one_sn_lies_reaches_the_chain_through_another(
    lie: str, ledger: Ledger, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "CONFIRM_SECONDS", 2.0)
    monkeypatch.setattr(sender_module, "AGREE_SECONDS", 0.5)
    async with beside_a_liar(identities, ledger, LIES[lie], *[committed(ledger)] * 100) as (liar, _, sender):
        assert await sender.send("network", Announce({"fs": "here:1"})) == 2
    assert liar.received
    assert len(ledger.blocks) == 3


async def test_a_refusal_with_which_the_verified_chain_agrees_is_raised_at_once(
    ledger: Ledger, identities: Identities
) -> None:
    """Though there is another SN; and with the chain's own reason."""
    ledger.actors["sl-1"].incarnation = 2
    ledger.register("sl-1")
    async with beside_a_liar(identities, ledger, refusal("no-change", at=2)) as (liar, honest, sender):
        sender.author.incarnation = 1
        with pytest.raises(Refusal) as refused:
            await sender.send("network", Announce({}))
    assert refused.value.code == "old-incarnation"
    assert (len(liar.received), honest.received) == (1, [])


async def test_one_sn_is_not_believed_however_often_it_refuses_while_the_others_do_not_answer(
    ledger: Ledger, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "Backoff", lambda longest: Backoff(first=0.001, longest=0.002))
    answers = (*[refusal("unavailable", 503)] * 20, *[committed(ledger)] * 20)
    complaints: list[str] = []
    async with beside_a_liar(identities, ledger, refusal("not-allowed"), *answers) as (liar, honest, sender):
        sender._on_unavailable = complaints.append
        assert await sender.send("network", Announce({"fs": "here:1"})) == 2
    assert len(liar.received) >= 20
    assert len(honest.received) >= 21
    assert complaints[0] == (
        f"SN {liar.address} refuses a transaction that this node's own copy of the chain accepts: because of "
        "not-allowed (not-allowed); offering it to another SN"
    )


async def test_a_transaction_that_no_sn_can_read_is_not_offered_to_all_of_them(
    ledger: Ledger, identities: Identities
) -> None:
    async with beside_a_liar(identities, ledger, refusal("malformed", 400)) as (liar, honest, sender):
        with pytest.raises(Refusal, match="because of malformed"):
            await sender.send("network", Announce({"fs": "x" * MAX_TRANSACTION}))
    assert (len(liar.received), honest.received) == (1, [])


async def test_a_refusal_by_every_sn_is_raised(ledger: Ledger, identities: Identities) -> None:
    async with beside_a_liar(identities, ledger, refusal("x"), refusal("not-allowed")) as (_, honest, sender):
        with pytest.raises(Refusal, match="because of not-allowed"):
            await sender.send("network", Announce({}))
    assert len(honest.received) == 1


async def test_a_transaction_sent_to_a_dead_sn_is_on_the_chain_once_after_its_restart(
    tmp_path: Path, identities: Identities
) -> None:
    port, unavailable = fixed_port(), asyncio.Event()
    async with AsyncExitStack() as sns:
        sn = await sns.enter_async_context(running_sn(tmp_path, identities["SN-1"], port=port))
        async with sending([sn["api"]], identities["SL-1"], None, lambda why: unavailable.set()) as sender:
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
        async with sending([sn.address], identities["SL-1"]) as followed:
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
        async with sending(
            [sn.address], identities["SL-1"], author_in(ledger), lambda why: unavailable.set()
        ) as sender:
            await sns.aclose()
            await sns.enter_async_context(scripted_sn(stranger(tmp_path, "SN-1"), ledger.blocks, port))
            sent = asyncio.create_task(sender.send("network", Announce({})))
            await unavailable.wait()
            await sns.aclose()
            await sns.enter_async_context(
                scripted_sn(identities["SN-1"], ledger.blocks, port, answers=[committed(ledger)] * 100)
            )
            assert await sent == 2
