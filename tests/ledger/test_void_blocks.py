"""Blocks that break a rule use up their height, and quarantine their sealer; what nobody has sealed is no block."""

import re
from collections.abc import Callable

import msgspec
import pytest

from support.network import CONTRACT, Actor, Ledger, read, resealed, session
from swarmlearning.identity.ca import create_authority
from swarmlearning.ledger import block
from swarmlearning.ledger.block import transaction_root
from swarmlearning.ledger.bodies import Announce, LiftQuarantine, Register, Submit
from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.chain import RULES_VERSION, ForkError, UnsealedError, replay
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Quarantine
from swarmlearning.ledger.contracts.rejection import Rejection

Forge = Callable[[Ledger], bytes]


@pytest.fixture
def ledger() -> Ledger:
    """An SN and an SL."""
    made = Ledger()
    made.join("sl-1")
    return made


def unregistered(ledger: Ledger) -> bytes:
    ledger.actor("sn-2", "SN")
    return resealed(ledger, by="sn-2")


def admitting_itself(ledger: Ledger) -> bytes:
    """An SN that no registered SN has admitted writes its own registration."""
    actor = ledger.actor("sn-2", "SN")
    start = ledger.write("sn-2", network.CONTRACT, Register("SN", "sn-2", actor.pem, "0"))
    return resealed(ledger, start, by="sn-2")


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
    "another state": (lambda ledger: resealed(ledger, state_hash="0" * 64), "state-hash: the sealer came to another"),
    "a transaction that does not hold": (with_refused_transaction, "not-a-member"),
    "a transaction twice": (twice, "replayed"),
    "the time of the block before": (
        lambda ledger: resealed(ledger, time_ms=ledger.chain.time_ms),
        "time: block time must grow",
    ),
    "another network": (lambda ledger: resealed(ledger, network="0" * 64), "other-network"),
    "other rules": (lambda ledger: resealed(ledger, rules_version=RULES_VERSION + 1), "rules-version"),
    "older rules": (lambda ledger: resealed(ledger, rules_version=0), "rules-version"),
}
UNSEALED: dict[str, tuple[Forge, str]] = {
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
    "another root": (lambda ledger: resealed(ledger, transaction_root="0" * 64), "transaction-root"),
    "a transaction that is not sealed": (with_unsealed_transaction, "transaction-root"),
    "a time when no certificate is valid": (
        lambda ledger: resealed(ledger, time_ms=ledger.clock + 4000 * 86_400_000),
        "untrusted: .*expired",
    ),
    "another height": (lambda ledger: resealed(ledger, height=99), "block 99 follows"),
    "another predecessor, by nobody": (
        lambda ledger: resealed(ledger, previous="0" * 64, signer="sl-1"),
        "block .* follows 0000",
    ),
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


@pytest.mark.parametrize(("forge", "reason"), UNSEALED.values(), ids=UNSEALED)
def test_what_no_sn_of_the_network_has_sealed_is_no_block_and_uses_up_no_height(
    ledger: Ledger, forge: Forge, reason: str
) -> None:
    raw, before = forge(ledger), ledger.chain
    with pytest.raises(UnsealedError, match=rf"what stands at height {before.height + 1} is no block: .*{reason}"):
        ledger.append(raw)
    assert ledger.chain is before
    ledger.actors["sl-1"].sequence += 5
    ledger.send("sl-1", session(1))
    assert ledger.chain.height == before.height + 1


def test_a_block_of_another_chain_that_an_sn_has_sealed_is_a_fork(ledger: Ledger) -> None:
    with pytest.raises(ForkError, match="follows 0000") as found:
        ledger.append(resealed(ledger, previous="0" * 64))
    assert not isinstance(found.value, UnsealedError)


@pytest.fixture
def three(ledger: Ledger) -> Ledger:
    """A network of three SNs."""
    ledger.join("sn-2", "SN")
    ledger.join("sn-3", "SN")
    return ledger


def lifting(ledger: Ledger) -> LiftQuarantine:
    """Lifts the quarantine for the newest void block of sn-2."""
    entry = ledger.chain.world.get("quarantine/sn-2", Quarantine)
    assert entry
    return LiftQuarantine("sn-2", entry.height)


def test_the_sealer_of_a_void_block_is_in_quarantine_until_operators_lift_it(three: Ledger) -> None:
    three.append(resealed(three, state_hash="0" * 64, by="sn-2"))
    assert [sn.uid for sn in network.admitted(three.chain.world)] == ["sn-1", "sn-3"]
    with pytest.raises(UnsealedError, match="sealer: sn-2 is no SN of this network"):
        three.append(resealed(three, by="sn-2"))
    with pytest.raises(Rejection, match="is in quarantine for a block that it has sealed"):
        three.send("sn-2", Announce({"api": "host:1"}), network.CONTRACT)
    three.actors["sn-2"].incarnation += 1
    with pytest.raises(Rejection, match=r"quarantine: .* swarm node lift-quarantine sn-2"):
        three.register("sn-2")  # no restart ends it
    three.join("op-1", "SWCI")
    three.send("op-1", lifting(three), network.CONTRACT)
    three.register("sn-2")
    with pytest.raises(Rejection, match="no-change: sn-2 is no SN in quarantine"):
        three.send("op-1", lifting(three), network.CONTRACT)
    assert three.append(resealed(three, by="sn-2")) is None
    assert replay(three.blocks).world.state_hash() == three.chain.world.state_hash()


def test_an_sn_in_quarantine_cannot_come_back_under_another_uid(three: Ledger) -> None:
    three.append(resealed(three, state_hash="0" * 64, by="sn-2"))
    three.actors["sn-9"] = Actor("sn-9", "SN", three.actors["sn-2"].pair)
    with pytest.raises(Rejection, match="quarantine: SN sn-2"):
        three.register("sn-9")
    three.join("sn-4", "SN")  # of another identity


def test_operators_who_forgive_one_void_block_have_not_forgiven_the_next(three: Ledger) -> None:
    three.join("op-1", "SWCI")
    three.append(resealed(three, state_hash="0" * 64, by="sn-2"))
    earlier = lifting(three)
    three.send("op-1", earlier, network.CONTRACT)
    three.append(resealed(three, state_hash="0" * 64, by="sn-2"))
    with pytest.raises(
        Rejection, match=rf"no-change: SN sn-2 is in quarantine for block .*, not for block {earlier.height}"
    ):
        three.send("op-1", earlier, network.CONTRACT)


def test_a_second_void_block_ends_in_quarantine_again(three: Ledger) -> None:
    three.join("op-1", "SWCI")
    for _ in range(2):
        three.append(resealed(three, state_hash="0" * 64, by="sn-2"))
        assert [sn.uid for sn in network.admitted(three.chain.world)] == ["sn-1", "sn-3"]
        three.send("op-1", lifting(three), network.CONTRACT)


def test_a_sealer_is_not_blamed_for_a_block_that_others_altered(three: Ledger) -> None:
    good = read(resealed(three, by="sn-2"))
    extra = three.write("sl-1", network.CONTRACT, Announce({}))
    altered = msgspec.json.decode(good.raw) | {"transactions": [extra.raw]}
    for forged in (canonical(altered), resealed(three, by="sn-2", signer="sn-3")):
        with pytest.raises(UnsealedError):
            three.append(forged)
    assert len(network.admitted(three.chain.world)) == 3


def test_the_last_sn_is_never_in_quarantine(ledger: Ledger) -> None:
    ledger.append(resealed(ledger, state_hash="0" * 64))
    assert [sn.uid for sn in network.admitted(ledger.chain.world)] == ["sn-1"]


def test_a_transaction_may_refer_to_a_void_slot(ledger: Ledger) -> None:
    ledger.void()
    assert ledger.chain.anchor.height == 2
    ledger.send("sl-1", session(1))


def test_a_transaction_of_a_void_block_may_be_sent_again_in_the_same_bytes(ledger: Ledger) -> None:
    sent = ledger.write("sl-1", network.CONTRACT, Announce({"fs": "host:1"}))
    assert ledger.append(resealed(ledger, sent, state_hash="0" * 64)) is not None
    ledger.commit(sent)
