"""Asking SNs: the next one where one is gone, of this network only."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from support.manysites import status
from support.ports import fixed_port
from support.scripted_sn import Answer, scripted_sn
from swarmlearning.api.client import Unavailable
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.canonical import sha256
from swarmlearning.node.errors import NodeError
from swarmlearning.operator import asking as module
from swarmlearning.operator.asking import MOST_SNS, Asking, Seen

Identities = dict[str, Identity]
GENESIS = [b"the first block"]


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASK_SECONDS", 0.0)


def telling(*addresses: Callable[[], str], **changes: Any) -> list[Callable[[str], Answer]]:
    """The script of an SN whose status names SNs at these addresses."""

    def answer(raw: str) -> Answer:
        sns = [node | {"addresses": {"api": at()}} for node, at in zip(status(0)["nodes"], addresses, strict=False)]
        return 200, status(0) | {"nodes": sns} | changes

    return [answer] * 1000


async def until(asking: Asking, reached: Callable[[Seen], bool]) -> Seen:
    async with asyncio.timeout(60), aclosing(asking.statuses()) as states:
        async for seen in states:
            if reached(seen):
                return seen
    raise AssertionError("states never end")


def asked(address: str, identities: Identities, network_id: str = "") -> Asking:
    return Asking(address, lambda: client_context(identities["SL-1"]), network_id)


async def test_when_its_sn_is_gone_another_of_the_network_is_asked(identities: Identities) -> None:
    sn = identities["SN-1"]
    async with scripted_sn(sn, GENESIS, answers=telling(lambda: two.address, height=2)) as two:
        asking = asked("", identities)
        async with scripted_sn(sn, GENESIS, answers=telling(lambda: two.address, height=1)) as one:
            asking = asked(one.address, identities)
            seen = await until(asking, lambda seen: seen.found is not None)
            assert (seen.address, seen.found and seen.found["height"]) == (one.address, 1)
        seen = await until(asking, lambda seen: seen.address == two.address)
        assert (seen.found and seen.found["height"], seen.outage) == (2, None)
    first = await until(asking, lambda seen: seen.outage is not None)
    again = await until(asking, lambda seen: seen.outage is not None)
    assert first.found == again.found == seen.found
    assert first.outage is not None
    assert again.outage is not None
    assert first.outage[0] == again.outage[0]
    assert f"SN {two.address} cannot be reached" in first.outage[1]


async def test_an_sn_that_is_back_is_seen_again(identities: Identities) -> None:
    port = fixed_port()
    async with scripted_sn(identities["SN-1"], GENESIS, port, answers=telling()):
        asking = asked(f"127.0.0.1:{port}", identities)
        await until(asking, lambda seen: seen.found is not None)
    await until(asking, lambda seen: seen.outage is not None)
    async with scripted_sn(identities["SN-1"], GENESIS, port, answers=telling()):
        assert (await until(asking, lambda seen: seen.outage is None)).found is not None


@pytest.mark.parametrize("majority", [None, False])
async def test_an_sn_without_a_majority_is_left_for_one_that_has_it(
    identities: Identities, majority: bool | None
) -> None:
    sn = identities["SN-1"]
    async with (
        scripted_sn(sn, GENESIS, answers=telling()) as two,
        scripted_sn(sn, GENESIS, answers=telling(lambda: two.address, majority=majority)) as one,
    ):
        asking = asked(one.address, identities)
        assert (await until(asking, lambda seen: True)).address == one.address
        assert (await until(asking, lambda seen: seen.address == two.address)).found is not None
        assert len(one.received) == 2


async def test_the_first_sn_has_to_answer_and_be_of_the_network_that_is_named(identities: Identities) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        await until(asked(f"127.0.0.1:{fixed_port()}", identities), lambda seen: True)
    async with scripted_sn(identities["SN-1"], GENESIS, answers=telling()) as sn:
        with pytest.raises(NodeError, match="names network 77"):
            await until(asked(sn.address, identities, "77" * 32), lambda seen: True)
        await until(asked(sn.address, identities, sha256(GENESIS[0])), lambda seen: seen.found is not None)


async def test_an_sn_of_another_network_is_not_believed_and_addresses_are_bounded(identities: Identities) -> None:
    sn = identities["SN-1"]
    made_up = [f"127.0.0.1:{number}" for number in range(1, 3 * MOST_SNS)]
    many = [node | {"addresses": {"api": at}} for at in made_up for node in status(0)["nodes"][:1]]
    async with scripted_sn(sn, [b"of another network"], answers=telling(height=99)) as other:
        async with scripted_sn(sn, GENESIS, answers=telling(lambda: other.address)) as one:
            asking = asked(one.address, identities)
            await until(asking, lambda seen: seen.found is not None)
        seen = await until(asking, lambda seen: seen.outage is not None)
        assert seen.outage is not None
        assert f"the SN at {other.address} is of network" in seen.outage[1]
    async with scripted_sn(sn, GENESIS, answers=telling(nodes=many)) as liar:
        asking = asked(liar.address, identities)
        await until(asking, lambda seen: seen.found is not None)
        assert len(asking._addresses) == MOST_SNS


def test_time_goes_on_by_the_clock_of_the_sn() -> None:
    assert Seen(status(0), "", 0.0).now_ms() > Seen(status(0), "", 1.0).now_ms()
