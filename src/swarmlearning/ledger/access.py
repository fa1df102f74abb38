"""Access control: one table of permissions for contracts, API, file server and tunnel. Pure.

Whoever connects to a node shows a certificate, which TLS has checked against the authorities in that node's files. What
its holder may do there is for the ledger to decide: `peer(world, certificate, time_ms, path)` identifies it, and the
properties of `Peer` are what it may do. Bodies that a node may send are in the permissions of each kind's rules;
`check_may` applies them.

An identity is a subject under one organisation. A certificate that is new to the ledger, but by an authority of the
same organisation for the same subject, belongs to the same nodes; one of another organisation, however equal its
subject, does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from cryptography import x509

from swarmlearning.identity.certificates import ROLES, CertificateError, load_bundle, role_of, subject_of, thumbprint
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.contract import OPERATORS, Permission, TxContext
from swarmlearning.ledger.contracts.network import Authority, Node
from swarmlearning.ledger.contracts.network.revoking import is_revoked
from swarmlearning.ledger.contracts.network.trust import authorities_of, check_trust, issued
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.fields import Body, NodeType
from swarmlearning.ledger.world import World

Standing: TypeAlias = Literal["trusted", "unknown", "refused"]
"""`unknown`: not of any registered node yet; `refused`: revoked, of a retired authority, or of no role."""


@dataclass(frozen=True)
class Peer:
    """The holder of a certificate; `fault`: why it is refused; `organisation`: its own (empty: unknown)."""

    subject: str
    role: NodeType | None
    standing: Standing
    fault: str = ""
    organisation: str = ""
    world: World = field(default_factory=World, repr=False, compare=False)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes of its identity that have not left."""
        return tuple(known for known in network.nodes(self.world) if self._owns(known))

    @property
    def is_sn(self) -> bool:
        """True if the ledger admits it as an SN: it may order blocks, vote, and open a peer-to-peer connection."""
        return any(self._owns(known) for known in network.admitted(self.world))

    @property
    def may_read(self) -> bool:
        """True if it may read ledger and status: so may a node that has yet to register."""
        return self.standing != "refused"

    def node(self, uid: str) -> Node | None:
        """The node of this UID, if it is the peer's own: it may renew its lease and act for it; else None."""
        known = network.node(self.world, uid)
        return known if known is not None and self._owns(known) else None

    def _owns(self, known: Node) -> bool:
        own = (known.organisation, known.subject) == (self.organisation, self.subject)
        return own and not known.left and self.standing == "trusted"


def peer(world: World, certificate: x509.Certificate, time_ms: int, path: Sequence[x509.Certificate] = ()) -> Peer:
    """The holder of a TLS certificate as the ledger knows it at this block time (`chain.time_ms`). Never raises.

    `path`: the other certificates of the path that it has shown. An intermediate authority may be so new that the
    ledger has not seen it yet, or its renewed certificate: the node's `Renew`, which states it, is still to come.
    """
    try:
        subject, role = subject_of(certificate), role_of(certificate)
    except CertificateError as error:
        return Peer("", None, "refused", str(error))
    stored = network.certificate(world, thumbprint(certificate))
    if stored is not None and (known := registered_peer(world, stored.thumbprint, time_ms)):
        other = known.fault and not stored.revoked
        if other and _issued(authorities_of(world, stored.organisation), certificate, path, time_ms):
            return Peer(subject, role, "trusted", organisation=stored.organisation, world=world)
        return known
    for node in network.nodes(world):
        if node.subject == subject and _issued_like(world, node, certificate, path, time_ms):
            if is_revoked(world, node.organisation, thumbprint(certificate)):
                return Peer(subject, role, "refused", f"the certificate of {subject} was revoked before it was used")
            return Peer(subject, role, "trusted", organisation=node.organisation, world=world)
    if fault := _revoked(world, certificate, path, time_ms) or _retired(world, certificate, path, time_ms):
        return Peer(subject, role, "refused", fault)
    return Peer(subject, role, "unknown")


def registered_peer(world: World, thumb: str, time_ms: int) -> Peer | None:
    """As `peer` for a certificate that has been registered, by its thumbprint; None for another."""
    stored = network.certificate(world, thumb)
    if stored is None:
        return None
    try:
        check_trust(world, stored, time_ms)
    except Rejection as refusal:
        return Peer(stored.subject, stored.role, "refused", refusal.detail)
    return Peer(stored.subject, stored.role, "trusted", organisation=stored.organisation, world=world)


def check_may(permission: Permission, body: Body, tx: TxContext) -> None:
    """Raises `Rejection` unless the sender may send this body."""
    allowed, role = permission.roles, tx.signer.role
    if permission.of_others is not None and getattr(body, "uid", tx.sender) != tx.sender:
        allowed = permission.of_others
    if role not in allowed:
        raise Rejection(Code.NOT_ALLOWED, f"only {', '.join(_listed(allowed))} may do this; {tx.sender} is a {role}")
    if tx.on_behalf_of and role not in OPERATORS:
        raise Rejection(
            Code.NOT_ALLOWED,
            f"only {', '.join(_listed(OPERATORS))} act on behalf of a person; {tx.sender} is a {role}",
        )


def _issued_like(
    world: World, known: Node, certificate: x509.Certificate, path: Sequence[x509.Certificate], time_ms: int
) -> bool:
    """True if the node's organisation vouches for another certificate as well, over the same intermediates or these."""
    stored = network.certificate(world, known.certificate)
    others = load_bundle(stored.pem)[1:] if stored else ()
    authorities = authorities_of(world, known.organisation)
    return any(_issued(authorities, certificate, each, time_ms) for each in (others, path))


def _issued(
    authorities: Sequence[Authority],
    certificate: x509.Certificate,
    path: Sequence[x509.Certificate],
    time_ms: int,
) -> bool:
    """As `issued`; the newest block may be older than these certificates."""
    begins = (int(each.not_valid_before_utc.timestamp()) * 1000 for each in (certificate, *path))
    return issued(authorities, certificate, path, max(time_ms, *begins))


def _revoked(world: World, certificate: x509.Certificate, path: Sequence[x509.Certificate], time_ms: int) -> str:
    """Why a certificate is refused that every organisation which vouches for it has revoked; else empty."""
    vouching = [
        each.id
        for each in network.organisations(world)
        if _issued(authorities_of(world, each.id), certificate, path, time_ms)
    ]
    if not vouching or not all(is_revoked(world, each, thumbprint(certificate)) for each in vouching):
        return ""
    return f"the certificate of {subject_of(certificate)} was revoked before it was used"


def _retired(world: World, certificate: x509.Certificate, path: Sequence[x509.Certificate], time_ms: int) -> str:
    """Why a certificate is refused that a retired authority has issued; else empty."""
    active = {root.identity for root in network.authorities(world)}
    retired = [root for root in world.area("authority/", Authority) if root.identity not in active]
    if not _issued(retired, certificate, path, time_ms):
        return ""
    return f"the authority of {subject_of(certificate)} has been retired from this network"


def _listed(roles: frozenset[NodeType]) -> list[NodeType]:
    return [role for role in ROLES if role in roles]
