"""The chain: the same blocks give the same state, no byte of them can change unnoticed, and a bad block is skipped."""

import re
from collections.abc import Callable
from random import Random

import msgspec
import pytest

from support.network import CONTRACT, Actor, Ledger, read, session
from swarmlearning.identity.ca import create_authority
from swarmlearning.ledger import block
from swarmlearning.ledger.block import transaction_root
from swarmlearning.ledger.bodies import Announce, LiftQuarantine, Lost, Register, Submit, SwitchRules
from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.chain import RULES_VERSION, Chain, ForkError, UnsupportedRulesError, replay
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.ledger.history import BrokenChainError, steps
from swarmlearning.ledger.transaction import WINDOW, MalformedError, SignedTransaction


@pytest.fixture(scope="module")
def written() -> Ledger:
    """A short history of one SN and two SLs that nobody changes; round 0 is collecting."""
    ledger = Ledger()
    ledger.join("sl-1")
    ledger.join("sl-2")
    ledger.send("sl-1", session())
    ledger.send("sl-2", session())
    ledger.send("sl-1", Submit(0, "", "trained", "a" * 64, 1, 1))
    return ledger


@pytest.fixture
def ledger() -> Ledger:
    """A network with its SN and one SL, `sl-1`."""
    made = Ledger()
    made.join("sl-1")
    return made


def resealed(
    ledger: Ledger, *transactions: SignedTransaction, by: str = "sn-1", signer: str = "", **changes: object
) -> bytes:
    """The next block with these transactions, its header changed and then signed by the key of `signer`."""
    raw = ledger.seal(*transactions)
    header = msgspec.structs.replace(read(raw).header, sealer=by, **changes)
    return block.seal(header, transactions, ledger.actors[signer or by].signer).raw


# --- replay ---------------------------------------------------------------------------------------------------------


def test_replay_from_block_0_gives_the_same_chain(written: Ledger) -> None:
    again, first = replay(written.blocks), written.chain
    assert again.world.state_hash() == first.world.state_hash()
    assert state_of(again.world, CONTRACT) == written.training
    assert (again.hash, again.time_ms, again.hashes) == (first.hash, first.time_ms, first.hashes)
    assert (again.network_id, again.height) == (read(written.blocks[0]).hash, len(written.blocks) - 1)


def test_replay_can_continue_from_any_height(written: Ledger) -> None:
    for cut in range(len(written.blocks)):
        again = replay(written.blocks[cut:], replay(written.blocks[:cut]))
        assert again.world.state_hash() == written.chain.world.state_hash()


def test_a_transaction_sees_the_effects_of_those_before_it_in_the_block(ledger: Ledger) -> None:
    ledger.actor("sl-2", "SL")
    actor = ledger.actors["sl-2"]
    first = ledger.write("sl-2", network.CONTRACT, Register("SL", "sl-2", actor.pem, "0"))
    second = ledger.write("sl-2", network.CONTRACT, Announce({"fs": "host:30305"}))
    ledger.commit(first, second)
    found = network.node(ledger.chain.world, "sl-2")
    assert found is not None
    assert found.addresses == {"fs": "host:30305"}
    assert replay(ledger.blocks).world.state_hash() == ledger.chain.world.state_hash()


def test_block_time_never_decreases(ledger: Ledger) -> None:
    before = ledger.chain.time_ms
    ledger.clock -= 1_000_000
    ledger.send("sl-1", session(1))
    assert ledger.chain.time_ms == before + 1


# --- not a byte can change ------------------------------------------------------------------------------------------


def first_fault(blocks: list[bytes]) -> int | None:
    """The first block that a verification names."""
    try:
        for step in steps(blocks):
            if step.void is not None and step.chain.height == len(blocks) - 1:
                return step.chain.height
    except BrokenChainError as broken:
        return broken.height
    return None


def test_every_changed_byte_of_a_chain_is_detected_in_its_block() -> None:
    """All bytes of a genesis and two more blocks, one bit each; the blocks before are replayed once."""
    ledger = Ledger()
    ledger.join("sl-1")
    ledger.send("sl-1", session())
    dice = Random(1)
    chain = Chain()
    for height, raw in enumerate(ledger.blocks):
        for position in range(len(raw)):
            altered = bytearray(raw)
            altered[position] ^= 1 << dice.randrange(8)
            assert is_found(chain, bytes(altered), ledger.blocks[height + 1 :]), (height, position)
        chain = chain.append(raw).chain


