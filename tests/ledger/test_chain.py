"""The chain: the same blocks give the same state, no byte of them can change unnoticed, and a bad block is skipped."""

from random import Random

import pytest

from support.network import CONTRACT, Ledger, read, resealed, session
from swarmlearning.ledger.bodies import Announce, Lost, Register, Submit, SwitchRules
from swarmlearning.ledger.chain import RULES_VERSION, Chain, ForkError, UnsupportedRulesError, replay
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.ledger.history import BrokenChainError, steps
from swarmlearning.ledger.transaction import WINDOW, MalformedError


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


def test_an_altered_void_block_is_detected_too(ledger: Ledger) -> None:
    ledger.void()
    ledger.send("sl-1", session(1))
    assert first_fault([*ledger.blocks[:2], b"veid", *ledger.blocks[3:]]) == 2
    assert [step.void is not None for step in steps(ledger.blocks)] == [False, False, True, False]


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


# --- new rules ------------------------------------------------------------------------------------------------------


def test_a_program_stops_at_rules_it_does_not_know(ledger: Ledger) -> None:
    ledger.join("op", "SWCI")
    ledger.upgrade(RULES_VERSION + 1)
    ledger.send("op", SwitchRules(RULES_VERSION + 1), network.CONTRACT)
    height = replay(ledger.blocks).height
    reason = rf"rules version {RULES_VERSION + 1} from height {height + 1} on.*Install a newer"
    with pytest.raises(UnsupportedRulesError, match=reason):
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
    with pytest.raises(Rejection, match=rf"far-rules: .*the next is {RULES_VERSION + 1}, .*would stop every node"):
        ledger.send("op", SwitchRules(version), network.CONTRACT)


# --- what is remembered ---------------------------------------------------------------------------------------------


def test_anchors_are_remembered_as_far_back_as_they_are_valid(ledger: Ledger) -> None:
    old = ledger.write("sl-1", network.CONTRACT, Announce({}))
    same_time = ledger.write("sl-1", network.CONTRACT, Lost("sl-1", 1))
    for _ in range(WINDOW - 1):
        ledger.void()
    assert len(ledger.chain.hashes) == WINDOW + 1
    ledger.commit(old)
    assert len(ledger.chain.hashes) == WINDOW + 1
    with pytest.raises(Rejection, match="expired: signed at height 1, now 1026; sign it again"):
        ledger.commit(same_time)
