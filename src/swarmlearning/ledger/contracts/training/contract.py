"""Trainings as a kind of contract: there are as many as nodes name."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.contract import (
    ANYBODY,
    OPERATORS,
    SL,
    SN,
    Act,
    Change,
    Permission,
    Presence,
    Proposal,
    Rule,
)
from swarmlearning.ledger.contracts.contract import TxContext as Tx
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training import checking, publishing, recovery, sessions, slicing
from swarmlearning.ledger.contracts.training import transactions as does
from swarmlearning.ledger.contracts.training.bodies import (
    ChangeMembers,
    Check,
    Checked,
    CloseSession,
    CreateContract,
    Depose,
    Freeze,
    Held,
    Missing,
    OpenSession,
    Progress,
    Publish,
    Reassign,
    ReportFault,
    ReportPerformance,
    Reset,
    Settle,
    Sliced,
    StateLink,
    Stop,
    Submit,
    Void,
    Weigh,
)
from swarmlearning.ledger.contracts.training.changing import change_members, owner_alone, present_members
from swarmlearning.ledger.contracts.training.charter import check_charter, create, create_uncoded
from swarmlearning.ledger.contracts.training.losing import lost_model
from swarmlearning.ledger.contracts.training.majorities import all_hold
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.ledger.contracts.training.transfers import check_reasons
from swarmlearning.ledger.fields import Body
from swarmlearning.ledger.world import World

QUIET_SECONDS = 12.0
"""Silence of a leader until an SN reports it: longer than one at work is silent."""


def _present_run(world: World, contract: str, tx: Tx) -> Training:
    """The training contract, for a transaction that was written in its present run.

    Raises `Rejection` for one that was under way while the contract was reset: rounds and terms are numbered anew.
    """
    state = state_of(world, contract)
    if tx.anchor < state.reset_height:
        raise Rejection(
            Code.FORMER_RUN,
            f"contract {contract} was reset at height {state.reset_height}; this was written before, at {tx.anchor}",
        )
    return state


def _step(change: Callable[[Training, Any, Tx], Training]) -> Change:
    def step(world: World, contract: str, body: Any, tx: Tx) -> World:
        return world.with_entries({f"training/{contract}": change(_present_run(world, contract, tx), body, tx)})

    return step


def _depose(world: World, contract: str, body: Depose, tx: Tx) -> World:
    state = _present_run(world, contract, tx)
    leader = network.node(world, state.round.leader) if state.round else None
    if body.cause == "lease" and leader is not None and leader.alive:
        raise Rejection(Code.STILL_HELD, f"the SNs have not reported the leader {leader.uid} as lost")
    state = recovery.depose(
        state,
        body,
        tx.sender,
        organisation=tx.signer.organisation,
        by_sn=tx.signer.role == "SN",
        leader_incarnation=leader.incarnation if leader else 0,
        leader_height=network.last_height(world, leader.uid) if leader else 0,
    )
    return world.with_entries({f"training/{contract}": state})


def _settle(world: World, contract: str, body: Settle, tx: Tx) -> World:
    settled = recovery.settle(_present_run(world, contract, tx), body, tx.sender, by_sn=tx.signer.role == "SN")
    return world.with_entries({f"training/{contract}": settled})


def _open_session(world: World, contract: str, body: OpenSession, tx: Tx) -> World:
    state = _present_run(world, contract, tx)
    check_charter(world, state, body, tx.signer.organisation)
    identity = f"{tx.signer.subject} of {tx.signer.organisation}"
    opened = sessions.open_session(
        state,
        body,
        tx.sender,
        tx.incarnation,
        tx.time_ms,
        network=tx.network,
        identity=identity,
        organisation=tx.signer.organisation,
    )
    return world.with_entries({f"training/{contract}": opened})


def _before_steps(change: Change) -> Change:
    """The change under rules that know no outer optimizer: whoever states one is refused, as nodes of releases before
    these rules do."""

    def changed(world: World, contract: str, body: Any, tx: Tx) -> World:
        if body.outer is not None:
            raise Rejection(
                Code.OLD_RULES,
                "an outerOptimizer needs rules version 3; an operator switches the network to it: swarm policy "
                "switch-rules 3",
            )
        return change(world, contract, body, tx)

    return changed


def _stop(state: Training, body: Stop, tx: Tx) -> Training:
    return sessions.stop(state)


def _reset(state: Training, body: Reset, tx: Tx) -> Training:
    return sessions.reset(state, body.forced, tx.height)


def _publish_uncoded(state: Training, body: Publish, tx: Tx) -> Training:
    """Before rules version 3."""
    check_reasons(body)
    return does.publish(state, body, tx.sender, tx.time_ms)


def reset_alone(world: World, contract: str, body: Body) -> str:
    """The organisation that may stop and reset a contract alone: its owner.

    Where nobody owns it, or all do: the only organisation whose sites are in the training, anybody once it is over,
    else nobody.
    """
    state = state_of(world, contract)
    if state.charter is not None and not state.charter.shared:
        return state.charter.owner
    training = {member.organisation for member in state.members.values()}
    if state.over or not training:
        return ANYBODY
    return training.pop() if len(training) == 1 else ""


def _run(world: World, contract: str) -> str:
    """The run that is stopped or reset: who has signed for one has not agreed to end the next."""
    return f"run {state_of(world, contract).run}"


_BY_SL, _BY_SN = Permission(SL), Permission(SN)
_RULES: dict[type[Body], tuple[Callable[[Training, Any, Tx], Training], Permission]] = {
    Submit: (lambda s, body, tx: does.submit(s, body, tx.sender, tx.time_ms), _BY_SL),
    Freeze: (lambda s, body, tx: does.freeze(s, body, tx.sender), _BY_SL),
    Progress: (lambda s, body, tx: does.progress(s, body, tx.sender), _BY_SL),
    Publish: (_publish_uncoded, _BY_SL),
    ReportPerformance: (lambda s, body, tx: does.report_performance(s, body, tx.sender), _BY_SL),
    Missing: (lambda s, body, tx: recovery.missing(s, body, tx.sender), _BY_SL),
    CloseSession: (lambda s, body, tx: sessions.close_session(s, body, tx.sender), _BY_SL),
    Void: (lambda s, body, tx: recovery.void(s, body, tx.time_ms), _BY_SN),
}


_OF_SLICES: dict[type[Body], tuple[Callable[[Training, Any, Tx], Training], Permission]] = {
    Publish: (lambda s, body, tx: publishing.publish(s, body, tx.sender, tx.time_ms), _BY_SL),
    StateLink: (lambda s, body, tx: slicing.state_link(s, body, tx.sender), _BY_SL),
    Sliced: (lambda s, body, tx: slicing.sliced(s, body, tx.sender), _BY_SL),
    Held: (lambda s, body, tx: slicing.held(s, body, tx.sender), _BY_SL),
    ReportFault: (lambda s, body, tx: slicing.report_fault(s, body, tx.sender), _BY_SL),
    Reassign: (lambda s, body, tx: slicing.reassign(s, body, tx.sender), _BY_SL),
    Check: (lambda s, body, tx: checking.check(s, body, tx.sender), _BY_SL),
    Checked: (lambda s, body, tx: checking.checked(s, body, tx.sender), _BY_SL),
    Weigh: (lambda s, body, tx: slicing.weigh(s, body, tx.sender), _BY_SL),
}


_WITH_STEPS: dict[type[Body], Rule] = {
    OpenSession: Rule(_open_session, _BY_SL),
    CreateContract: Rule(create, Permission(OPERATORS), Act("create-contract")),
}


class TrainingContract:
    """Fulfils `Contract`."""

    kind = "training"
    single = False
    entries: Mapping[str, type[msgspec.Struct]] = {"training": Training}
    rules: Mapping[type[Body], Rule] = {
        Depose: Rule(_depose, Permission(SN | SL)),
        Settle: Rule(_settle, Permission(SN | SL)),
        OpenSession: Rule(_before_steps(_open_session), _BY_SL),
        CreateContract: Rule(_before_steps(create_uncoded), Permission(OPERATORS), Act("create-contract")),
        ChangeMembers: Rule(change_members, Permission(OPERATORS), Act("change-members", owner_alone, present_members)),
        Stop: Rule(_step(_stop), Permission(OPERATORS), Act("stop-contract", reset_alone, _run)),
        Reset: Rule(_step(_reset), Permission(OPERATORS), Act("reset-contract", reset_alone, _run)),
        **{body: Rule(_step(change), permission) for body, (change, permission) in _RULES.items()},
    }

    def presence(self, before: World, after: World, body: Body, tx: Tx) -> Iterable[Presence]:
        """None: a session is no node."""
        return ()

    def apply_presence(self, world: World, change: Presence, time_ms: int) -> World:
        """Notes in all its trainings that a member came, went or has another address."""
        states = [state for state in world.area("training/", Training) if change.uid in state.members]
        return world.with_entries({f"training/{state.name}": _noted(state, change, time_ms) for state in states})

    def proposals(self, world: World, live: Mapping[str, int], by: str) -> Iterator[Proposal]:
        """A result that too few hold to go on with is void, a final one that every live member holds is settled.

        A member's report that its leader makes no progress is seconded by an SN that has heard nothing of that leader
        either: so two members are enough to replace one of them.
        """
        for state in world.area("training/", Training):
            result = state.result
            if (lost := lost_model(state)) is not None:
                yield Proposal(state.name, Void(lost), f"the result of round {lost} is lost")
            if result is not None and state.over and not state.settled and all_hold(state):
                number = result.closed.number
                yield Proposal(
                    state.name, Settle(number), f"all live members hold the result of {state.name}", good_news=True
                )
            if (report := _report(world, state)) is not None:
                assert state.round is not None
                what = f"the leader of round {report.round} makes no progress"
                yield Proposal(state.name, report, what, QUIET_SECONDS, noted=not state.round.no_progress)


def _noted(state: Training, change: Presence, time_ms: int) -> Training:
    uid, attendance, incarnation, trusted = change
    if not trusted:
        return sessions.shut_out(state, uid, incarnation, time_ms)
    if attendance == "moved":
        return sessions.changed_address(state, uid)
    return sessions.set_attendance(state, uid, attendance, incarnation, time_ms)


def _report(world: World, state: Training) -> Depose | None:
    """The report that the leader has made no progress since its last transaction; None where nobody leads."""
    current = state.round
    leader = network.node(world, current.leader) if current else None
    if current is None or leader is None:
        return None
    seen = network.last_height(world, leader.uid)
    return Depose(current.number, current.term, leader.incarnation, seen, "progress")


def _followed(change: Change) -> Change:
    """The change, and what follows from it for slices and checks."""

    def changed(world: World, contract: str, body: Any, tx: Tx) -> World:
        return _follow(change(world, contract, body, tx), contract, tx.time_ms)

    return changed


def _follow(world: World, contract: str, time_ms: int) -> World:
    state = world.get(f"training/{contract}", Training)
    after = slicing.follow(checking.follow(state), time_ms) if state else state
    return world if after is None or after is state else world.with_entries({f"training/{contract}": after})


class SlicedTrainingContract(TrainingContract):
    """The same where rounds may be merged in slices: since rules version 3."""

    rules: Mapping[type[Body], Rule] = {
        body: rule._replace(change=_followed(rule.change))
        for body, rule in {
            **TrainingContract.rules,
            **_WITH_STEPS,
            **{body: Rule(_step(change), permission) for body, (change, permission) in _OF_SLICES.items()},
        }.items()
    }

    def apply_presence(self, world: World, change: Presence, time_ms: int) -> World:
        """As without slices; and slices of members that are lost go to others."""
        names = [state.name for state in world.area("training/", Training) if change.uid in state.members]
        world = super().apply_presence(world, change, time_ms)
        for name in names:
            world = _follow(world, name, time_ms)
        return world


TRAINING = TrainingContract()
SLICED_TRAINING = SlicedTrainingContract()
