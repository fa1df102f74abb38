"""Presence as the SNs report it: which SNs count, and when their reports are enough.

A node is lost, or back, once more than half of the SNs that count have reported so; where three or more organisations
run SNs, each organisation counts once, whichever of its SNs has reported.

An SN counts from its registration on. It stops counting by its own statement (it has no vote, so it does not see the
leases), or when another SN reports that its lease is gone, and again after `CONTRADICTION_MS` in which the SN has not
contradicted with `Back`. So nobody who is gone is waited for, and nobody is excluded who is there.
"""

from collections.abc import Collection, Iterator, Mapping

import msgspec

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import Proposal, TxContext
from swarmlearning.ledger.contracts.network.bodies import Back, Lost
from swarmlearning.ledger.contracts.network.state import (
    CONTRACT,
    Absence,
    Node,
    Reports,
    admits,
    admitted,
    node,
    watched,
)
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.world import World

AHEAD_MS = 10_000
"""By so many milliseconds the time of a block may be ahead of a clock that is right."""
DOUBT_MS = 5_000
"""A block that is ahead by more is acted on only once it is certain that it will not be refused. So blocks that one
clock finds ahead by a little more than `AHEAD_MS`, and another one by a little less, divide nobody."""
CONTRADICTION_MS = AHEAD_MS + 5_000
"""Milliseconds of block time: whatever a sealer states as time, five seconds are left to contradict."""
GONE_SECONDS = 2.0
"""An SN's lease has been gone for so long before another one reports that."""
MANY_ORGANISATIONS = 3


def counting(world: World) -> list[Node]:
    """The SNs whose reports count, by UID."""
    return [sn for sn in admitted(world) if sn.alive and absence(world, sn).by != sn.uid]


def counts(world: World, uid: str) -> bool:
    """True if this is the UID of an SN whose reports count."""
    return any(sn.uid == uid for sn in counting(world))


def is_majority(world: World, by: Collection[str]) -> bool:
    """True if these SNs (UIDs) are more than half of those that count."""
    known = counting(world)
    if len({sn.organisation for sn in admitted(world)}) >= MANY_ORGANISATIONS:
        reporting, all_of_them = ({sn.organisation for sn in known if sn.uid in by}, {sn.organisation for sn in known})
        return 2 * len(reporting) > len(all_of_them)
    return 2 * sum(sn.uid in by for sn in known) > len(known)


def absence(world: World, sn: Node) -> Absence:
    """The statement in force that an SN does not watch; `by` is empty where there is none."""
    entry = world.get(f"absence/{sn.uid}", Absence)
    return entry if entry is not None and entry.incarnation == sn.incarnation else Absence(sn.incarnation, "", 0)


def reporters(world: World, known: Node) -> tuple[str, ...]:
    """The SNs that report a node as lost while it is recorded as present, or as back while it is lost."""
    entry = world.get(f"reports/{known.uid}", Reports)
    return entry.by if entry is not None and entry.incarnation == known.incarnation else ()


def report(world: World, contract: str, body: Lost | Back, tx: TxContext) -> World:
    """The world after a report that a node is lost or back; of itself a node reports its ML process, an SN its watch.

    Raises `Rejection`.
    """
    known = node(world, body.uid)
    if known is None:
        raise Rejection(Code.UNKNOWN_NODE, f"no node {body.uid} is registered")
    if known.incarnation != body.incarnation:
        raise Rejection(
            Code.OLD_INCARNATION,
            f"node {body.uid} now runs as incarnation {known.incarnation}, not {body.incarnation}",
        )
    lost = isinstance(body, Lost)
    if known.uid == tx.sender:
        return _of_itself(world, known, tx, lost=lost) if known.type == "SN" else world
    if known.left:  # an SN that has not seen that yet may believe it back
        raise Rejection(Code.HAS_LEFT, f"node {body.uid} has left the network")
    if not counts(world, tx.sender):
        raise Rejection(Code.NOT_COUNTED, f"SN {tx.sender} is recorded as absent; it has to report itself back before")
    if known.type == "SN":
        return _of_an_sn(world, known, tx, lost=lost)
    return _of_a_node(world, known, tx, lost=lost)


