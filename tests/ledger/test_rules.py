"""Versions of the rules: a network goes from one to the next, and what was written under the old ones stays as it was.

The next version is a test's own: it has one more kind of contract, notes (`support/notes.py`). So these tests also show
that a new kind touches no file but its own and the list of kinds.
"""

import gzip
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from support.network import CONTRACT, Ledger, read, session
from support.notes import NEXT, RULEBOOK, Break, Note, Write
from swarmlearning.ledger import block, checkpoint
from swarmlearning.ledger.block import read_header, transaction_root
from swarmlearning.ledger.bodies import AnnotateRun, Announce, Leave, Lost, Stop, SwitchRules
from swarmlearning.ledger.chain import RULES_VERSION, Chain, UnsupportedRulesError, replay
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.experiments import annotations_of
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import MalformedError, SignedTransaction, sign
from swarmlearning.ledger.world import World

NETWORK = network.CONTRACT
PERSON = "Dr. Ada Müller"


def noted(ledger: Ledger) -> list[str]:
    return [f"{note.writer}: {note.text}" for note in ledger.chain.world.area("note/", Note)]


@pytest.fixture
def ledger() -> Ledger:
    """A network under the newest rules whose nodes know the next ones, too: an SN, an operator, an SL in a training."""
    made = Ledger()
    made.chain = replace(made.chain, rulebook=RULEBOOK)
    made.upgrade(NEXT)
    made.join("op", "SWCI")
    made.join("sl-1")
    made.send("sl-1", session(1))
    return made


@pytest.fixture
def switched(ledger: Ledger) -> Ledger:
    """The same, under the next rules."""
    ledger.send("op", SwitchRules(NEXT), NETWORK)
    return ledger


def smuggled(ledger: Ledger, signed: SignedTransaction) -> bytes:
    """The next block with a transaction that its rules do not allow, sealed all the same."""
    header = msgspec.structs.replace(read_header(ledger.seal()), transaction_root=transaction_root([signed.id]))
    return block.seal(header, [signed], ledger.actors["sn-1"].signer).raw


# --- version 1 --------------------------------------------------------------------------------------------------------

OLD = Path(__file__).with_name("chains") / "rules-1.blocks.gz"
"""The blocks, one a line, of a network whose nodes knew version 1 only: 27 kinds of bodies, and a void block at 24."""


def test_a_chain_that_nodes_of_version_1_have_written_replays_to_the_state_that_they_had() -> None:
    blocks = gzip.decompress(OLD.read_bytes()).split(b"\n")
    chain = replay(blocks)
    assert (chain.height, chain.rules.version) == (112, 1)
    assert chain.voids == {24}
    assert chain.hash == "79bbbd9f216d9bf0f4af097afe3763eb43361fa799598ba6b85a99ca0e323dce"
    assert chain.world.state_hash() == "903df4068ac172b28b6130baac17bf120ff143e3e42815451c134eef020c5f83"
    assert network.proposals(chain.world), "of which entries of the newest version could differ"


def test_a_checkpoint_of_a_chain_of_version_1_has_the_state_of_that_chain() -> None:
    chain = replay(gzip.decompress(OLD.read_bytes()).split(b"\n"))
    assert checkpoint.decode(checkpoint.encode(chain)).world.state_hash() == chain.world.state_hash()


def test_under_version_1_no_operator_acts_for_a_person_and_nobody_annotates_a_run() -> None:
    ledger = Ledger(rules=1)
    ledger.join("op", "SWCI")
    ledger.join("sl-1")
    ledger.send("sl-1", session(1))
    assert ledger.write("op", CONTRACT, Stop(), PERSON).content.on_behalf_of == "", "it is left out"
    content = msgspec.structs.replace(ledger.write("op", CONTRACT, Stop()).content, on_behalf_of=PERSON)
    named = sign(content, ledger.actors["op"].signer)
    with pytest.raises(MalformedError, match="rules version 1 knows no on_behalf_of"):
        ledger.chain.rules.parse(named.raw)
    with pytest.raises(Rejection, match="rules-version: rules version 1 is in force, under which nobody acts for"):
        ledger.commit(named)
    assert "knows no on_behalf_of" in (ledger.append(smuggled(ledger, named)) or "")
    with pytest.raises(Rejection, match="rules-version: rules version 1 is in force, which has no AnnotateRun"):
        ledger.send("op", AnnotateRun(1, "fine"))


