"""Signed checkpoints: a majority of the SNs must have signed exactly what is in one; others are refused by name."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import msgspec
import pytest

from support.network import Ledger
from swarmlearning.ledger import attested
from swarmlearning.ledger.attested import SignedCheckpoint, Statement, read
from swarmlearning.ledger.bodies import Announce, Leave, Register
from swarmlearning.ledger.canonical import canonical, sha256
from swarmlearning.ledger.checkpoint import CheckpointError
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.world import World

SNS = ("sn-1", "sn-2", "sn-3")


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    """A network of three SNs and an SL."""
    made = Ledger()
    made.join("sn-2", "SN")
    made.join("sn-3", "SN")
    made.join("sl-1")
    made.send("sl-1", Announce({"fs": "site:1"}), network.CONTRACT)
    return made


def signed(ledger: Ledger, by: Iterable[str], **changes: object) -> SignedCheckpoint:
    """A checkpoint of the ledger's head, signed by these; `changes` are of what they sign."""
    stated = msgspec.structs.replace(Statement.of(ledger.chain), **changes)
    signatures = {uid: ledger.actors[uid].signer.sign(stated.signed_bytes) for uid in by}
    return SignedCheckpoint(ledger.chain, tuple(ledger.blocks), signatures)


@pytest.mark.parametrize("by", [SNS, SNS[:2], SNS[1:]])
def test_what_a_majority_has_signed_is_the_state_that_the_blocks_lead_to(ledger: Ledger, by: tuple[str, ...]) -> None:
    found = read(signed(ledger, by).encode(), ledger.chain.network_id)
    assert found.chain.hash == ledger.chain.hash
    assert found.chain.world.state_hash() == ledger.chain.world.state_hash()
    assert found.chain.hashes == ledger.chain.hashes
    assert found.blocks == tuple(ledger.blocks)
    assert attested.signers(found) == [uid.replace("sn-1", "SN-1") for uid in by]  # by name


def test_a_chain_goes_on_from_a_signed_checkpoint(ledger: Ledger) -> None:
    chain = read(signed(ledger, SNS).encode()).chain
    raw = ledger.seal(ledger.write("sl-1", network.CONTRACT, Announce({"fs": "site:2"})))
    step = chain.append(raw)
    assert step.void is None
    assert step.chain.world.state_hash() == ledger.chain.append(raw).chain.world.state_hash()


def test_a_minority_is_refused_and_who_has_not_signed_is_named(ledger: Ledger) -> None:
    with pytest.raises(CheckpointError, match="1 of 3 SNs have signed it, 2 have to: sn-2 has not, sn-3 has not"):
        read(signed(ledger, ["sn-1"]).encode())
    with pytest.raises(CheckpointError, match="0 of 3 SNs have signed it"):
        read(signed(ledger, []).encode())


def test_an_sl_s_signature_does_not_count_nor_one_under_another_name(ledger: Ledger) -> None:
    found = signed(ledger, ["sn-1", "sl-1"])
    with pytest.raises(CheckpointError, match="1 of 3 SNs"):
        read(found.encode())
    borrowed = {"sn-1": found.signatures["sn-1"], "sn-2": found.signatures["sn-1"]}
    with pytest.raises(CheckpointError, match="1 of 3 SNs have signed it, 2 have to: sn-2 has signed amiss"):
        read(found._replace(signatures=borrowed).encode())


def test_a_signature_under_another_statement_does_not_count(ledger: Ledger) -> None:
    for change in ({"height": 3}, {"block": "0" * 64}, {"state": "0" * 64}, {"network": "0" * 64}):
        with pytest.raises(CheckpointError, match=r"0 of 3 SNs have signed it.* SN-1 has signed something else"):
            read(signed(ledger, SNS, **change).encode())


def test_only_signatures_that_hold_count_as_such(ledger: Ledger) -> None:
    """Whoever passes a checkpoint on may add others, so that more SNs seem to have signed."""
    found = signed(ledger, SNS[:2])
    added = found._replace(signatures={**found.signatures, "sn-3": found.signatures["sn-1"], "sl-1": "nothing"})
    assert attested.signers(read(added.encode())) == ["SN-1", "sn-2"]


def test_an_sn_that_has_the_name_of_another_takes_no_signature_away() -> None:
    """Names are free text; each SN counts by itself."""
    ledger = Ledger()
    ledger.join("sn-2", "SN")
    third = ledger.actor("sn-3", "SN")
    ledger.send("sn-3", Register("SN", "sn-2", third.pem, "0", ledger.newest_rules), network.CONTRACT)
    assert attested.signers(read(signed(ledger, SNS[:2]).encode())) == ["SN-1", "sn-2"]


def test_what_an_sn_signs_for_a_block_is_no_statement_and_the_reverse(ledger: Ledger) -> None:
    """A header, a transaction and a statement have different fields, so none can be taken for another."""
    assert b'"says":"checkpoint"' in Statement.of(ledger.chain).signed_bytes
    seal = ledger.blocks[-1]
    found = signed(ledger, ["sn-2"])
    forged = found._replace(signatures={**found.signatures, "sn-1": msgspec.json.decode(seal)["header"]})
    with pytest.raises(CheckpointError, match="1 of 3 SNs"):
        read(forged.encode())


