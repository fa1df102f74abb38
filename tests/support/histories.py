"""Random histories of a ledger: nodes of several organisations send bodies of every kind, and blocks follow."""

from collections.abc import Sequence
from random import Random

import msgspec

from support.anything import ONE_TIME, Anything, place_of
from support.network import CONTRACT, Actor, Ledger
from swarmlearning.identity.ca import KeyPair, certify, issue
from swarmlearning.identity.certificates import to_pem
from swarmlearning.identity.onetime import sign
from swarmlearning.identity.requests import make_request, read_request
from swarmlearning.ledger.apply import apply
from swarmlearning.ledger.bodies import (
    Anchor,
    AppendTaskBody,
    Assign,
    AssignTarget,
    Body,
    Certify,
    Check,
    Checked,
    Consent,
    CreateContract,
    CreateTask,
    CreateTaskrunner,
    FinalizeTask,
    Freeze,
    Genesis,
    Held,
    Invite,
    Listen,
    Missing,
    OpenSession,
    Progress,
    Publish,
    Reassign,
    Recover,
    Register,
    Renew,
    ReportFault,
    ReportPeer,
    ReportPerformance,
    RequestAdmission,
    RequestCertificate,
    Reset,
    ResetTaskrunner,
    Settle,
    Sliced,
    StateLink,
    Submit,
    SwitchRules,
    WithdrawInvitation,
)
from swarmlearning.ledger.chain import RULES_VERSION
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.contract import OPERATORS, SL
from swarmlearning.ledger.contracts.network.inviting import statement as invited
from swarmlearning.ledger.contracts.network.recovery import Start, named_in, statement
from swarmlearning.ledger.contracts.network.state import Invitation, invitation, open_invitations
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.taskrunner import peers, taskrunner
from swarmlearning.ledger.contracts.tasks import task
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.ledger.transaction import MAX_TRANSACTION, SignedTransaction
from swarmlearning.ledger.world import World

OPERATING = 0.3
"""The chance that a transaction which is none of a training is one that a task or taskrunner calls for."""
INVITING = 0.1
"""The chance that one of the others is one that the invitations call for."""
NAMING = 0.3
"""The chance that an operator acts on behalf of somebody."""
PERSON = "Dr. Ada Müller"


