"""A checkpoint restores the chain exactly, or is refused: damaged, of another chain, or written under other rules."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.network import CONTRACT, Ledger, session
from swarmlearning.ledger.block import transaction_ids
from swarmlearning.ledger.bodies import Announce, Submit
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.chain import RULES_VERSION, Chain
from swarmlearning.ledger.checkpoint import CheckpointError, decode, encode, is_head
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.rules import RULES


def trained() -> Ledger:
    """Two SLs whose models of round 0 are in, and a void slot before that."""
    ledger = Ledger()
    for uid in ("sl-1", "sl-2"):
        ledger.join(uid)
    ledger.void()
    for uid in ("sl-1", "sl-2"):
        ledger.send(uid, session())
    for digest, uid in (("1" * 64, "sl-1"), ("2" * 64, "sl-2")):
        ledger.send(uid, Submit(0, "", "trained", digest, 1000, 1), CONTRACT)
    return ledger


LEDGER = trained()


def with_document(data: bytes, **changes: object) -> bytes:
    """The checkpoint with other fields, and the right digest for them."""
    document = msgspec.json.decode(data.partition(b"\n")[2]) | changes
    text = msgspec.json.encode(document)
    return sha256(text).encode() + b"\n" + text


def test_a_restored_chain_equals_the_one_that_was_written_down_to_the_types_of_its_entries() -> None:
    restored = decode(encode(LEDGER.chain))
    assert restored.world.entries == LEDGER.chain.world.entries
    assert {key: type(entry) for key, entry in restored.world.entries.items()} == {
        key: type(entry) for key, entry in LEDGER.chain.world.entries.items()
    }
    assert replace(restored, world=LEDGER.chain.world) == LEDGER.chain
    assert restored.world.state_hash() == LEDGER.chain.world.state_hash()
    assert restored.voids == {3}


def test_a_restored_chain_accepts_the_same_blocks_and_comes_to_the_same_states() -> None:
    ledger = trained()
    restored = decode(encode(ledger.chain))
    for number in range(3):
        ledger.send("sl-1", Announce({"fs": f"here:{number + 1}"}), network.CONTRACT)
        ledger.void()
        for raw in ledger.blocks[-2:]:
            restored = restored.append(raw).chain
        assert encode(restored) == encode(ledger.chain)


def test_every_area_of_the_world_has_its_structure() -> None:
    areas = {key.partition("/")[0]: type(entry) for key, entry in LEDGER.chain.world.entries.items()}
    assert areas.items() <= RULES[RULES_VERSION].entries.items()


@given(st.data())
def test_a_damaged_checkpoint_is_refused_wherever_it_is_cut_or_changed(data: st.DataObject) -> None:
    whole = encode(LEDGER.chain)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(changed), whole[:at], whole + b"\0"):
        with pytest.raises(CheckpointError):
            decode(damaged)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 0},
        {"rules": 0},
        {"rules": 10**6},
        {"entries": {"meeting/1": {"uid": "x"}}},
        {"entries": {"node/x": {"uid": 1}}},
        {"entries": {"node/x": []}},
        {"height": "none"},
        {"height": 2},
        {"another": 1},
    ],
    ids=str,
)
def test_a_checkpoint_of_another_program_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match="version"):
        decode(with_document(encode(LEDGER.chain), **changes))


def test_a_checkpoint_belongs_to_one_head_only() -> None:
    chain = decode(encode(LEDGER.chain))
    assert is_head(chain, LEDGER.blocks[-1])
    assert not is_head(chain, LEDGER.blocks[-2])
    assert not is_head(chain, trained().blocks[-1]), "the head of another network at the same height"
    assert not is_head(chain, b"")
    genesis = Chain().append(LEDGER.blocks[0]).chain
    assert is_head(decode(encode(genesis)), LEDGER.blocks[0])


def test_a_void_slot_is_no_head_for_a_checkpoint_since_nobody_sealed_the_state_after_it() -> None:
    ledger = trained()
    assert not is_head(ledger.chain, ledger.void())


def test_a_checkpoint_with_a_state_that_nobody_sealed_is_not_used_although_its_digest_is_right() -> None:
    entries = {key: msgspec.to_builtins(entry) for key, entry in LEDGER.chain.world.entries.items()}
    entries["node/sl-1"]["name"] = "somebody else"
    forged = decode(with_document(encode(LEDGER.chain), entries=entries))
    assert forged.hash == LEDGER.chain.hash
    assert not is_head(forged, LEDGER.blocks[-1])


@pytest.mark.parametrize("changes", [{"time_ms": 5}, {"network_id": "0" * 64}], ids=str)
def test_a_checkpoint_whose_height_differs_from_that_of_its_head_is_not_used(changes: dict[str, object]) -> None:
    assert not is_head(decode(with_document(encode(LEDGER.chain), **changes)), LEDGER.blocks[-1])


def test_the_ids_of_a_block_are_those_of_its_transactions() -> None:
    ledger = trained()
    signed = [ledger.write("sl-1", network.CONTRACT, Announce({"fs": f"here:{number + 1}"})) for number in range(3)]
    assert transaction_ids(ledger.seal(*signed)) == [one.id for one in signed]
