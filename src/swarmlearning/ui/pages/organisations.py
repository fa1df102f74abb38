"""Who takes part: organisations, their authorities and quotas, who has to agree to what, and what waits for that."""

import msgspec

from swarmlearning.identity.certificates import CertificateError, load_bundle, subject_of
from swarmlearning.identity.certificates import expires_ms as end_of
from swarmlearning.identity.requests import fingerprint, read_request
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Authority, Node, Organisation
from swarmlearning.ledger.contracts.network.policies import TABLE, quorum_of, quorum_to_change
from swarmlearning.ledger.contracts.network.state import Invitation
from swarmlearning.ledger.world import World
from swarmlearning.operator.acts import ActError
from swarmlearning.operator.invitations import all_invitations, own_organisation, shown_state
from swarmlearning.ui.licensing import LicenseFacts
from swarmlearning.views.names import displayed, node_names
from swarmlearning.views.nodes import expires_ms, node_view
from swarmlearning.views.proposals import ProposalView, proposals

DAY_MS = 24 * 3600 * 1000
SOON_MS = 30 * DAY_MS
MOST_PROPOSALS = 200
LONGEST_SUBJECT = 200


class AuthorityRow(msgspec.Struct, frozen=True):
    """An authority of an organisation. `expires_ms` is None where it is not trusted any more."""

    thumbprint: str
    subject: str
    roles: tuple[str, ...]
    trust_domain: str
    trusted: bool
    expires_ms: int | None


class Member(msgspec.Struct, frozen=True):
    """An organisation: `takes_part` until it is retired; `own`: the UI's; its `nodes` that have not left."""

    id: str
    name: str
    takes_part: bool
    own: bool
    nodes: int
    quotas: dict[str, int]
    authorities: list[AuthorityRow]


class PolicyRow(msgspec.Struct, frozen=True):
    """An act, whose signatures it needs, who may always do it alone, and what a change of that needs."""

    act: str
    needs: str
    default: str
    choices: tuple[str, ...]
    alone: str
    to_change: str


class ProposalRow(msgspec.Struct, frozen=True):
    """A proposal; `signs`, `rejects`: the own organisation can still do so; `content`: all that it states, as JSON."""

    proposal: ProposalView
    content: str
    signs: bool
    rejects: bool


class InvitationRow(msgspec.Struct, frozen=True):
    """An invitation. `of`: the node, or organisation, that is invited; `request`, `fingerprint`: what a node has sent
    and waits for the own office to sign."""

    key: str
    of: str
    role: str
    by: str
    own: bool
    state: str
    expires_ms: int
    proposal: int
    withdrawable: bool
    request: str = ""
    fingerprint: str = ""


class CertificateRow(msgspec.Struct, frozen=True):
    """A certificate of an own node that has not left. `urgency`: good, soon (30 days) or expired; `renew`: the command
    of the office that has the CA."""

    uid: str
    node: str
    kind: str
    state: str
    subject: str
    thumbprint: str
    expires_ms: int | None
    urgency: str
    renew: str


class OrganisationsView(msgspec.Struct, frozen=True):
    """All of it; `own` is empty where the UI's certificate is of no organisation of this network. `license`: the UI's,
    None where only the ledger is looked at."""

    own: str
    time_ms: int
    members: list[Member]
    policies: list[PolicyRow]
    proposals: list[ProposalRow]
    invitations: list[InvitationRow]
    certificates: list[CertificateRow]
    license: LicenseFacts | None = None


def organisation_of(chain: Chain, bundle: str) -> str:
    """The organisation that has issued a certificate (PEM, leaf first); empty where none has, or nothing is known."""
    try:
        return own_organisation(chain, bundle) if chain.height >= 0 and bundle else ""
    except ActError:
        return ""