class History:
    """Random transactions by the actors `senders` of a ledger, each in a block of its own if it holds.

    `authorities` issue the certificates of nodes that the senders add or renew, `pems` are certificates to name. Only
    `Rejection` is caught.
    """

    def __init__(
        self,
        ledger: Ledger,
        dice: Random,
        senders: Sequence[str],
        authorities: Sequence[KeyPair],
        pems: Sequence[str],
        contracts: Sequence[str],
        training: float = 0.6,
        headers: Sequence[str] = (),
        sizes: Sequence[int] = (),
    ) -> None:
        """`training`: the chance that a transaction is one that a training calls for. `sizes`: of models."""
        self.ledger = ledger
        self.senders = list(senders)
        self.sent: list[type[Body]] = []
        self.accepted: list[type[Body]] = []
        self._dice = dice
        self._authorities = authorities
        self._contracts = contracts
        self._training = training
        self._pems = pems
        self._deck: list[type[Body]] = []
        own = [*pems, *(ledger.actors[uid].pem for uid in senders)]
        self._anything = {
            wildness: Anything(dice, lambda: ledger.chain.world, own, wildness, headers, sizes)
            for wildness in (0.0, 0.1, 1.0)
        }
        self.kinds = tuple(sorted(ledger.chain.rules.handlers, key=lambda kind: kind.__name__))

    def step(self) -> Body:
        """One transaction of any kind, by a sender whose role mostly fits it."""
        dice, ledger = self._dice, self.ledger
        ledger.clock = max(ledger.clock, ledger.chain.time_ms) + dice.choice((1, 100, 6_000, 20_000))
        self._return()
        contract = dice.choice(self._contracts)
        state = state_of(ledger.chain.world, contract)
        if dice.random() < self._training:
            kind = dice.choice(_next_kinds(state))
        elif dice.random() < OPERATING:
            kind = dice.choice(_next_operations(ledger.chain.world, contract))
        elif dice.random() < INVITING:
            kind = dice.choice(_next_invitations(ledger.chain.world, ledger.clock))
        else:
            kind = self._next_of_all()
        body = self._anything[dice.choice((0.0, 0.0, 0.1, 1.0))].body(kind, contract)
        uid = self._merging(body, state) or self._sender(kind, state)
        pair = ledger.actors[uid].pair
        self.send(uid, place_of(kind, contract), self._completed(uid, body), pair)
        return body

    def _next_of_all(self) -> type[Body]:
        """One kind after the other, so that none is left out, in an order of its own each time."""
        self._deck = self._deck or self._dice.sample(self.kinds, len(self.kinds))
        return self._deck.pop()

    def send(self, uid: str, contract: str, body: Body, pair: KeyPair | None = None) -> bool:
        """True if this body by this actor holds; then a block with it follows.

        Where it does not, the actor goes on with its certificate `pair`, if it has signed with a new one.
        """
        ledger, actor = self.ledger, self.ledger.actors[uid]
        before = (pair or actor.pair, actor.incarnation, actor.sequence)
        known = network.node(ledger.chain.world, actor.uid)
        if isinstance(body, Register) and known is not None and self._dice.random() < 0.9:
            actor.incarnation, actor.sequence = known.incarnation + 1, 0
        person = PERSON if actor.kind in OPERATORS and self._dice.random() < NAMING else ""
        signed = ledger.write(uid, contract, body, person)
        if len(signed.raw) > MAX_TRANSACTION:
            return False
        assert ledger.chain.rules.parse(signed.raw).content == signed.content, (
            "a body of values that its types do not allow"
        )
        self.sent.append(type(body))
        try:
            world = self._applied(signed)
        except Rejection:
            actor.pair, actor.incarnation, actor.sequence = before
            return False
        self.accepted.append(type(body))
        if not isinstance(body, SwitchRules):  # there is no other version of the rules to go on with
            self._seal(signed, world)
        return True

    def _return(self) -> None:
        """Whoever has left comes back with another certificate, if anybody lets it."""
        gone = [known for known in network.nodes(self.ledger.chain.world) if known.left and known.uid in self.senders]
        if gone and self._dice.random() < 0.5:
            actor = self.ledger.actors[self._dice.choice(gone).uid]
            pair = actor.pair
            pem = self._renewed(actor)
            self.send(actor.uid, network.CONTRACT, Register(actor.kind, actor.uid, pem, "0", RULES_VERSION + 1), pair)

    def _applied(self, signed: SignedTransaction) -> World:
        chain = self.ledger.chain
        return apply(
            chain.world,
            signed,
            chain.rules,
            network_id=chain.network_id,
            height=chain.height + 1,
            time_ms=chain.next_time(self.ledger.clock),
            hashes=chain.hashes,
        )

    def _seal(self, signed: SignedTransaction, world: World) -> None:
        """Appends the block as whoever may seal both before and after it."""
        ledger, chain = self.ledger, self.ledger.chain
        sealers = [sn.uid for sn in network.admitted(chain.world) if network.admits(world, sn.uid)]
        for uid in sealers:
            known = network.node(world, uid)
            actor = ledger.actors[uid]
            if known is None or known.certificate != actor.signer.thumbprint:
                continue  # its certificate on the ledger is another one now
            block = chain.seal((signed,), world, chain.next_time(ledger.clock), uid, actor.signer)
            ledger.chain = chain.extend(block, world).chain
            return

    def _sender(self, kind: type[Body], state: Training) -> str:
        dice = self._dice
        if kind in (Freeze, Publish, Progress, Reassign) and state.round and state.round.leader in self.senders:
            return state.round.leader
        if kind in (AppendTaskBody, FinalizeTask) and (draft := task(self.ledger.chain.world, state.name)):
            return draft.by or dice.choice(self.senders)
        if kind is ReportPeer and (listening := peers(self.ledger.chain.world, state.name)):
            return dice.choice(listening).uid
        rule = self.ledger.chain.rules.handlers[kind][1]
        members = [uid for uid in self.senders if uid in state.members]
        if members and rule.permission.roles == SL and kind is not OpenSession and dice.random() < 0.9:
            return dice.choice(members)
        fitting = [uid for uid in self.senders if self.ledger.actors[uid].kind in rule.permission.roles]
        return dice.choice(fitting if fitting and dice.random() < 0.95 else self.senders)

    def _merging(self, body: Body, state: Training) -> str:
        """The merger of the slice that the body is about, mostly; empty where it is about none."""
        if not isinstance(body, Sliced | ReportFault) or not state.slicings or self._dice.random() < 0.1:
            return ""
        slices = state.slicings[-1].slices
        uid = slices[body.slice].merger if body.slice < len(slices) else ""
        return uid if uid in self.senders else ""

    def _completed(self, uid: str, body: Body) -> Body:
        """The body, mostly with what only its sender can know or sign: certificates, signatures."""
        dice, actor = self._dice, self.ledger.actors[uid]
        if isinstance(body, Genesis) or dice.random() < 0.1:
            return body
        match body:
            case Register():
                return msgspec.structs.replace(body, node_type=actor.kind, certificate=dice.choice((actor.pem, "")))
            case Renew():
                return msgspec.structs.replace(body, certificate=self._renewed(actor))
            case ReportPeer():
                return msgspec.structs.replace(body, reason="site" if body.state == "failed" else None, pairs=())
            case Recover():
                return self._consented(uid, body)
            case Invite():
                return self._inviting(actor, body)
            case RequestCertificate() | RequestAdmission() if body.key in ONE_TIME:
                return self._invited(actor, body)
            case Certify():
                return self._certified(actor, body)
        return body

    def _renewed(self, actor: Actor) -> str:
        """Another certificate of this actor's subject, with which it signs from now on."""
        issuer = actor.pair.certificate.issuer
        own = [each for each in self._authorities if each.certificate.subject == issuer]
        authority = self._dice.choice(own if own and self._dice.random() < 0.9 else self._authorities)
        begin = authority.certificate.not_valid_before_utc
        actor.pair = issue(authority, f"{actor.kind}-{actor.uid}", [], [], 3650, begin)
        return to_pem(actor.pair.certificate)

    def _inviting(self, actor: Actor, body: Invite) -> Invite:
        """An invitation that expires soon, of a node of the sender's organisation or of a new organisation."""
        world = self.ledger.chain.world
        known, unused = network.node(world, actor.uid), [key for key in ONE_TIME if not invitation(world, key)]
        key = self._dice.choice(unused) if unused else body.key
        soon = msgspec.structs.replace(body, key=key, expires_ms=self.ledger.clock + 1_000_000)
        if body.role is None or known is None:
            return msgspec.structs.replace(soon, role=None, name="", organisation="org-9")
        return msgspec.structs.replace(soon, name=f"{body.role}-9", organisation=known.organisation)

    def _invited(
        self, actor: Actor, body: RequestCertificate | RequestAdmission
    ) -> RequestCertificate | RequestAdmission:
        """A request that the holder of the one-time key has signed, for a node with the sender's own key."""
        entry = invitation(self.ledger.chain.world, body.key)
        if isinstance(body, RequestCertificate) and entry is not None and entry.role is not None:
            request = make_request(actor.pair.key, entry.name, [], [])
            body = msgspec.structs.replace(body, request=request)
        if isinstance(body, RequestAdmission) and self._dice.random() < 0.5:
            body = msgspec.structs.replace(body, anchors=(Anchor(self._pems[0]),))
        by = ONE_TIME[body.key]
        return msgspec.structs.replace(body, signature=sign(by, invited(self.ledger.chain.network_id, body)))

    def _certified(self, actor: Actor, body: Certify) -> Certify:
        """A certificate for what was requested, by the authority of the sender's organisation, if it can issue."""
        entry = invitation(self.ledger.chain.world, body.key)
        own = [each for each in self._authorities if each.certificate.subject == actor.pair.certificate.issuer]
        if entry is None or not entry.request or not own:
            return body
        begin = own[0].certificate.not_valid_before_utc
        issued = certify(own[0], read_request(entry.request.encode()).key, entry.name, [], [], 3650, begin)
        return msgspec.structs.replace(body, certificate=to_pem(issued))

    def _consented(self, by: str, body: Recover) -> Recover:
        chain = self.ledger.chain
        sender = self.ledger.actors[by].uid
        try:
            named = named_in(chain.world, sender, body.lost)
        except Rejection:  # nobody can sign for SNs that there are not
            return body
        text = statement(Start(chain.network_id, sender, chain.height, chain.hash), named, body.authorities)
        actors = [self.ledger.actors[uid] for uid in self.senders]
        signing = [each for each in actors if self._dice.random() < (0.8 if each.kind in OPERATORS else 0.01)]
        return msgspec.structs.replace(
            body, consents=tuple(Consent(each.pem, each.signer.sign(text)) for each in signing)
        )


