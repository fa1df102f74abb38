"""SNs that withhold blocks from whoever follows them."""

from pathlib import Path

import pytest

from support.certs import authority_in
from support.following import following
from support.network import Ledger, session
from support.scripted_sn import scripted_sn
from swarmlearning.identity.identity import Identity
from swarmlearning.node import withholding


@pytest.fixture
def ledger(workspace: Path) -> Ledger:
    """Five blocks: the genesis, two SLs and their sessions."""
    made = Ledger(authority_in(workspace))
    for uid in ("sl-1", "sl-2"):
        made.join(uid)
    for uid in ("sl-1", "sl-2"):
        made.send(uid, session())
    return made


async def test_an_sn_that_sends_no_more_blocks_is_left_when_another_one_has_the_next(
    ledger: Ledger, identities: dict[str, Identity], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(withholding, "ARRIVAL_SECONDS", 0.1)
    async with (
        scripted_sn(identities["SN-1"], ledger.blocks[:3]) as silent,
        scripted_sn(identities["SN-1"], ledger.blocks) as other,
        following([silent.address, other.address], identities["SL-1"]) as follower,
    ):
        await follower.reached(2)
        await withholding.leave_withholder(follower)
        await follower.reached(4)
        assert follower.client.address == other.address
        assert silent.asked_from == [0], "its stream has not ended"


@pytest.mark.parametrize("claimed", [b"no block", b""])
async def test_an_sn_is_not_left_for_a_block_that_another_one_has_made_up(
    ledger: Ledger, identities: dict[str, Identity], claimed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(withholding, "ARRIVAL_SECONDS", 0.1)
    async with (
        scripted_sn(identities["SN-1"], ledger.blocks[:3]) as honest,
        scripted_sn(identities["SN-1"], [*ledger.blocks[:3], claimed]) as lying,
        following([honest.address, lying.address], identities["SL-1"]) as follower,
    ):
        await follower.reached(2)
        await withholding.leave_withholder(follower)
        assert follower.client.address == honest.address


async def test_an_sn_is_not_left_while_no_other_one_has_more_blocks(
    ledger: Ledger, identities: dict[str, Identity]
) -> None:
    async with (
        scripted_sn(identities["SN-1"], ledger.blocks) as used,
        scripted_sn(identities["SN-1"], ledger.blocks[:3]) as behind,
        following([used.address, behind.address], identities["SL-1"]) as follower,
    ):
        await follower.reached(4)
        await withholding.leave_withholder(follower)
        assert follower.client.address == used.address