def is_found(chain: Chain, altered: bytes, following: list[bytes]) -> bool:
    """True if the altered block breaks the chain, or is void and does not lead to the next."""
    try:
        step = chain.append(altered)
    except (ForkError, MalformedError, UnsupportedRulesError):
        return True
    if step.void is None:
        return False
    if following:
        with pytest.raises(ForkError):
            step.chain.append(following[0])
    return True


def test_verification_names_the_altered_block(written: Ledger) -> None:
    assert first_fault(written.blocks) is None
    dice = Random(2)
    for height, raw in enumerate(written.blocks):
        for _ in range(40):
            altered = bytearray(raw)
            altered[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
            blocks = [*written.blocks[:height], bytes(altered), *written.blocks[height + 1 :]]
            assert first_fault(blocks) == height


def test_a_missing_added_or_swapped_block_is_detected(written: Ledger) -> None:
    blocks = written.blocks
    assert first_fault([*blocks[:2], *blocks[3:]]) == 2
    assert first_fault([*blocks[:3], blocks[2], *blocks[3:]]) == 3
    assert first_fault([*blocks[:2], blocks[3], blocks[2], *blocks[4:]]) == 2
    assert first_fault(blocks[1:]) == 0
    assert first_fault([b"", *blocks]) == 0


def test_a_block_of_another_network_is_a_fork(written: Ledger) -> None:
    other = Ledger()
    with pytest.raises(ForkError, match=r"block 1 follows .*, the head here is 0"):
        other.chain.append(written.blocks[1])


# --- two blocks for one height --------------------------------------------------------------------------------------


def test_only_one_of_two_blocks_for_a_height_continues_the_chain(ledger: Ledger) -> None:
    one, other = ledger.seal(), resealed(ledger, time_ms=ledger.chain.time_ms + 77)
    assert ledger.append(one) is None
    with pytest.raises(ForkError, match=r"block 2 follows .*, the head here is 2"):
        ledger.append(other)
    with pytest.raises(ForkError):
        ledger.append(one)


@pytest.mark.parametrize(
    ("field", "value"), [("height", 3), ("height", 1), ("height", -1), ("previous", "0" * 64), ("previous", "")]
)
def test_a_block_that_does_not_follow_the_head_is_a_fork(ledger: Ledger, field: str, value: object) -> None:
    before = ledger.chain
    with pytest.raises(ForkError):
        ledger.append(resealed(ledger, **{field: value}))  # type: ignore[arg-type]
    assert ledger.chain is before


# --- void slots -----------------------------------------------------------------------------------------------------

Forge = Callable[[Ledger], bytes]


def unregistered(ledger: Ledger) -> bytes:
    ledger.actor("sn-2", "SN")
    return resealed(ledger, by="sn-2")


def admitting_itself(ledger: Ledger) -> bytes:
    """An SN that no registered SN has admitted writes its own registration."""
    actor = ledger.actor("sn-2", "SN")
    return ledger.seal(ledger.write("sn-2", network.CONTRACT, Register("SN", "sn-2", actor.pem, "0")), sealer="sn-2")


def foreign(ledger: Ledger) -> bytes:
    """An SN of another CA that says it is `sn-1`."""
    ledger.actor("stranger", "SN", create_authority("CA-2", 30))
    return resealed(ledger, signer="stranger")


def altered_seal(ledger: Ledger) -> bytes:
    """The header of one block with the signature of another."""
    document = msgspec.json.decode(resealed(ledger, time_ms=ledger.chain.time_ms + 9))
    signature = document["header"].rpartition(".")[2]
    document = msgspec.json.decode(ledger.seal())
    document["header"] = f"{document['header'].rpartition('.')[0]}.{signature}"
    return msgspec.json.encode(document)


def with_refused_transaction(ledger: Ledger) -> bytes:
    """A block with a transaction that does not hold."""
    wrong = ledger.write("sl-1", CONTRACT, Submit(0, "", "trained", "a" * 64, 1, 1))
    header = msgspec.structs.replace(read(ledger.seal()).header, transaction_root=transaction_root([wrong.id]))
    return block.seal(header, [wrong], ledger.actors["sn-1"].signer).raw


def with_unsealed_transaction(ledger: Ledger) -> bytes:
    """A good transaction that the header does not cover."""
    extra = ledger.write("sl-1", network.CONTRACT, Announce({}))
    return block.seal(read(ledger.seal()).header, [extra], ledger.actors["sn-1"].signer).raw


def twice(ledger: Ledger) -> bytes:
    """The same transaction two times."""
    one = ledger.write("sl-1", network.CONTRACT, Announce({}))
    header = msgspec.structs.replace(read(ledger.seal(one)).header, transaction_root=transaction_root([one.id, one.id]))
    return block.seal(header, [one, one], ledger.actors["sn-1"].signer).raw


VOID: dict[str, tuple[Forge, str]] = {
    "no block at all": (lambda ledger: b"\xff\x00", "not a block"),
    "empty": (lambda ledger: b"", "not a block"),
    "too large": (lambda ledger: b" " * (block.MAX_BLOCK + 1), "at most"),
    "a sealer that is not registered": (unregistered, "sealer: sn-2 is no SN"),
    "a sealer that admits itself": (admitting_itself, "sealer: sn-2 is no SN"),
    "a sealer that is no SN": (lambda ledger: resealed(ledger, by="sl-1"), "sealer: sl-1 is no SN"),
    "sealed with the certificate of another node": (
        lambda ledger: resealed(ledger, signer="sl-1"),
        "sealed with another certificate than that of sn-1",
    ),
    "sealed with a stranger's certificate": (foreign, "another certificate"),
    "a seal that does not fit": (altered_seal, "seal: the signature does not fit"),
    "another state": (lambda ledger: resealed(ledger, state_hash="0" * 64), "state-hash: the sealer came to another"),
    "another root": (lambda ledger: resealed(ledger, transaction_root="0" * 64), "transaction-root"),
    "a transaction that is not sealed": (with_unsealed_transaction, "transaction-root"),
    "a transaction that does not hold": (with_refused_transaction, "not-a-member"),
    "a transaction twice": (twice, "replayed"),
    "the time of the block before": (
        lambda ledger: resealed(ledger, time_ms=ledger.chain.time_ms),
        "time: block time must grow",
    ),
    "a time when no certificate is valid": (
        lambda ledger: resealed(ledger, time_ms=ledger.clock + 4000 * 86_400_000),
        "untrusted: .*expired",
    ),
    "another network": (lambda ledger: resealed(ledger, network="0" * 64), "other-network"),
    "other rules": (lambda ledger: resealed(ledger, rules_version=RULES_VERSION + 1), "rules-version"),
    "older rules": (lambda ledger: resealed(ledger, rules_version=0), "rules-version"),
}


@pytest.mark.parametrize(("forge", "reason"), VOID.values(), ids=VOID)
def test_a_block_that_breaks_a_rule_is_a_void_slot_for_everybody(ledger: Ledger, forge: Forge, reason: str) -> None:
    raw = forge(ledger)
    before = ledger.chain
    other = replay(ledger.blocks)
    why = ledger.append(raw)
    assert why is not None
    assert re.search(reason, why)
    assert ledger.chain.world is before.world  # of a single SN, which is never in quarantine
    assert (ledger.chain.height, ledger.chain.time_ms) == (before.height + 1, before.time_ms)
    assert other.append(raw).void == why
    ledger.actors["sl-1"].sequence += 5  # whatever was in the void block does not count
    ledger.send("sl-1", session(1))
    again = replay(ledger.blocks)
    assert (again.hash, again.world.state_hash()) == (ledger.chain.hash, ledger.chain.world.state_hash())


@pytest.fixture
def three(ledger: Ledger) -> Ledger:
    """A network of three SNs."""
    ledger.join("sn-2", "SN")
    ledger.join("sn-3", "SN")
    return ledger


def test_the_sealer_of_a_void_block_is_in_quarantine_until_operators_lift_it(three: Ledger) -> None:
    three.append(resealed(three, state_hash="0" * 64, by="sn-2"))
    assert [sn.uid for sn in network.admitted(three.chain.world)] == ["sn-1", "sn-3"]
    why = three.append(resealed(three, by="sn-2"))
    assert why == "sealer: sn-2 is no SN of this network"
    with pytest.raises(Rejection, match="has sealed a void block"):
        three.send("sn-2", Announce({"api": "host:1"}), network.CONTRACT)
    three.actors["sn-2"].incarnation += 1
    with pytest.raises(Rejection, match=r"quarantine: .* swarm node lift-quarantine sn-2"):
        three.register("sn-2")  # no restart ends it
    three.join("op-1", "SWCI")
    three.send("op-1", LiftQuarantine("sn-2"), network.CONTRACT)
    three.register("sn-2")
    with pytest.raises(Rejection, match="no-change: sn-2 is no SN in quarantine"):
        three.send("op-1", LiftQuarantine("sn-2"), network.CONTRACT)
    assert three.append(resealed(three, by="sn-2")) is None
    assert replay(three.blocks).world.state_hash() == three.chain.world.state_hash()


def test_an_sn_in_quarantine_cannot_come_back_under_another_uid(three: Ledger) -> None:
    three.append(resealed(three, state_hash="0" * 64, by="sn-2"))
    three.actors["sn-9"] = Actor("sn-9", "SN", three.actors["sn-2"].pair)
    with pytest.raises(Rejection, match="quarantine: SN sn-2"):
        three.register("sn-9")
    three.join("sn-4", "SN")  # of another identity


def test_a_second_void_block_ends_in_quarantine_again(three: Ledger) -> None:
    three.join("op-1", "SWCI")
    for _ in range(2):
        three.append(resealed(three, state_hash="0" * 64, by="sn-2"))
        assert [sn.uid for sn in network.admitted(three.chain.world)] == ["sn-1", "sn-3"]
        three.send("op-1", LiftQuarantine("sn-2"), network.CONTRACT)


def test_a_sealer_is_not_blamed_for_a_block_that_others_altered(three: Ledger) -> None:
    good = read(resealed(three, by="sn-2"))
    extra = three.write("sl-1", network.CONTRACT, Announce({}))
    altered = msgspec.json.decode(good.raw) | {"transactions": [extra.raw]}
    assert three.append(canonical(altered)) is not None
    three.append(resealed(three, by="sn-2", signer="sn-3"))
    assert len(network.admitted(three.chain.world)) == 3


def test_the_last_sn_is_never_in_quarantine(ledger: Ledger) -> None:
    ledger.append(resealed(ledger, state_hash="0" * 64))
    assert [sn.uid for sn in network.admitted(ledger.chain.world)] == ["sn-1"]


def test_a_transaction_may_refer_to_a_void_slot(ledger: Ledger) -> None:
    ledger.append(b"void")
    assert ledger.chain.anchor.height == 2
    ledger.send("sl-1", session(1))


def test_a_transaction_of_a_void_block_may_be_sent_again_in_the_same_bytes(ledger: Ledger) -> None:
    sent = ledger.write("sl-1", network.CONTRACT, Announce({"fs": "host:1"}))
    assert ledger.append(resealed(ledger, sent, state_hash="0" * 64)) is not None
    ledger.commit(sent)


def test_an_altered_void_block_is_detected_too(ledger: Ledger) -> None:
    ledger.append(b"void")
    ledger.send("sl-1", session(1))
    assert first_fault([*ledger.blocks[:2], b"veid", *ledger.blocks[3:]]) == 2
    assert [step.void is not None for step in steps(ledger.blocks)] == [False, False, True, False]


# --- new rules ------------------------------------------------------------------------------------------------------


def test_a_program_stops_at_rules_it_does_not_know(ledger: Ledger) -> None:
    ledger.join("op", "SWCI")
    ledger.upgrade(RULES_VERSION + 1)
    ledger.send("op", SwitchRules(RULES_VERSION + 1), network.CONTRACT)
    height = replay(ledger.blocks).height
    with pytest.raises(UnsupportedRulesError, match=rf"rules version 2 from height {height + 1} on.*Install a newer"):
        ledger.seal()
    for raw in (ledger.blocks[3], b"a format of next year"):
        with pytest.raises(UnsupportedRulesError):
            ledger.append(raw)


@pytest.mark.parametrize("version", [RULES_VERSION, 1])
def test_the_rules_version_can_only_increase(ledger: Ledger, version: int) -> None:
    ledger.join("op", "SWCI")
    with pytest.raises(Rejection, match="old-rules"):
        ledger.send("op", SwitchRules(version), network.CONTRACT)


@pytest.mark.parametrize("version", [RULES_VERSION + 2, 2**31 - 1])
def test_a_rules_version_cannot_be_skipped(ledger: Ledger, version: int) -> None:
    ledger.join("op", "SWCI")
    with pytest.raises(Rejection, match=r"far-rules: .*the next is 2, .*would stop every node"):
        ledger.send("op", SwitchRules(version), network.CONTRACT)


# --- what is remembered ---------------------------------------------------------------------------------------------


def test_anchors_are_remembered_as_far_back_as_they_are_valid(ledger: Ledger) -> None:
    old = ledger.write("sl-1", network.CONTRACT, Announce({}))
    same_time = ledger.write("sl-1", network.CONTRACT, Lost("sl-1", 1))
    for _ in range(WINDOW - 1):
        ledger.append(b"void")
    assert len(ledger.chain.hashes) == WINDOW + 1
    ledger.commit(old)
    assert len(ledger.chain.hashes) == WINDOW + 1
    with pytest.raises(Rejection, match="expired: signed at height 1, now 1026; sign it again"):
        ledger.commit(same_time)