def _next_operations(world: World, name: str) -> tuple[type[Body], ...]:
    """What the task and the taskrunner of this name call for in their states."""
    made, runner = task(world, name), taskrunner(world, name)
    of_task = (CreateTask,) if made is None else () if made.final else (AppendTaskBody, FinalizeTask)
    if runner is None:
        return (*of_task, CreateTaskrunner)
    if not runner.peers or not runner.assignment:
        return (*of_task, Listen, Listen, Assign)
    return (*of_task, ReportPeer, ReportPeer, ReportPeer, AssignTarget, ResetTaskrunner)


def _next_invitations(world: World, time_ms: int) -> tuple[type[Body], ...]:
    """What invitations call for: some are open, of some the certificate is missing."""
    waiting = [each for each in world.area("invitation/", Invitation) if each.request and not each.certificate]
    opened = open_invitations(world, time_ms)
    return (
        *((Certify, Certify) if waiting else ()),
        *((RequestCertificate, RequestAdmission, RequestCertificate, WithdrawInvitation) if opened else ()),
        Invite,
    )


def _next_kinds(state: Training) -> tuple[type[Body], ...]:
    """What a training calls for in this state."""
    if state.over:
        return (Settle, Reset, ReportPerformance, Missing)
    reports: tuple[type[Body], ...] = (ReportPerformance, Missing) if state.result else ()
    if state.round is None:
        return (OpenSession,) if state.charter or state.name == CONTRACT else (CreateContract,)
    if state.slicings:
        of_slices = (Sliced, Sliced, Sliced, Sliced, Held, Held, ReportFault, Reassign, StateLink)
        of_slices = (*of_slices, *((Check, Checked) if state.checks else ()))
        return (*of_slices, Publish, *reports, *((Submit,) if state.round.phase == "collecting" else ()))
    return (Publish, *reports) if state.round.phase == "frozen" else (Submit, Submit, Freeze, OpenSession, *reports)