def organisations_view(chain: Chain, own: str, now_ms: int) -> OrganisationsView:
    """The organisations as they are on this ledger; `now_ms`: Unix time."""
    world, now = chain.world, max(chain.time_ms, now_ms)
    if world.get("network", network.Network) is None:
        return OrganisationsView(own, chain.time_ms, [], [], [], [], [])
    found = sorted(proposals(world, chain.time_ms), key=lambda each: (each.state != "open", -each.number))
    return OrganisationsView(
        own=own,
        time_ms=chain.time_ms,
        members=[_member(world, each, own) for each in world.area("organisation/", Organisation)],
        policies=[_policy(world, act) for act in TABLE],
        proposals=[
            _proposal(each, own) for each in sorted(found, key=lambda each: (each.state != "open", -each.number))
        ],
        invitations=_invitations(world, own, now),
        certificates=certificates(world, own, now_ms),
    )


def certificates(world: World, own: str, now_ms: int) -> list[CertificateRow]:
    """The certificates of the own nodes, those that end first before the others."""
    names = node_names(world)
    found = [_certificate(world, each, names[each.uid], now_ms) for each in network.nodes(world) if _is_held(each, own)]
    return sorted(found, key=lambda each: (each.expires_ms or 0, each.node))


def _is_held(node: Node, own: str) -> bool:
    return node.organisation == own and not node.left


def _certificate(world: World, node: Node, name: str, now_ms: int) -> CertificateRow:
    ends = expires_ms(world, node)
    left = (ends or 0) - now_ms
    urgency = "expired" if left <= 0 else "soon" if left <= SOON_MS else "good"
    renew = f"swarm ca renew {node.name} --out CA-FOLDER" if node.name.isprintable() and " " not in node.name else ""
    return CertificateRow(
        uid=node.uid,
        node=name,
        kind=node.type,
        state=node_view(world, node).state,
        subject=displayed(node.subject, LONGEST_SUBJECT),
        thumbprint=node.certificate,
        expires_ms=ends,
        urgency=urgency,
        renew=renew,
    )


def _member(world: World, found: Organisation, own: str) -> Member:
    return Member(
        id=found.id,
        name=displayed(found.name),
        takes_part=found.active,
        own=found.id == own,
        nodes=sum(each.organisation == found.id and not each.left for each in network.nodes(world)),
        quotas=msgspec.structs.asdict(found.quotas),
        authorities=[_authority(root) for root in world.area("authority/", Authority) if root.organisation == found.id],
    )


def _authority(root: Authority) -> AuthorityRow:
    chain = load_bundle(root.pem)
    return AuthorityRow(
        thumbprint=root.thumbprint,
        subject=displayed(subject_of(chain[0]), LONGEST_SUBJECT),
        roles=root.roles,
        trust_domain=root.trust_domain,
        trusted=root.active,
        expires_ms=end_of(chain) if root.active else None,
    )


def _policy(world: World, act: str) -> PolicyRow:
    line = TABLE[act]
    return PolicyRow(act, quorum_of(world, act), line.quorum, line.choices, line.alone, quorum_to_change(world, act))


def _proposal(found: ProposalView, own: str) -> ProposalRow:
    is_open = found.state == "open" and bool(own)
    content = msgspec.json.format(msgspec.json.encode(found.content), indent=2).decode()
    return ProposalRow(found, content, is_open and own not in found.signed, is_open and own not in found.rejected)


def _invitations(world: World, own: str, now_ms: int) -> list[InvitationRow]:
    found = [_invitation(world, each, own, now_ms) for each in all_invitations(world)]
    order = ("waiting", "open", "proposed")
    return sorted(found, key=lambda each: (order.index(each.state) if each.state in order else 9, -each.expires_ms))


def _invitation(world: World, found: Invitation, own: str, now_ms: int) -> InvitationRow:
    state = shown_state(world, found, now_ms)
    waits = state == "waiting" and found.by == own
    return InvitationRow(
        key=found.key,
        of=displayed(found.name or found.organisation),
        role=found.role or "",
        by=found.by,
        own=found.by == own,
        state=state,
        expires_ms=found.expires_ms,
        proposal=found.proposal,
        withdrawable=state == "open" and found.by == own,
        request=found.request if waits else "",
        fingerprint=_fingerprint(found.request) if waits else "",
    )


def _fingerprint(request: str) -> str:
    try:
        return fingerprint(read_request(request.encode()).key)
    except CertificateError:
        return ""
