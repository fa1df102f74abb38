"""The network as a kind of contract: there is one, named `network`."""

from collections.abc import Iterator, Mapping

import msgspec

from swarmlearning.ledger.contracts.contract import (
    ANY,
    OPERATORS,
    SN,
    SWOP,
    Act,
    Change,
    Permission,
    Presence,
    Proposal,
    Rule,
    TxContext,
)
from swarmlearning.ledger.contracts.network import (
    equivocation,
    inviting,
    members,
    objecting,
    policies,
    quotas,
    recovery,
    registration,
    revoking,
    roots,
    state,
    succession,
    watching,
)
from swarmlearning.ledger.contracts.network.bodies import (
    AddAuthority,
    AddRoot,
    AdmitOrganisation,
    Announce,
    Back,
    Certify,
    Equivocation,
    Genesis,
    Invite,
    Leave,
    LiftQuarantine,
    Lost,
    Recover,
    RefuseBlock,
    Register,
    Reject,
    Renew,
    RequestAdmission,
    RequestCertificate,
    RetireAuthority,
    RetireOrganisation,
    Revoke,
    SetPolicy,
    SetQuotas,
    Sign,
    SwitchRules,
    WithdrawInvitation,
)
from swarmlearning.ledger.contracts.network.state import CONTRACT, Node, node
from swarmlearning.ledger.fields import Body
from swarmlearning.ledger.world import World

_ACTS: Mapping[type[Body], tuple[Change, Act | None]] = {
    AdmitOrganisation: (members.admit, Act("admit-organisation")),
    RetireOrganisation: (members.retire, Act("retire-organisation", members.concerned)),
    AddAuthority: (members.add_authority, Act("add-authority", succession.succeeding)),
    RetireAuthority: (members.retire_authority, Act("retire-authority", members.concerned)),
    Revoke: (members.revoke, Act("revoke", members.concerned)),
    SwitchRules: (registration.switch_rules, Act("switch-rules")),
    LiftQuarantine: (recovery.lift_quarantine, Act("lift-quarantine")),
    SetQuotas: (quotas.set_quotas, Act("set-quotas")),
    SetPolicy: (policies.set_policy, Act("set-policy")),
    Sign: (policies.answer, None),
    Reject: (policies.answer, None),
    Invite: (inviting.invite, None),
    WithdrawInvitation: (inviting.withdraw, None),
    Certify: (inviting.certify, None),
}
"""What operators do. A policy is changed by the quorum of its own act, and a majority at least."""


class NetworkContract:
    """Fulfils `Contract`."""

    kind = CONTRACT
    single = True
    entries: Mapping[str, type[msgspec.Struct]] = {
        "network": state.Network,
        "organisation": state.Organisation,
        "authority": state.Authority,
        "certificate": state.Certificate,
        "revoked": revoking.Revoked,
        "node": state.Node,
        "window": state.Window,
        "quarantine": state.Quarantine,
        "absence": state.Absence,
        "reports": state.Reports,
        "refused": state.RefusedBlock,
        "equivocation": state.TwoSeals,
        "recovery": state.Recovery,
        "policy": state.Policy,
        "proposal": state.Proposal,
        "invitation": state.Invitation,
        "usage": quotas.Usage,
    }
    rules: Mapping[type[Body], Rule] = {
        Genesis: Rule(registration.genesis, Permission(SN)),
        Register: Rule(registration.register, Permission(ANY)),
        Announce: Rule(registration.announce, Permission(ANY)),
        Leave: Rule(registration.leave, Permission(ANY)),
        Lost: Rule(watching.report, Permission(ANY, of_others=SN)),
        Back: Rule(watching.report, Permission(ANY, of_others=SN)),
        Recover: Rule(recovery.recover, Permission(SN)),
        Equivocation: Rule(equivocation.record, Permission(ANY)),
        RefuseBlock: Rule(objecting.refuse_block, Permission(SN)),
        Renew: Rule(registration.renew, Permission(ANY)),
        RequestCertificate: Rule(inviting.request_certificate, Permission(SN)),
        RequestAdmission: Rule(inviting.request_admission, Permission(SN)),
        AddRoot: Rule(roots.add_root, Permission(SN | SWOP)),
        **{body: Rule(change, Permission(OPERATORS), act) for body, (change, act) in _ACTS.items()},
    }

    def presence(self, before: World, after: World, body: Body, tx: TxContext) -> Iterator[Presence]:
        """The nodes that the transaction restarted, lost or found, and those that have left by it or were shut out."""
        match body:
            case Register():
                yield Presence(tx.sender, "restarted", tx.incarnation)
            case Announce():
                was, now = node(before, tx.sender), node(after, tx.sender)
                if was and now and was.addresses.get("fs") != now.addresses.get("fs"):
                    yield Presence(tx.sender, "moved", tx.incarnation)
            case Lost() | Back() if body.uid == tx.sender:
                yield Presence(body.uid, "ml-lost" if isinstance(body, Lost) else "present", body.incarnation)
            case Lost() | Back():
                was, now = node(before, body.uid), node(after, body.uid)
                if was and now and was.alive != now.alive:
                    yield Presence(body.uid, "present" if now.alive else "lost", body.incarnation)
            case Revoke() | AddAuthority() | RetireAuthority() | RetireOrganisation():
                for known in members.shut_out_by(after, body, tx.time_ms):
                    yield Presence(known.uid, "left", known.incarnation, trusted=False)
            case Leave() | Recover():
                gone = {known.uid for known in before.area("node/", Node) if known.left}
                for known in after.area("node/", Node):
                    if known.left and known.uid not in gone:
                        yield Presence(known.uid, "left", known.incarnation)

    def apply_presence(self, world: World, change: Presence, time_ms: int) -> World:
        """The world itself: its own handlers have noted the change."""
        return world

    def proposals(self, world: World, live: Mapping[str, int], by: str) -> Iterator[Proposal]:
        """The reports of the SN `by` on who is lost or back; one that is recorded as absent reports itself back."""
        return watching.proposals(world, live, by)


NETWORK = NetworkContract()
