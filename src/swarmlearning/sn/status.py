"""The network as one SN sees it: nodes present, fault tolerance, alarms, and the members each training waits for."""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

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
from swarmlearning.ordering.protocols import Lease
from swarmlearning.sn.engine import Engine
from swarmlearning.views.agreed import agreed_text
from swarmlearning.views.alerts import Facts, Heard, Ordering, Severity, Standing, alerts
from swarmlearning.views.names import Names, fetch_addresses, name_of, node_names
from swarmlearning.views.nodes import expires_ms, expiries, node_view
from swarmlearning.views.pace import Lately
from swarmlearning.views.render import waiting_text
from swarmlearning.views.training import TrainingProgress, activity, waiting_in
from swarmlearning.views.vitals import Vitals


class NodeStatus(BaseModel):
    """A registered node; `training`: as its last heartbeats reported it, where it has a script that trains;
    `progress`: batches that an SL has trained, the height of an SN's chain (None: it has no lease).
    `same_user`: a SWOP reports that it runs ML processes as its own user. `vitals`: what the node says of its machine,
    None where it does not; `expires_ms`: when its certificate ends, by the ledger.

    `state`: `alive`, `lost`, `left`, `quarantined`, `revoked`, or `unknown`: an SN of which this SN knows no lease.
    """

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
    progress: int | None
    same_user: bool
    vitals: Vitals | None
    expires_ms: int | None


class TrainingStatus(BaseModel):
    """A training contract in short; `waiting` has the facts of `text`: see `views.training.Waiting`.

    `agreed`: how values travel and the outer optimizer, in words; empty where there is neither. `activities`: what each
    member (by UID) does now, see `views.training.Activity`. `taken_ms`: how long the last
    rounds have taken, the newest last, as far as this SN has seen them; `missed`: of members that were not in the last
    rounds, how many these are.
    """

    name: str
    rounds: int
    over: bool
    min_peers: int | None
    members: list[str]
    leader: str | None
    waiting_for: list[str]
    text: str
    agreed: str
    waiting: dict[str, Any]
    activities: dict[str, str]
    taken_ms: list[int]
    missed: dict[str, int]


class VoterStatus(BaseModel):
    """An SN's part in ordering: `voter`, `learner`, `spare`, `quarantine`, or `unknown` without a vote or a majority.

    `founder`: it has founded the network; `witness`: it has no API; `height`: as its last heartbeat reported it, and
    `lag`: how many blocks that is behind those which it must have reported by now (None: not known); `present`: its
    lease stands (None: not known).
    """

    uid: str
    name: str
    part: str
    founder: bool
    witness: bool
    height: int | None
    lag: int | None
    present: bool | None


class RecoveryStatus(BaseModel):
    """An operator has restarted the network from the SN `by`, in the block of this height, without `lost` (UIDs)."""

    height: int
    by: str
    lost: list[str]


class ExpiryStatus(BaseModel):
    """The end of a certificate (Unix time in milliseconds), of a node or of an authority of this `organisation`.

    `last`: none of the organisation's authorities is valid longer.
    """

    of: str
    expires_ms: int
    organisation: str
    last: bool


class AlertStatus(BaseModel):
    """What an operator should know or do: see `views.alerts.Alert`."""

    code: str
    severity: Severity
    subject: str
    text: str
    remedy: str
    nodes: list[str]
    since_ms: int | None


class Status(BaseModel):
    """The network as this SN sees it. `fault_tolerance`: how many failures it survives (`bears` is the former name);
    `majority`: whether blocks can be ordered (None: this SN has no vote and does not know); `alarms`: what an operator
    should see; `alerts`: the same and more, with remedies, at `time_ms` by this SN's clock. `chain_bytes`: of this SN's
    chain file, 0 if unknown."""

    network: str
    network_id: str
    sn: str
    version: str
    height: int
    hash: str
    ordering: str
    votes: bool
    majority: bool | None
    fault_tolerance: str
    bears: str
    alarms: list[str]
    sns: list[VoterStatus]
    nodes: list[NodeStatus]
    trainings: list[TrainingStatus]
    recoveries: list[RecoveryStatus]
    expiries: list[ExpiryStatus]
    alerts: list[AlertStatus]
    time_ms: int
    chain_bytes: int
    founded_ms: int


