"""The network as one SN sees it: who is there, what it bears, what is wrong, and for whom each training waits."""

from typing import Any

import msgspec
from pydantic import BaseModel

from swarmlearning import __version__
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.contracts.training import state as training
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.world import World
from swarmlearning.ordering.etcd.gateway import Member
from swarmlearning.ordering.etcd.member import peer_url
from swarmlearning.ordering.etcd.membership import describe
from swarmlearning.ordering.protocols import Lease, TrainingProgress
from swarmlearning.sn.ordering import Engine
from swarmlearning.views.names import Names, name_of, node_names
from swarmlearning.views.nodes import expiries, node_view
from swarmlearning.views.render import waiting_text
from swarmlearning.views.training import waiting


class NodeStatus(BaseModel):
    """A registered node; `training`: as its last heartbeats said it, where it has a script that trains."""

    uid: str
    type: str
    name: str
    incarnation: int
    alive: bool
    left: bool
    state: str
    version: str
    addresses: dict[str, str]
    training: TrainingProgress | None


class TrainingStatus(BaseModel):
    """A training contract in short; `waiting` has the facts of `text`: see `views.training.Waiting`."""

    name: str
    rounds: int
    over: bool
    min_peers: int | None
    members: list[str]
    leader: str | None
    waiting_for: list[str]
    text: str
    waiting: dict[str, Any]


class VoterStatus(BaseModel):
    """An SN's part in ordering: `voter`, `learner`, `spare` or `quarantine`. `founder`: it has founded the network;
    `witness`: it has no API; `height`: as its last heartbeat said it; `present`: its lease stands."""

    uid: str
    name: str
    part: str
    founder: bool
    witness: bool
    height: int | None
    present: bool


class RecoveryStatus(BaseModel):
    """An operator has restarted the network from the SN `by`, in the block of this height, without `lost` (UIDs)."""

    height: int
    by: str
    lost: list[str]


class ExpiryStatus(BaseModel):
    """When the certificate of a node or an authority expires (Unix time in milliseconds)."""

    of: str
    expires_ms: int


class Status(BaseModel):
    """The network as this SN sees it. `bears`: how many failures it survives; `alarms`: what an operator should see."""

    network: str
    network_id: str
    sn: str
    version: str
    height: int
    hash: str
    ordering: str
    votes: bool
    bears: str
    alarms: list[str]
    sns: list[VoterStatus]
    nodes: list[NodeStatus]
    trainings: list[TrainingStatus]
    recoveries: list[RecoveryStatus]
    expiries: list[ExpiryStatus]


async def status_of(chain: Chain, uid: str, engine: Engine, fault: str) -> Status:
    """The status at this head; `fault` is what the comparison with the other SNs has found."""
    members, leases = await engine.members(), await engine.leases()
    world = chain.world
    names = node_names(world)
    present = network.network(world)
    return Status(
        network=present.name,
        network_id=chain.network_id,
        sn=uid,
        version=__version__,
        height=chain.height,
        hash=chain.hash,
        ordering=engine.name,
        votes=engine.votes,
        bears=_bears(engine, members),
        alarms=[text for text in (*_quarantines(world), fault, *await engine.alarms()) if text],
        sns=[_sn(world, known, members, leases) for known in network.nodes(world) if _is_here(known)],
        nodes=[_node(world, known, leases.get(known.uid)) for known in network.nodes(world)],
        trainings=[_training(names, state) for state in world.area("training/", Training)],
        recoveries=[
            RecoveryStatus(height=entry.height, by=entry.by, lost=list(entry.lost))
            for entry in network.recoveries(world)
        ],
        expiries=[ExpiryStatus(of=each.of, expires_ms=each.expires_ms) for each in expiries(world)],
    )


def _node(world: World, known: Node, lease: Lease | None) -> NodeStatus:
    return NodeStatus(
        uid=known.uid,
        type=known.type,
        name=known.name,
        incarnation=known.incarnation,
        alive=known.alive,
        left=known.left,
        state=node_view(world, known).state,
        version=known.version,
        addresses=known.addresses,
        training=lease.training if lease else None,
    )


def _is_here(known: Node) -> bool:
    return known.type == "SN" and not known.left


def _quarantines(world: World) -> list[str]:
    found = []
    for known in network.nodes(world):
        entry = network.quarantine(world, known)
        if entry is not None:
            found.append(
                f"SN {known.name} is in quarantine: block {entry.height}, which it has sealed, is void. Stop it, run "
                "`swarm sn repair`, start it again"
            )
    return found


def _sn(world: World, known: Node, members: list[Member], leases: dict[str, Lease]) -> VoterStatus:
    member = next((one for one in members if one.peer_url == peer_url(known.uid)), None)
    part = "spare" if member is None else "learner" if member.learner else "voter"
    lease = leases.get(known.uid)
    return VoterStatus(
        uid=known.uid,
        name=known.name,
        part="quarantine" if network.quarantine(world, known) else part,
        founder=known.uid == network.network(world).founder,
        witness="p2p" in known.addresses and "api" not in known.addresses,
        height=lease.steps if lease else None,
        present=lease is not None,
    )


def _bears(engine: Engine, members: list[Member]) -> str:
    if engine.name == "local":
        return "one SN, ordering alone: survives none; with etcd more SNs can join"
    voters = sum(not member.learner for member in members)
    if voters:
        return describe(voters)
    return "no majority of voters answers: writes wait" if engine.votes else "this SN has no vote; ask a voter"


def _training(names: Names, state: Training) -> TrainingStatus:
    facts = waiting(state)
    return TrainingStatus(
        name=state.name,
        rounds=state.rounds,
        over=state.over,
        min_peers=state.terms.min_peers if state.terms else None,
        members=[names[uid] for uid in sorted(state.members)],
        leader=name_of(names, state.round.leader) if state.round else None,
        waiting_for=[names[uid] for uid in training.awaited(state)],
        text=waiting_text(facts, names),
        waiting=msgspec.to_builtins(facts),
    )
