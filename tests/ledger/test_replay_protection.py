"""The same bytes count once, and only on the chain that their sender has seen, for a while."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.network import CONTRACT, Actor, Ledger
from swarmlearning.ledger.apply import apply
from swarmlearning.ledger.bodies import (
    Announce,
    Reset,
)
from swarmlearning.ledger.chain import RULES_VERSION
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.replay import REPLAY_BITS, use_sequence
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.rules import RULES
from swarmlearning.ledger.transaction import WINDOW, Anchor, SignedTransaction, sign
from swarmlearning.ledger.world import World

NETWORK = network.CONTRACT


def test_a_transaction_is_accepted_once_only(ledger: Ledger) -> None:
    sent = ledger.write("sl-1", NETWORK, Announce({}))
    ledger.commit(sent)
    with pytest.raises(Rejection, match=r"replayed: sequence number 2 of node sl-1 was used already"):
        ledger.commit(sent)


@given(st.lists(st.integers(1, 3 * REPLAY_BITS), max_size=200))
@example([REPLAY_BITS + 1, 1])
@example([REPLAY_BITS, 1])
def test_each_sequence_number_is_accepted_at_most_once_in_any_order(numbers: list[int]) -> None:
    world, accepted = World(), list[int]()
    for height, number in enumerate(numbers):
        expected = number not in accepted and number > max(accepted, default=0) - REPLAY_BITS
        if not expected:
            with pytest.raises(Rejection, match="replayed"):
                use_sequence(world, "sl-1", 1, number, height)
            continue
        world = use_sequence(world, "sl-1", 1, number, height)
        accepted.append(number)
        assert network.last_height(world, "sl-1") == height
    highest = max(accepted, default=0)
    for number in range(1, 4 * REPLAY_BITS):
        used = number in accepted or number <= highest - REPLAY_BITS
        assert network.is_used(world, "sl-1", 1, number) is used
        assert not network.is_used(world, "sl-1", 2, number)


@given(st.permutations(range(1, REPLAY_BITS + 1)))
def test_transactions_may_overtake_one_another_within_the_window(numbers: list[int]) -> None:
    world = World()
    for number in numbers:
        world = use_sequence(world, "sl-1", 1, number, 1)


def test_a_sequence_number_far_ahead_forgets_all_before_it() -> None:
    world = use_sequence(World(), "sl-1", 1, 2**31 - 1, 1)
    with pytest.raises(Rejection, match="replayed"):
        use_sequence(world, "sl-1", 1, 5, 1)


def test_sequence_numbers_begin_anew_with_each_incarnation_and_are_counted_for_each_node(ledger: Ledger) -> None:
    ledger.actors["sl-1"] = Actor("sl-1", "SL", ledger.actors["sl-1"].pair, incarnation=2)
    ledger.register("sl-1")
    windows = [ledger.chain.world.get(f"window/{uid}", network.Window) for uid in ("sl-1", "sl-2")]
    assert [(window.incarnation, window.highest) for window in windows if window] == [(2, 1), (1, 1)]


def test_a_refused_transaction_does_not_use_its_sequence_number(ledger: Ledger) -> None:
    refused = ledger.write("sl-1", CONTRACT, Reset(True))
    with pytest.raises(Rejection, match="not-allowed"):
        ledger.commit(refused)
    ledger.actors["sl-1"].sequence -= 1
    ledger.send("sl-1", Announce({}), NETWORK)


# --- place and time -------------------------------------------------------------------------------------------------


def placed(ledger: Ledger, **changes: object) -> SignedTransaction:
    """A good transaction of `sl-1`, but for these fields."""
    actor = ledger.actors["sl-1"]
    content = msgspec.structs.replace(ledger.write("sl-1", NETWORK, Announce({})).content, **changes)
    return sign(content, actor.signer)


MISPLACED: list[tuple[dict[str, object], str]] = [
    ({"network": "0" * 64}, "other-network: .*is for network 000000000000, this is"),
    ({"network": ""}, "other-network"),
    (
        {"anchor": Anchor(2, "0" * 64), "expires_at_height": 9},
        "other-chain: .*seen block 2 as 000000000000.*different chains",
    ),
    ({"anchor": Anchor(99, "0" * 64)}, "other-chain: .*here it is unknown"),
    ({"anchor": Anchor(-1, ""), "expires_at_height": 9}, "other-chain"),
    ({"expires_at_height": 3}, "expired: signed at height 3, now 4; sign it again"),
    ({"expires_at_height": 3 + WINDOW + 1}, f"malformed: .*wait {WINDOW} blocks at most"),
]


@pytest.mark.parametrize(("changes", "reason"), MISPLACED)
def test_a_transaction_is_refused_on_another_network_or_chain_and_outside_its_window(
    ledger: Ledger, changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(Rejection, match=reason):
        ledger.commit(placed(ledger, **changes))


def test_an_anchor_may_be_as_old_as_the_window_and_no_older(ledger: Ledger) -> None:
    signed = placed(ledger)
    anchor = signed.content.anchor

    def at(height: int) -> World:
        return apply(
            ledger.chain.world,
            signed,
            RULES[RULES_VERSION],
            network_id=ledger.chain.network_id,
            height=height,
            time_ms=ledger.clock,
            hashes={anchor.height: anchor.hash},
        )

    at(anchor.height + WINDOW)
    with pytest.raises(Rejection, match="expired"):
        at(anchor.height + WINDOW + 1)


def test_a_transaction_of_a_sender_that_was_shown_another_chain_is_refused(ledger: Ledger) -> None:
    shown = ledger.seal(ledger.write("sl-2", NETWORK, Announce({"fs": "host:1"})))
    other = ledger.chain.append(shown).chain
    ledger.send("sl-2", Announce({"fs": "host:2"}), NETWORK)
    with pytest.raises(Rejection, match="other-chain: the sender has seen block 4"):
        ledger.commit(placed(ledger, anchor=other.anchor, expires_at_height=9))