def test_of_two_sns_both_have_to_sign_and_one_that_has_left_has_no_say() -> None:
    ledger = Ledger()
    ledger.join("sn-2", "SN")
    with pytest.raises(CheckpointError, match="1 of 2 SNs have signed it, 2 have to"):
        read(signed(ledger, ["sn-1"]).encode())
    ledger.send("sn-2", Leave(), network.CONTRACT)
    assert read(signed(ledger, ["sn-1"]).encode()).chain.height == ledger.chain.height


def test_a_world_that_was_made_up_does_not_fit_the_sealed_block(ledger: Ledger) -> None:
    """Its SNs, all false, would sign anything; but the block is sealed with the hash of the true state."""
    false = Ledger(authority=ledger.authority)
    world = World().with_entries({**ledger.chain.world.entries, **false.chain.world.entries})
    made_up = replace(ledger.chain, world=world)
    stated = Statement.of(made_up)
    signatures = {uid: false.actors["sn-1"].signer.sign(stated.signed_bytes) for uid in SNS}
    with pytest.raises(CheckpointError, match="the block at its head does not lead to its state"):
        read(SignedCheckpoint(made_up, tuple(ledger.blocks), signatures).encode())


def test_another_network_s_is_refused_by_name(ledger: Ledger) -> None:
    other = "f" * 64
    with pytest.raises(CheckpointError, match=f"it is of another network, {ledger.chain.network_id[:16]}, not of ffff"):
        read(signed(ledger, SNS).encode(), other)


def lines(data: bytes) -> list[bytes]:
    return data.split(b"\n")


def with_other_state(document: bytes) -> tuple[bytes, bytes]:
    other = document.replace(b"site:1", b"site:9")
    return sha256(other).encode(), other


def with_voids(document: bytes) -> tuple[bytes, bytes]:
    """No signature covers them; a node whose blocks to come are void writes no checkpoint of its own there."""
    other = document.replace(b'"voids":[]', b'"voids":[5,9]')
    assert other != document
    return sha256(other).encode(), other


ALTERATIONS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "nothing in it": (lambda found: [], "no signed checkpoint"),
    "no JSON": (lambda found: [b"\x00\xff", *found[1:]], "no signed checkpoint"),
    "deep": (lambda found: [b"[" * 100_000, *found[1:]], "no signed checkpoint"),
    "first line of no end": (lambda found: [b" " * (attested.MOST_HEADER + 1), *found[1:]], "its first line has"),
    "another format": (lambda found: [found[0].replace(b'"format":1', b'"format":9'), *found[1:]], "format 9"),
    "another height": (lambda found: [found[0].replace(b'"height":4', b'"height":3'), *found[1:]], "has been altered"),
    "a damaged state": (lambda found: [*found[:2], found[2][:-9] + b"         ", *found[3:]], "it is damaged"),
    "a state of its own": (lambda found: [found[0], *with_other_state(found[2]), *found[3:]], "has been altered"),
    "blocks to come that are void": (
        lambda found: [found[0], *with_voids(found[2]), *found[3:]],
        "void that it does not have",
    ),
    "a block less": (lambda found: [*found[:3], *found[4:]], "it has 4 blocks beside the state, not the 5"),
    "another block": (lambda found: [*found[:3], b"{}", *found[4:]], "block 0 in it is not the one"),
    "blocks in another order": (lambda found: [*found[:3], *found[3:8][::-1], b""], "block 0 in it is not the one"),
    "too many signatures": (
        lambda found: [
            found[0].replace(
                b'"signatures":[', b'"signatures":[' + b",".join([b'{"uid":"x","jws":"y"}'] * 1025) + b","
            ),
            *found[1:],
        ],
        "no signed checkpoint",
    ),
}


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_a_checkpoint_that_was_altered_is_refused_by_name(ledger: Ledger, alteration: str) -> None:
    change, fault = ALTERATIONS[alteration]
    data = signed(ledger, SNS).encode()
    with pytest.raises(CheckpointError, match=fault):
        read(b"\n".join(change(lines(data))))


def test_hashes_of_blocks_that_are_not_linked_to_the_head_are_refused(ledger: Ledger) -> None:
    """They are in no state and nobody signs them; transactions are judged by them."""
    other = Ledger()
    false = replace(ledger.chain, hashes={**ledger.chain.hashes, 0: sha256(other.blocks[0])})
    blocks = (other.blocks[0], *ledger.blocks[1:])
    stated = Statement.of(ledger.chain).signed_bytes
    signatures = {uid: ledger.actors[uid].signer.sign(stated) for uid in SNS}
    with pytest.raises(CheckpointError, match="block 1 in it does not follow the one before"):
        read(SignedCheckpoint(false, blocks, signatures).encode())


def test_every_cut_is_refused(ledger: Ledger) -> None:
    data = signed(ledger, SNS).encode()
    for at in range(0, len(data) - 1, max(1, len(data) // 200)):
        with pytest.raises(CheckpointError):
            read(data[:at])


def test_the_statement_is_canonical(ledger: Ledger) -> None:
    assert Statement.of(ledger.chain).signed_bytes == canonical(Statement.of(ledger.chain))