def test_a_network_of_version_1_is_switched_to_version_2_once_its_nodes_know_that() -> None:
    ledger = Ledger(rules=1, newest_rules=1)
    ledger.join("op", "SWCI")
    ledger.join("sl-1")
    ledger.send("sl-1", session(1))
    with pytest.raises(Rejection, match="far-rules: rules version 2 would stop nodes that do not know it"):
        ledger.send("op", SwitchRules(2), NETWORK)
    ledger.upgrade(2)
    ledger.send("sl-1", session(1))
    ledger.send("op", SwitchRules(2), NETWORK)
    ledger.send("op", AnnotateRun(1, "fine"), on_behalf_of=PERSON)
    [found] = annotations_of(ledger.chain.world, CONTRACT, 1)
    assert (found.text, found.on_behalf_of) == ("fine", PERSON)
    assert replay(ledger.blocks).world.state_hash() == ledger.chain.world.state_hash()


# --- from version to version ------------------------------------------------------------------------------------------


def test_a_version_refuses_a_body_of_the_next_one_from_a_node_and_in_a_block(ledger: Ledger) -> None:
    early = ledger.write("sl-1", "memo", Write("hello"))
    with pytest.raises(MalformedError, match="Invalid value 'Write'"):
        ledger.chain.rules.parse(early.raw)
    with pytest.raises(
        Rejection, match=f"rules-version: rules version {RULES_VERSION} is in force, which has no Write"
    ):
        ledger.commit(early)
    before = ledger.chain.world
    assert "Invalid value 'Write'" in (ledger.append(smuggled(ledger, early)) or "")
    assert ledger.chain.world is before


def test_the_next_block_after_the_switch_may_have_bodies_of_the_next_version(switched: Ledger) -> None:
    switched.send("sl-1", Write("hello"), "memo")
    assert noted(switched) == ["sl-1: hello"]
    assert read_header(switched.blocks[-2]).rules_version == RULES_VERSION
    assert read_header(switched.blocks[-1]).rules_version == NEXT
    with pytest.raises(Rejection, match="no-change: there is a note memo already"):
        switched.send("sl-1", Write("again"), "memo")


def test_the_block_that_switches_is_still_of_the_version_before(ledger: Ledger) -> None:
    switch = ledger.write("op", NETWORK, SwitchRules(NEXT))
    early = ledger.write("sl-1", "memo", Write("hello"))
    with pytest.raises(Rejection, match="rules-version"):
        ledger.commit(switch, early)


def test_a_chain_that_has_switched_replays_from_block_0_to_the_same_state(switched: Ledger) -> None:
    switched.send("sl-1", Write("hello"), "memo")
    again = replay(switched.blocks, Chain(rulebook=RULEBOOK))
    assert again.world.state_hash() == switched.chain.world.state_hash()
    assert (again.hash, again.hashes) == (switched.chain.hash, switched.chain.hashes)


def test_blocks_of_a_version_give_the_same_state_to_a_program_that_knows_the_next(ledger: Ledger) -> None:
    ledger.append(smuggled(ledger, ledger.write("sl-1", "memo", Write("hello"))))
    ledger.send("sl-1", Announce({"fs": "host:1"}), NETWORK)
    old, new = replay(ledger.blocks), replay(ledger.blocks, Chain(rulebook=RULEBOOK))
    assert old.world.state_hash() == new.world.state_hash()
    assert old.voids == new.voids == {5}


def test_a_program_that_does_not_know_the_next_version_stops_at_the_switch_and_not_before(switched: Ledger) -> None:
    known = replay(switched.blocks)
    assert known.hash == switched.chain.hash
    switched.send("sl-1", Write("hello"), "memo")
    reason = f"version {NEXT} from height 6 on; this program knows up to {RULES_VERSION}"
    with pytest.raises(UnsupportedRulesError, match=reason):
        known.append(switched.blocks[-1])


def test_a_network_may_be_founded_under_the_next_version(ledger: Ledger) -> None:
    content = read(ledger.blocks[0]).transactions[0].content
    genesis = msgspec.structs.replace(content.body, rules_version=NEXT)
    signer, nothing = ledger.actors["sn-1"].signer, Chain(rulebook=RULEBOOK)
    signed = sign(msgspec.structs.replace(content, body=genesis), signer)
    world = nothing.try_transaction(World(), signed, ledger.clock)
    raw = nothing.seal([signed], world, ledger.clock, "sn-1", signer).raw
    assert nothing.append(raw).chain.rules.version == NEXT
    with pytest.raises(UnsupportedRulesError, match=f"version {NEXT} from height 0 on"):
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