T = TypeVar("T")

ENGINE_SECONDS = 3.0
"""For each answer of the engine; etcd without a majority gives none."""
ALARMS = frozenset(("no-majority", "voter-away", "quarantine", "clock", "sn-fault"))
"""The alerts that `alarms` has, as it had before there were others."""


@dataclass
class Notes:
    """What an SN has noted: the last rounds by contract, since when alerts stand, and the bytes of its chain file."""

    lately: Mapping[str, Lately] = field(default_factory=dict)
    standing: Standing = field(default_factory=Standing)
    chain_bytes: int = 0


@dataclass(frozen=True)
class _View:
    """The facts that the SN `uid` has beside the chain: the engine's members and leases (None: not known), and the
    height that an SN which follows must have reported by now."""

    uid: str
    world: World
    height: int
    due_height: int
    members: list[Member]
    leases: Mapping[str, Lease] | None

    def lease(self, known: Node) -> Lease | None:
        """The lease of a node's present incarnation."""
        lease = (self.leases or {}).get(known.uid)
        return lease if lease is not None and lease.incarnation == known.incarnation else None

    def present(self, known: Node) -> bool | None:
        """True if a node is present, as this SN itself is; None where this SN does not know."""
        if known.uid == self.uid:
            return True
        return None if self.leases is None else self.lease(known) is not None

    def member(self, known: Node) -> Member | None:
        """The etcd member of an SN."""
        return next((one for one in self.members if one.peer_url == peer_url(known.uid)), None)


async def status_of(
    chain: Chain, uid: str, engine: Engine, fault: str, due_height: int, now_ms: int, notes: Notes
) -> Status:
    """The status at this head and time; `fault` is the difference that the comparison with the other SNs has found,
    `due_height` the height of some seconds ago, which every SN has reported since if it follows."""
    world = chain.world
    members, leases, faults = await asyncio.gather(
        _soon(engine.members(), []), _soon(engine.leases(), None), _soon(engine.alarms(), [])
    )
    view = _View(uid, world, chain.height, due_height, members, leases)
    names = node_names(world)
    present = network.network(world)
    majority, fault_tolerance = _fault_tolerance(engine, view)
    sns = [known for known in network.nodes(world) if known.type == "SN" and not known.left]
    facts = _facts(view, engine, majority, [fault, *faults], now_ms, notes)
    found = notes.standing.dated(alerts(facts), now_ms)
    return Status(
        network=present.name,
        network_id=chain.network_id,
        sn=uid,
        version=__version__,
        height=chain.height,
        hash=chain.hash,
        ordering=engine.name,
        votes=engine.votes,
        majority=majority,
        fault_tolerance=fault_tolerance,
        bears=fault_tolerance,
        alarms=[str(each) for each in found if each.severity == "critical" and each.code in ALARMS],
        sns=[_sn(view, known) for known in sns],
        nodes=[_node(view, known) for known in network.nodes(world)],
        trainings=[
            _training(world, names, state, notes.lately.get(state.name)) for state in world.area("training/", Training)
        ],
        recoveries=[
            RecoveryStatus(height=entry.height, by=entry.by, lost=list(entry.lost))
            for entry in network.recoveries(world)
        ],
        expiries=[ExpiryStatus(**msgspec.structs.asdict(each)) for each in expiries(world)],
        alerts=[AlertStatus(**msgspec.to_builtins(each)) for each in found],
        time_ms=now_ms,
        chain_bytes=notes.chain_bytes,
        founded_ms=present.created_ms,
    )


