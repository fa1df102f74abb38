"""The file of a recovery that operators sign: what it shows them, and what of other organisations' files is refused."""

from pathlib import Path

import msgspec
import pytest

from support.certs import make_workspace
from support.governed import send, three
from support.network import Ledger, anchor
from swarmlearning.identity.ca import create_authority
from swarmlearning.identity.identity import Identity
from swarmlearning.ledger.bodies import AddAuthority, Consent
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.recovery import named_in
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.node.errors import NodeError
from swarmlearning.node.recoveryfile import MOST_BYTES, RecoveryFile


def file_of(ledger: Ledger, **changes: object) -> RecoveryFile:
    """The recovery from the head of this ledger by sn-1, without sn-2."""
    named = named_in(ledger.chain.world, "sn-1", ["sn-2"])
    found = RecoveryFile(
        network=ledger.chain.network_id,
        network_name=named.network,
        by=named.by,
        height=ledger.chain.height,
        block=ledger.chain.hash,
        time_ms=ledger.chain.time_ms,
        lost=named.lost,
    )
    return msgspec.structs.replace(found, **changes)


@pytest.fixture
def identities(tmp_path: Path) -> dict[str, Identity]:
    return make_workspace(tmp_path, ["SWCI-1", "UI-1", "SL-1"])


def test_a_file_is_read_as_it_was_written(tmp_path: Path, identities: dict[str, Identity]) -> None:
    written = file_of(three()).signed_by(identities["SWCI-1"])
    written.write(tmp_path / "recovery.json")
    assert RecoveryFile.read(tmp_path / "recovery.json") == written


def test_the_ledger_accepts_what_operators_have_signed_in_copies_of_the_file() -> None:
    ledger = three()
    found = file_of(ledger)
    actor = ledger.actors["op-2"]
    signed = found.joined(
        [msgspec.structs.replace(found, consents=(Consent(actor.pem, actor.signer.sign(found.signed_bytes)),))]
    )
    send(ledger, "sn-1", signed.body)
    assert [sn.uid for sn in network.admitted(ledger.chain.world)] == ["sn-1"]


@pytest.mark.parametrize("part", ["the network", "the survivor", "its organisation", "the lost SN"])
def test_a_signature_under_names_that_are_not_those_of_the_ledger_is_worth_nothing(part: str) -> None:
    """Else a file could show the SN of one organisation as that of another to whoever signs."""
    ledger = three()
    found, actor = file_of(ledger), ledger.actors["op-2"]
    false: dict[str, dict[str, object]] = {
        "the network": {"network_name": "another"},
        "the survivor": {"by": msgspec.structs.replace(found.by, name="SN-honest")},
        "its organisation": {"by": msgspec.structs.replace(found.by, organisation="org-2")},
        "the lost SN": {"lost": (msgspec.structs.replace(found.lost[0], name="SN-evil"),)},
    }
    shown = msgspec.structs.replace(found, **false[part])
    consents = (Consent(actor.pem, actor.signer.sign(shown.signed_bytes)),)
    with pytest.raises(Rejection, match="has signed another recovery than this one"):
        send(ledger, "sn-1", msgspec.structs.replace(shown, consents=consents).body)


def test_an_operator_signs_once_and_another_node_not_at_all(identities: dict[str, Identity]) -> None:
    signed = file_of(three()).signed_by(identities["SWCI-1"])
    with pytest.raises(NodeError, match=r"CN=SWCI-1.* has signed this recovery already"):
        signed.signed_by(identities["SWCI-1"])
    assert len(signed.signed_by(identities["UI-1"]).consents) == 2
    with pytest.raises(NodeError, match=r"certificate for SL; operators sign"):
        signed.signed_by(identities["SL-1"])


@pytest.mark.parametrize(
    "change",
    [{"height": 2}, {"block": "0" * 64}, {"lost": ()}, {"network": "1" * 64}],
    ids=["height", "block", "lost", "network"],
)
def test_signatures_of_another_recovery_are_not_joined(change: dict[str, object]) -> None:
    ledger = three()
    with pytest.raises(NodeError, match="different recoveries"):
        file_of(ledger).joined([file_of(ledger, **change)])


def test_who_signs_reads_all_that_is_signed(identities: dict[str, Identity]) -> None:
    ledger = three()
    added = AddAuthority("org-1", anchor(create_authority("CA-next", 90)))
    text = file_of(ledger, authorities=(added,)).signed_by(identities["SWCI-1"]).summary()
    assert f"goes on from SN-1 of org-1 (sn-1), from block {ledger.chain.height} ({ledger.chain.hash[:16]})" in text
    assert "without sn-2 of org-2 (sn-2)" in text
    assert "with a new authority of org-1: CN=CA-next" in text
    assert "which may issue for SN, SL, SWOP, SWCI, UI, OPERATOR, OBSERVER" in text
    assert "signed by CN=SWCI-1" in text


def test_a_block_of_an_impossible_time_can_be_shown() -> None:
    assert "no possible time" in file_of(three(), time_ms=2**53 - 1).summary()


FILES = {
    "no JSON": b"recovery",
    "not UTF-8": b'{"network": "\xff"}',
    "another shape": b'{"network": "no digest"}',
    "deeply nested": b"[" * 100_000,
    "too long": b" " * (MOST_BYTES + 1),
}


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_a_file_that_no_sn_has_written_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "recovery.json"
    path.write_bytes(data)
    with pytest.raises(NodeError, match=r"recovery\.json: .*swarm sn recover"):
        RecoveryFile.read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match=r"none\.json: cannot be read: No such file"):
        RecoveryFile.read(tmp_path / "none.json")


def test_junk_in_place_of_a_signature_can_be_shown_and_joined(identities: dict[str, Identity]) -> None:
    found = file_of(three(), consents=(Consent("no certificate", "junk"),))
    assert "signed by " in found.summary()
    assert len(found.joined([found.signed_by(identities["SWCI-1"])]).consents) == 2
