"""Who may use an SN's relay, and how much of it, as the ledger decides."""

import asyncio
import socket
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from support.governed import send, three
from support.network import Ledger
from support.relays import HOST, At, behind
from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.identity.tls import NodeTls
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.bodies import Body, Revoke
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.quotas import BURST_SECONDS, quotas_of
from swarmlearning.relay.opening import RelayError
from swarmlearning.sn.relaying import Members, RelaySettings, relaying
from swarmlearning.transport.parties import Credential


def credential(ledger: Ledger, uid: str) -> Credential:
    known = network.node(ledger.chain.world, uid)
    assert known is not None
    return Credential(b"", known.certificate, "")


def test_a_node_is_called_by_its_own_certificate_alone() -> None:
    ledger = three()
    members = Members(lambda: ledger.chain)
    assert members.owns(credential(ledger, "sl-1"), "sl-1")
    assert not members.owns(credential(ledger, "sl-2"), "sl-1")
    assert not members.owns(credential(ledger, "sl-1"), "unknown")


def test_nothing_is_relayed_for_who_is_revoked() -> None:
    ledger = three()
    members, shown = Members(lambda: ledger.chain), credential(ledger, "sl-1")
    assert members.fault(shown) == ""
    send(ledger, "op-1", Revoke(shown.thumbprint))
    assert "revoked" in members.fault(shown)
    assert not members.owns(shown, "sl-1")


def test_nothing_is_relayed_for_who_is_not_on_the_ledger() -> None:
    ledger = three()
    stranger = issue(create_authority("CA-9", 3650), "SL-9", [], [], 3650).certificate
    shown = Credential(stranger.public_bytes(Encoding.DER), thumbprint(stranger), "")
    assert "is not on the ledger" in Members(lambda: ledger.chain).fault(shown)


def test_bytes_count_for_an_organisation_and_delay_no_other_one() -> None:
    ledger = three()
    members = Members(lambda: ledger.chain)
    quota = quotas_of(ledger.chain.world, "org-1").model_bytes
    for _ in range(2 * BURST_SECONDS):
        members.turn(credential(ledger, "sl-1"), quota)
    assert members.turn(credential(ledger, "sl-1"), 1) > 0.0
    assert members.turn(credential(ledger, "sl-2"), 1) == 0.0


class Growing:
    """The ledger as an SN's chain that grows."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._grown = asyncio.Condition()

    @property
    def chain(self) -> Chain:
        return self._ledger.chain

    async def reached(self, height: int) -> object:
        async with self._grown:
            return await self._grown.wait_for(lambda: self.chain.height >= height)

    async def send(self, uid: str, body: Body) -> None:
        async with self._grown:
            send(self._ledger, uid, body)
            self._grown.notify_all()


async def test_a_revocation_on_the_ledger_ends_the_streams_of_a_relay(tmp_path: Path) -> None:
    ledger, workspace = Ledger(), Workspace(tmp_path)
    ledger.join("sl-1")
    ledger.join("sl-2")
    ledger.join("op-1", "SWCI")
    workspace.save_authority("CA-1", ledger.authority)
    for uid in ("sn-1", "sl-1", "sl-2"):
        workspace.save_node(uid, ledger.actors[uid].pair)
    source, come = Growing(ledger), asyncio.Queue[socket.socket]()
    tls = NodeTls(workspace.identity("sn-1"))
    async with relaying(RelaySettings(0), tls, source, HOST, HOST) as announced:
        running = At(int(announced["relay"].rpartition(":")[2]))
        async with behind(running, workspace.identity("sl-1"), "sl-1", come.put_nowait) as kept:
            own = await running.ask(workspace.identity("sl-2"), "OPEN sl-1")
            other = await come.get()
            with own, other:
                own.setblocking(False)
                revoked = network.node(ledger.chain.world, "sl-1")
                assert revoked is not None
                await source.send("op-1", Revoke(revoked.certificate))
                assert await asyncio.get_running_loop().sock_recv(own, 1) == b""
                with pytest.raises(ConnectionError):
                    await kept
        with pytest.raises(RelayError, match="revoked"):
            await running.ask(workspace.identity("sl-1"), "SERVE sl-1")