async def _soon(answer: Coroutine[Any, Any, T], otherwise: T) -> T:
    """The engine's answer, or this one: a status is asked for most when the engine does not answer."""
    try:
        async with asyncio.timeout(ENGINE_SECONDS):
            return await answer
    except TimeoutError:
        return otherwise


def _facts(view: _View, engine: Engine, majority: bool | None, faults: list[str], now_ms: int, notes: Notes) -> Facts:
    """The facts that alerts follow from."""
    world, heard = view.world, None
    if view.leases is not None:
        leases = {known.uid: view.lease(known) for known in network.nodes(world)}
        heard = {uid: Heard(one.progress, one.ahead_ms, one.vitals) for uid, one in leases.items() if one}
    voters = [known.uid for known in network.admitted(world) if (one := view.member(known)) and not one.learner]
    ordering = Ordering(engine.name == "local", tuple(voters), majority, faults, view.due_height)
    return Facts(world, view.uid, now_ms, heard, ordering, notes.lately)


def _node(view: _View, known: Node) -> NodeStatus:
    lease = view.lease(known)
    state: str = node_view(view.world, known).state
    if known.type == "SN" and state == "alive":
        state = {True: "alive", False: "lost", None: "unknown"}[view.present(known)]
    return NodeStatus(
        uid=known.uid,
        type=known.type,
        name=known.name,
        incarnation=known.incarnation,
        alive=state == "alive",
        left=known.left,
        state=state,
        version=known.version,
        addresses=known.addresses,
        training=lease.training if lease else None,
        progress=lease.progress if lease else None,
        same_user=lease.same_user if lease else False,
        vitals=lease.vitals if lease else None,
        expires_ms=expires_ms(view.world, known),
    )


def _sn(view: _View, known: Node) -> VoterStatus:
    member, lease = view.member(known), view.lease(known)
    part = "unknown" if not view.members else "spare" if member is None else "learner" if member.learner else "voter"
    height = view.height if known.uid == view.uid else lease.progress if lease else None
    return VoterStatus(
        uid=known.uid,
        name=known.name,
        part="quarantine" if network.quarantine(view.world, known) else part,
        founder=known.uid == network.network(view.world).founder,
        witness="p2p" in known.addresses and "api" not in known.addresses,
        height=height,
        lag=None if height is None else max(0, view.due_height - height),
        present=view.present(known),
    )


def _fault_tolerance(engine: Engine, view: _View) -> tuple[bool | None, str]:
    """True if there is a majority (None: not known), and the fault tolerance as text."""
    if engine.name == "local":
        return True, "one SN, ordering alone: survives none; with etcd more SNs can join"
    voters = [member for member in view.members if not member.learner]
    if not voters:
        if engine.votes:
            return False, "no majority of voters answers: writes wait"
        return None, "this SN has no vote; see the status of a voter"
    sns = network.admitted(view.world)
    live = sum(any(known.uid == member.name and view.present(known) for known in sns) for member in voters)
    return True, describe(len(voters), live)


def _training(world: World, names: Names, state: Training, lately: Lately | None) -> TrainingStatus:
    facts = waiting_in(world, state)
    return TrainingStatus(
        name=state.name,
        rounds=state.rounds,
        over=state.over,
        min_peers=state.terms.min_peers if state.terms else None,
        members=[names[uid] for uid in sorted(state.members)],
        leader=name_of(names, state.round.leader) if state.round else None,
        waiting_for=[names[uid] for uid in training.awaited(state)],
        text=waiting_text(facts, names, fetch_addresses(world)),
        agreed=agreed_text(state),
        waiting=msgspec.to_builtins(facts),
        activities={uid: activity(state, member) for uid, member in state.members.items()},
        taken_ms=list(lately.taken_ms) if lately else [],
        missed={uid: missed for uid in state.members if lately and (missed := lately.missed(uid))},
    )
