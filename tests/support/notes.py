"""A kind of contract that the program does not have: notes, which SLs write and which go when their writer leaves."""

from collections.abc import Iterable, Mapping

import msgspec

from swarmlearning.ledger.bodies import Body, Name
from swarmlearning.ledger.chain import RULES_VERSION
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import SL, Permission, Presence, Proposal, Rule, TxContext
from swarmlearning.ledger.contracts.registry import KINDS
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.rules import RULES, Limits, Rulebook, Rules
from swarmlearning.ledger.world import World


class Write(Body, frozen=True):
    """Leaves a note."""

    text: Name


class Break(Body, frozen=True):
    """Makes its handler fail in a way that nobody has foreseen."""


class Note(msgspec.Struct, frozen=True):
    """A note."""

    name: str
    writer: str
    text: str


def _write(world: World, contract: str, body: Write, tx: TxContext) -> World:
    if world.get(f"note/{contract}", Note):
        raise Rejection(Code.NO_CHANGE, f"there is a note {contract} already")
    return world.with_entries({f"note/{contract}": Note(contract, tx.sender, body.text)})


def _fail(world: World, contract: str, body: Break, tx: TxContext) -> World:
    raise ZeroDivisionError("unforeseen")


class Notes:
    """Fulfils `Contract`."""

    kind = "note"
    single = False
    entries: Mapping[str, type[msgspec.Struct]] = {"note": Note}
    rules: Mapping[type[Body], Rule] = {Write: Rule(_write, Permission(SL)), Break: Rule(_fail, Permission(SL))}

    def presence(self, before: World, after: World, body: Body, tx: TxContext) -> Iterable[Presence]:
        return ()

    def apply_presence(self, world: World, change: Presence, time_ms: int) -> World:
        gone = [note for note in world.area("note/", Note) if note.writer == change.uid and change.attendance == "left"]
        return world.with_entries({f"note/{note.name}": msgspec.structs.replace(note, text="gone") for note in gone})

    def proposals(self, world: World, live: Mapping[str, int], by: str) -> Iterable[Proposal]:
        for note in world.area("note/", Note):
            if note.writer not in live:
                yield Proposal(note.name, Write("late"), "its writer is away", after_seconds=1.0)


NEXT = RULES_VERSION + 1
RULEBOOK: Rulebook = {**RULES, NEXT: Rules(NEXT, (*KINDS, Notes()), Limits(window=8))}
"""All versions of the rules, and one more with notes and shorter waits."""
