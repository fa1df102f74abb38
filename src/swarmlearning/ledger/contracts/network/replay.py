"""Replay protection: each sequence number of a node's incarnation is accepted once."""

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.network.state import Window
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.world import World

REPLAY_BITS = 64


def use_sequence(world: World, uid: str, incarnation: int, sequence: int, height: int) -> World:
    """Marks the sequence number as used. Raises `Rejection` when it was used, or is too old to be checked."""
    key = f"window/{uid}"
    window = world.get(key, Window)
    if window is None or window.incarnation != incarnation:
        window = Window(incarnation=incarnation, highest=0, seen=0, last_height=0)
    if sequence > window.highest:
        highest, shift = sequence, sequence - window.highest
        seen = ((window.seen << shift) | 1) & ((1 << REPLAY_BITS) - 1) if shift < REPLAY_BITS else 1
    else:
        highest, bit = window.highest, window.highest - sequence
        if bit >= REPLAY_BITS or window.seen >> bit & 1:
            raise Rejection(
                Code.REPLAYED,
                f"sequence number {sequence} of node {uid} was used already "
                f"(highest {window.highest}); every transaction needs a new one",
            )
        seen = window.seen | 1 << bit
    return world.with_entries({key: Window(incarnation, highest, seen, height)})


def is_used(world: World, uid: str, incarnation: int, sequence: int) -> bool:
    """True if a sequence number of a node's newest incarnation was used, or it is too long ago to know that."""
    window = world.get(f"window/{uid}", Window)
    if window is None or window.incarnation != incarnation or sequence > window.highest:
        return False
    bit = window.highest - sequence
    return bit >= REPLAY_BITS or bool(window.seen >> bit & 1)