def _of_itself(world: World, sn: Node, tx: TxContext, *, lost: bool) -> World:
    present = absence(world, sn)
    if lost:
        if present.by == sn.uid:
            raise Rejection(Code.NO_CHANGE, f"SN {sn.uid} has reported already that it does not watch")
        return _with_absence(world, sn, by=sn.uid, since_ms=tx.time_ms)
    if sn.alive and not present.by:
        raise Rejection(Code.NO_CHANGE, f"SN {sn.uid} counts already")
    return _with_absence(_with_alive(world, sn, alive=True), sn, by="", since_ms=0)


def _of_an_sn(world: World, sn: Node, tx: TxContext, *, lost: bool) -> World:
    if not lost:
        raise Rejection(Code.NOT_ALLOWED, f"that SN {sn.uid} is back only itself can report")
    present = absence(world, sn)
    if not sn.alive or present.by == sn.uid:
        raise Rejection(Code.NO_CHANGE, f"SN {sn.uid} does not count")
    if not present.by:
        return _with_absence(world, sn, by=tx.sender, since_ms=tx.time_ms)
    left_ms = present.since_ms + CONTRADICTION_MS - tx.time_ms
    if left_ms > 0:
        raise Rejection(Code.NO_CHANGE, f"SN {sn.uid} may contradict for {left_ms} ms more of block time")
    return _with_alive(world, sn, alive=False)


def _of_a_node(world: World, known: Node, tx: TxContext, *, lost: bool) -> World:
    before = reporters(world, known)
    if lost != known.alive:
        if tx.sender not in before:
            raise Rejection(Code.NO_CHANGE, f"node {known.uid} is already {'alive' if known.alive else 'lost'}")
        return _with_reports(world, known, [uid for uid in before if uid != tx.sender])
    after = {*before, tx.sender}
    if is_majority(world, after):
        return _with_reports(_with_alive(world, known, alive=not known.alive), known, ())
    if tx.sender in before:
        raise Rejection(Code.NO_CHANGE, f"SN {tx.sender} has reported this already; more SNs have to")
    return _with_reports(world, known, after)


def _with_alive(world: World, known: Node, *, alive: bool) -> World:
    return world.with_entries({f"node/{known.uid}": msgspec.structs.replace(known, alive=alive)})


def _with_absence(world: World, sn: Node, *, by: str, since_ms: int) -> World:
    return world.with_entries({f"absence/{sn.uid}": Absence(sn.incarnation, by, since_ms)})


def _with_reports(world: World, known: Node, by: Collection[str]) -> World:
    if not by and not reporters(world, known):
        return world
    return world.with_entries({f"reports/{known.uid}": Reports(known.incarnation, tuple(sorted(by)))})


def abstention(world: World, uid: str) -> Proposal | None:
    """The statement of an SN that counts, but does not see the leases; None where there is nothing to state."""
    known = node(world, uid)
    if known is None or not counts(world, uid):
        return None
    return Proposal(CONTRACT, Lost(uid, known.incarnation), "this SN has no vote: it does not watch who is present")


def proposals(world: World, live: Mapping[str, int], by: str) -> Iterator[Proposal]:
    """The reports that the SN `by` has to make; `live`: UID and incarnation of each node with a lease."""
    me = node(world, by)
    if me is None or not admits(world, by):
        return
    sns = counting(world)
    counted = me in sns
    if not counted or absence(world, me).by:
        yield Proposal(CONTRACT, Back(by, me.incarnation), "this SN watches who is present", good_news=True)
    if not counted:
        return
    for known in watched(world):
        yield from _on_node(world, known, by, here=live.get(known.uid) == known.incarnation)
    for sn in sns:
        if sn.uid != by and live.get(sn.uid) != sn.incarnation:
            suspected = absence(world, sn).by
            wait = CONTRADICTION_MS / 1000 + GONE_SECONDS if suspected else GONE_SECONDS
            what = f"SN {sn.name} is gone" if suspected else f"SN {sn.name} has no lease"
            yield Proposal(CONTRACT, Lost(sn.uid, sn.incarnation), what, after_seconds=wait)


def _on_node(world: World, known: Node, by: str, *, here: bool) -> Iterator[Proposal]:
    """A node without a lease is lost, one that has one again is back; a report that is no longer true is taken back."""
    reported = reporters(world, known)
    contrary = known.alive != here
    if contrary == (by in reported) and not (contrary and is_majority(world, reported)):
        return
    if here:
        yield Proposal(CONTRACT, Back(known.uid, known.incarnation), f"{known.name} is back", good_news=True)
    else:
        yield Proposal(CONTRACT, Lost(known.uid, known.incarnation), f"{known.name} is lost")
