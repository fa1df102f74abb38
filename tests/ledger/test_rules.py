"""Versions of the rules: a network goes from one to the next, and what was written under the old ones stays as it was.

Version 2 is a test's own: it has one more kind of contract, notes (`support/notes.py`). So these tests also show that a
new kind touches no file but its own and the list of kinds.
"""

from dataclasses import replace

import msgspec
import pytest

from support.network import CONTRACT, Ledger, read, session
from support.notes import RULEBOOK, Break, Note, Write
from swarmlearning.ledger import block
from swarmlearning.ledger.block import read_header, transaction_root
from swarmlearning.ledger.bodies import Announce, Leave, Lost, SwitchRules
from swarmlearning.ledger.chain import Chain, UnsupportedRulesError, replay
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import MalformedError, SignedTransaction, sign
from swarmlearning.ledger.world import World

NETWORK = network.CONTRACT


def noted(ledger: Ledger) -> list[str]:
    return [f"{note.writer}: {note.text}" for note in ledger.chain.world.area("note/", Note)]


@pytest.fixture
def ledger() -> Ledger:
    """A network under version 1 of nodes that know version 2 as well: an SN, an operator, an SL in a training."""
    made = Ledger()
    made.chain = replace(made.chain, rulebook=RULEBOOK)
    made.upgrade(2)
    made.join("op", "SWCI")
    made.join("sl-1")
    made.send("sl-1", session(1))
    return made


@pytest.fixture
def switched(ledger: Ledger) -> Ledger:
    """The same, under version 2."""
    ledger.send("op", SwitchRules(2), NETWORK)
    return ledger


def smuggled(ledger: Ledger, signed: SignedTransaction) -> bytes:
    """The next block with a transaction that its rules do not allow, sealed all the same."""
    header = msgspec.structs.replace(read_header(ledger.seal()), transaction_root=transaction_root([signed.id]))
    return block.seal(header, [signed], ledger.actors["sn-1"].signer).raw


# --- from version to version ------------------------------------------------------------------------------------------


def test_version_1_refuses_a_body_of_version_2_from_a_node_and_in_a_block(ledger: Ledger) -> None:
    early = ledger.write("sl-1", "memo", Write("hello"))
    with pytest.raises(MalformedError, match="Invalid value 'Write'"):
        ledger.chain.rules.parse(early.raw)
    with pytest.raises(Rejection, match="rules-version: rules version 1 is in force, which has no Write"):
        ledger.commit(early)
    before = ledger.chain.world
    assert "Invalid value 'Write'" in (ledger.append(smuggled(ledger, early)) or "")
    assert ledger.chain.world is before


def test_the_next_block_after_the_switch_may_have_bodies_of_version_2(switched: Ledger) -> None:
    switched.send("sl-1", Write("hello"), "memo")
    assert noted(switched) == ["sl-1: hello"]
    assert read_header(switched.blocks[-2]).rules_version == 1
    assert read_header(switched.blocks[-1]).rules_version == 2
    with pytest.raises(Rejection, match="no-change: there is a note memo already"):
        switched.send("sl-1", Write("again"), "memo")


def test_the_block_that_switches_is_still_of_version_1(ledger: Ledger) -> None:
    switch = ledger.write("op", NETWORK, SwitchRules(2))
    early = ledger.write("sl-1", "memo", Write("hello"))
    with pytest.raises(Rejection, match="rules-version"):
        ledger.commit(switch, early)


def test_a_chain_that_has_switched_replays_from_block_0_to_the_same_state(switched: Ledger) -> None:
    switched.send("sl-1", Write("hello"), "memo")
    again = replay(switched.blocks, Chain(rulebook=RULEBOOK))
    assert again.world.state_hash() == switched.chain.world.state_hash()
    assert (again.hash, again.hashes) == (switched.chain.hash, switched.chain.hashes)


def test_blocks_of_version_1_give_the_same_state_to_a_program_that_knows_version_2(ledger: Ledger) -> None:
    ledger.append(smuggled(ledger, ledger.write("sl-1", "memo", Write("hello"))))
    ledger.send("sl-1", Announce({"fs": "host:1"}), NETWORK)
    old, new = replay(ledger.blocks), replay(ledger.blocks, Chain(rulebook=RULEBOOK))
    assert old.world.state_hash() == new.world.state_hash()
    assert old.voids == new.voids == {5}


def test_a_program_that_knows_version_1_only_stops_at_the_switch_and_not_before(switched: Ledger) -> None:
    known = replay(switched.blocks)
    assert known.hash == switched.chain.hash
    switched.send("sl-1", Write("hello"), "memo")
    with pytest.raises(UnsupportedRulesError, match=r"version 2 from height 6 on; this program knows up to 1"):
        known.append(switched.blocks[-1])


def test_a_network_may_be_founded_under_version_2(ledger: Ledger) -> None:
    content = read(ledger.blocks[0]).transactions[0].content
    genesis = msgspec.structs.replace(content.body, rules_version=2)
    signer, nothing = ledger.actors["sn-1"].signer, Chain(rulebook=RULEBOOK)
    signed = sign(msgspec.structs.replace(content, body=genesis), signer)
    world = nothing.try_transaction(World(), signed, ledger.clock)
    raw = nothing.seal([signed], world, ledger.clock, "sn-1", signer).raw
    assert nothing.append(raw).chain.rules.version == 2
    with pytest.raises(UnsupportedRulesError, match="version 2 from height 0 on"):
        Chain().append(raw)


def test_limits_are_those_of_the_rules_version_in_force(switched: Ledger) -> None:
    signed = switched.write("sl-1", NETWORK, Announce({}))
    assert signed.content.expires_at_height == switched.chain.height + 8
    patient = msgspec.structs.replace(signed.content, expires_at_height=switched.chain.height + 9)
    with pytest.raises(Rejection, match="malformed: a transaction may wait 8 blocks at most"):
        switched.commit(sign(patient, switched.actors["sl-1"].signer))


# --- a new kind -------------------------------------------------------------------------------------------------------


def test_a_new_kind_of_contract_has_permissions_of_its_own(switched: Ledger) -> None:
    with pytest.raises(Rejection, match="not-allowed: only SL may do this; op is a SWCI"):
        switched.send("op", Write("hello"), "memo")
    with pytest.raises(Rejection, match="wrong-contract: Write needs the name of a note contract, not 'network'"):
        switched.send("sl-1", Write("hello"), NETWORK)


def test_contracts_of_two_kinds_may_have_the_same_name(switched: Ledger) -> None:
    before = switched.training
    switched.send("sl-1", Write("hello"), CONTRACT)
    assert switched.training == before
    assert noted(switched) == ["sl-1: hello"]


def test_a_new_kind_of_contract_is_notified_of_a_node_that_leaves(switched: Ledger) -> None:
    switched.send("sl-1", Write("hello"), "memo")
    switched.send("sn-1", Lost("sl-1", 1), NETWORK)
    assert noted(switched) == ["sl-1: hello"]
    switched.send("sl-1", Leave(), NETWORK)
    assert noted(switched) == ["sl-1: gone"]


def test_an_unexpected_error_in_a_handler_is_a_refusal_and_makes_a_block_void(switched: Ledger) -> None:
    broken = switched.write("sl-1", "memo", Break())
    with pytest.raises(Rejection, match="malformed: cannot be judged: ZeroDivisionError: unforeseen"):
        switched.commit(broken)
    assert "ZeroDivisionError" in (switched.append(smuggled(switched, broken)) or "")
    switched.send("sl-1", Announce({}), NETWORK)
