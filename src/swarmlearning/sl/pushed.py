"""Models that are pushed rather than fetched: a site that nobody can connect to pushes its own to those who merge it.

Each slice goes to its merger, as the ledger shows it then, and so to one that takes its place; a model that one leader
merges goes to that leader. Nobody else gets any of it, and nobody takes what is not for it.
"""

from collections.abc import Callable

from swarmlearning.ledger.access import registered_peer
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.recipes import contributions
from swarmlearning.ledger.contracts.training.serving import is_served, rounds_of
from swarmlearning.ledger.contracts.training.slices import UNITS
from swarmlearning.ledger.contracts.training.slicing import is_to_be_sliced, slicing_of
from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.ledger.world import World
from swarmlearning.models.pushes import Pushable
from swarmlearning.node.sources import RELAY
from swarmlearning.sl.layouts import chunks_of
from swarmlearning.tensors.digest import Layout


def is_behind(world: World, uid: str) -> bool:
    """True if others reach this node through a relay alone, as it has announced."""
    known = network.node(world, uid)
    return known is not None and RELAY in known.addresses


def to_push(state: Training, uid: str) -> dict[tuple[str, str], tuple[range, ...]]:
    """What this member is to push: by merger and model the slices, in units, that are not merged yet."""
    found: dict[tuple[str, str], tuple[range, ...]] = {}
    for current in rounds_of(state):
        if not (digest := _contributed(state, current, uid)):
            continue
        for merger, units in _open_parts(state, current):
            if merger != uid:
                found[merger, digest] = (*found.get((merger, digest), ()), units)
    return found


def pushable(
    chain: Chain, uid: str, thumbprint: str, digest: str, layout: Callable[[Training, Round], Layout | None]
) -> Pushable | None:
    """What of a model the holder of a certificate may push to this node, `uid`: of its own contribution the chunks that
    this node merges. Only sites that nobody can connect to do.

    `layout`: how the models of a round are cut, None where this node does not know.
    """
    sender = registered_peer(chain.world, thumbprint, chain.time_ms)
    if sender is None:
        return None
    senders = {node.uid for node in sender.nodes if is_behind(chain.world, node.uid)}
    for state in chain.world.area("training/", Training):
        if uid not in state.members or senders.isdisjoint(state.members):
            continue
        for current in rounds_of(state):
            own = [units for merger, units in _parts(state, current) if merger == uid]
            if not own or all(_contributed(state, current, each) != digest for each in senders):
                continue
            if (known := layout(state, current)) is not None and known.header is not None:
                chunks = frozenset(chunk for units in own for chunk in chunks_of(known, units.start, units.stop))
                return Pushable(known, chunks)
    return None


def _parts(state: Training, current: Round) -> list[tuple[str, range]]:
    """Who merges which units of a round; of one in progress that is not merged in slices its leader all."""
    slicing = slicing_of(state, current.number)
    if slicing is not None:
        return [(each.merger, range(each.start, each.stop)) for each in slicing.slices]
    if current is state.round and current.leader and not is_to_be_sliced(state, current.number):
        return [(current.leader, range(UNITS))]
    return []


def _open_parts(state: Training, current: Round) -> list[tuple[str, range]]:
    """Those of them that are not merged yet, as far as is stated."""
    slicing = slicing_of(state, current.number)
    if slicing is None:
        return _parts(state, current)
    left = [each for each in slicing.slices if not each.root and each.merger not in each.roots | each.statistics]
    return [(each.merger, range(each.start, each.stop)) for each in left]


def pusher_of(chain: Chain, state: Training, uid: str, digest: str) -> str:
    """The member whose contribution this is to a round that this node, `uid`, leads, where others can connect to it."""
    current = state.round
    if current is None or current.leader != uid or is_behind(chain.world, uid):
        return ""
    return next((one.uid for one in current.submissions.values() if one.digest == digest), "")


def fault_of_merger(chain: Chain, uid: str, certificate: bytes) -> str:
    """The reason why whoever shows this certificate (DER) is not the node `uid`, empty where it is.

    Whoever fetches a model finds by its digest what is wrong; whoever gives one away has to know to whom.
    """
    shown = registered_peer(chain.world, sha256(certificate), chain.time_ms)
    if shown is not None and uid in {node.uid for node in shown.nodes}:
        return ""
    return "shows a certificate with which it is not the node that is to have the model"


def _contributed(state: Training, current: Round, uid: str) -> str:
    """The digest of what this member contributes to a round, empty where that is nothing that would be merged."""
    entry, slicing = current.submissions.get(uid), slicing_of(state, current.number)
    if entry is None or entry.weight == 0 or entry.digest == current.base:
        return ""
    if slicing is None:
        return entry.digest if is_served(state, uid, entry.digest) else ""
    return next((one.digest for one in contributions(state, current, slicing.excluded) if one.uid == uid), "")
