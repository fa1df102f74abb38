"""Proposals on the ledger: how one is noted, found again and bounded, whoever makes it. Pure."""

from typing import Final

from msgspec import UNSET, UnsetType

from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import TxContext
from swarmlearning.ledger.contracts.network.state import Proposal, proposals
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.fields import Body
from swarmlearning.ledger.world import World

PROPOSAL_MS: Final = 7 * 24 * 3600 * 1000
"""Milliseconds of block time for which a proposal can be signed."""
MOST_OPEN: Final = 16
"""Open proposals of one organisation."""


def is_open(found: Proposal, time_ms: int) -> bool:
    """True if it can be signed at this time."""
    return found.state == "open" and time_ms <= found.expires_ms


def equal(world: World, contract: str, body: Body, about: str, time_ms: int) -> list[Proposal]:
    """The open proposals of the same act: at most one."""
    wanted = (contract, canonical(body).decode(), about)
    now = (each for each in proposals(world) if is_open(each, time_ms))
    return [each for each in now if (each.contract, each.body, each.about) == wanted]


def new_proposal(
    world: World, act: str, contract: str, body: Body, by: str, signed: tuple[str, ...], about: str, time_ms: int
) -> Proposal:
    """A new proposal of the organisation `by`. Raises `Rejection` if that one has too many open ones."""
    known = proposals(world)
    if sum(each.by == by for each in known if is_open(each, time_ms)) >= MOST_OPEN:
        raise Rejection(Code.TOO_MANY, f"organisation {by} has {MOST_OPEN} open proposals; reject one of them first")
    text = canonical(body).decode()
    return Proposal(len(known) + 1, act, contract, text, by, time_ms + PROPOSAL_MS, signed, about)


def answered_by(found: Proposal, tx: TxContext) -> dict[str, str] | UnsetType:
    """The persons of a proposal once the sender's organisation has answered it: for whom its operator has done so."""
    own = tx.signer.organisation
    others = {named: person for named, person in (found.persons or {}).items() if named != own}
    return others | ({own: tx.on_behalf_of} if tx.on_behalf_of else {}) or UNSET


def with_proposal(world: World, found: Proposal) -> World:
    """The world in which the proposal stands as given."""
    return world.with_entries({f"proposal/{found.number}": found})
