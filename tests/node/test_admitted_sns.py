"""A follower stays with an SN for as long as the ledger admits it, whatever answered at the first contact."""

import asyncio
from pathlib import Path

import pytest

from support.certs import authority_in, make_workspace
from support.following import following
from support.network import Ledger, session
from support.scripted_sn import scripted_sn
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.bodies import Announce, Revoke

Identities = dict[str, Identity]


@pytest.fixture
def ledger(workspace: Path) -> Ledger:
    """Six blocks: the genesis, two SLs, their sessions, an announcement."""
    made = Ledger(authority_in(workspace))
    for uid in ("sl-1", "sl-2"):
        made.join(uid)
    for uid in ("sl-1", "sl-2"):
        made.send(uid, session())
    made.send("sl-1", Announce({"fs": "here:1"}), "network")
    return made


async def test_an_sn_that_answered_first_is_left_once_the_ledger_shows_that_it_admits_another_one_there(
    ledger: Ledger, identities: Identities, workspace: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the first contact no ledger is known; an impostor that passes on true blocks could withhold later ones."""
    false = make_workspace(tmp_path, ["SN-9"], authority_in(workspace))["SN-9"]
    async with (
        scripted_sn(false, ledger.blocks) as impostor,
        scripted_sn(identities["SN-1"], ledger.blocks) as honest,
        following([impostor.address, honest.address], identities["SL-1"]) as follower,
    ):
        ledger.send("sn-1", Announce({"api": impostor.address}), "network")
        impostor.show(ledger.blocks)
        await follower.reached(6)
        assert honest.asked_from == []
        follower.judge_sns()
        assert follower.addresses == (honest.address, impostor.address)
        ledger.send("sl-1", Announce({"fs": "here:2"}), "network")
        honest.show(ledger.blocks)
        assert (await follower.reached(7)).hash == ledger.chain.hash
    assert f"SN {impostor.address} is left: its certificate 'CN=SN-9,OU=Swarm-Learning' is that of no SN" in caplog.text
    assert "the SN registered at this address is SN-1 (sn-1)" in caplog.text


async def test_the_stream_of_an_sn_ends_when_it_is_revoked_however_long_it_serves_on(
    ledger: Ledger, identities: Identities, workspace: Path
) -> None:
    second = ledger.join("sn-2", "SN")
    ledger.join("op", "SWCI")
    files = Workspace(workspace)
    files.save_node("SN-sn-2", second.pair)
    async with (
        scripted_sn(files.identity("SN-sn-2"), ledger.blocks) as revoked,
        scripted_sn(identities["SN-1"], ledger.blocks) as honest,
        following([revoked.address, honest.address], identities["SL-1"]) as follower,
    ):
        await follower.reached(ledger.chain.height)
        follower.judge_sns()
        assert honest.asked_from == []
        ledger.send("op", Revoke(thumbprint(second.pair.certificate)), "network")
        turned = asyncio.ensure_future(follower.turned())
        revoked.show(ledger.blocks)
        await turned
        ledger.send("sl-1", Announce({"fs": "here:2"}), "network")
        honest.show(ledger.blocks)
        assert (await follower.reached(ledger.chain.height)).hash == ledger.chain.hash


async def test_an_sn_that_renewed_its_certificate_is_not_left(
    ledger: Ledger, identities: Identities, workspace: Path, tmp_path: Path
) -> None:
    """Another key of the same identity, under the same organisation, at the address that the ledger has."""
    renewed = make_workspace(tmp_path, ["SN-sn-1"], authority_in(workspace))["SN-sn-1"]
    async with (
        scripted_sn(renewed, ledger.blocks) as sn,
        following([sn.address], identities["SL-1"]) as follower,
    ):
        await follower.reached(5)
        client = follower.client
        follower.judge_sns()
        assert follower.client is client
        ledger.send("sl-1", Announce({"fs": "here:2"}), "network")
        sn.show(ledger.blocks)
        await follower.reached(6)
        assert follower.client is client
