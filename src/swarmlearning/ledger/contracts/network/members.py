"""Organisations of the network: they come and go, and so do their authorities; and certificates are revoked.

An authority belongs to one organisation: its name and key identify it, however often its certificate is renewed.
"""

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from swarmlearning.identity.certificates import (
    CertificateError,
    authority_of,
    expires_ms,
    is_authority,
    load_bundle,
    subject_of,
    thumbprint,
    to_pem,
)
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import TxContext
from swarmlearning.ledger.contracts.network.bodies import (
    MAX_ANCHORS,
    MAX_ORGANISATIONS,
    AddAuthority,
    AdmitOrganisation,
    Anchor,
    NewOrganisation,
    RetireAuthority,
    RetireOrganisation,
    Revoke,
)
from swarmlearning.ledger.contracts.network.policies import check_workable
from swarmlearning.ledger.contracts.network.revoking import revoked_identity, with_revoked
from swarmlearning.ledger.contracts.network.state import (
    CONTRACT,
    Authority,
    Node,
    Organisation,
    admitted,
    authorities,
    certificate,
    identity_of,
    nodes,
    organisation,
    organisations,
    proposals,
)
from swarmlearning.ledger.contracts.network.trust import authorities_of, is_trusted
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.world import World

ShutsOut: TypeAlias = Revoke | AddAuthority | RetireAuthority | RetireOrganisation
"""Acts that can leave nodes without anybody who vouches for them; `AddAuthority` where it takes roles away."""


def founding(found: Iterable[NewOrganisation]) -> World:
    """A world with these organisations and their authorities. Raises `Rejection`."""
    world = World()
    for each in found:
        if organisation(world, each.id):
            raise Rejection(Code.NO_CHANGE, f"two organisations are called {each.id}")
        world = _with_organisation(world, each)
    return world


def admit(world: World, contract: str, body: AdmitOrganisation, tx: TxContext) -> World:
    """One more organisation, or one that was retired again: with one of its former authorities at least."""
    known = organisation(world, body.organisation.id)
    if known is not None and known.active:
        raise Rejection(Code.NO_CHANGE, f"organisation {known.id} takes part already")
    if len(organisations(world)) >= MAX_ORGANISATIONS:
        raise Rejection(Code.TOO_MANY, f"a network has {MAX_ORGANISATIONS} organisations at most")
    after = _with_organisation(world, body.organisation)
    check_not_expired(body.organisation.anchors, tx.time_ms)
    if known is not None:
        _check_same_organisation(world, after, known.id)
    return _workable(after)


def retire(world: World, contract: str, body: RetireOrganisation, tx: TxContext) -> World:
    """Ends the part of an organisation; never of the last one."""
    known = _active(world, body.organisation)
    if len(organisations(world)) == 1:
        raise Rejection(Code.LAST_ORGANISATION, f"{known.id} is the network's only organisation")
    retired = {f"authority/{root.thumbprint}": _inactive(root) for root in authorities_of(world, known.id)}
    after = world.with_entries({f"organisation/{known.id}": msgspec.structs.replace(known, active=False), **retired})
    after = _without_answers(after, known.id)
    return _shut_out(_workable(after), shut_out_by(after, body, tx.time_ms))


def add_authority(world: World, contract: str, body: AddAuthority, tx: TxContext) -> World:
    """Trusts one more authority of an organisation, or one again that was retired, or one for other roles now."""
    known = _active(world, body.organisation)
    after = with_anchor(world, known.id, body.anchor)
    check_not_expired((body.anchor,), tx.time_ms)
    if len(authorities_of(after, known.id)) > MAX_ANCHORS:
        raise Rejection(Code.TOO_MANY, f"an organisation has {MAX_ANCHORS} authorities at most; retire one first")
    return _shut_out(_workable(after), shut_out_by(after, body, tx.time_ms))


def retire_authority(world: World, contract: str, body: RetireAuthority, tx: TxContext) -> World:
    """Stops trusting an authority's certificate; never the last one of an organisation that is still valid.

    Nodes that nobody vouches for then have left.
    """
    root = world.get(f"authority/{body.thumbprint}", Authority)
    if root is None or not root.active:
        raise Rejection(Code.UNKNOWN_AUTHORITY, f"no active authority {body.thumbprint}")
    others = [each for each in authorities_of(world, root.organisation) if each != root]
    if all(has_expired(each.pem, tx.time_ms) for each in others):
        raise Rejection(
            Code.LAST_AUTHORITY,
            f"this is the only authority of organisation {root.organisation}; add its successor first, or retire the "
            "organisation",
        )
    after = world.with_entries({f"authority/{body.thumbprint}": _inactive(root)})
    return _shut_out(_workable(after), shut_out_by(after, body, tx.time_ms))


def revoke(world: World, contract: str, body: Revoke, tx: TxContext) -> World:
    """Stops trusting a node certificate, and all others of its identity that ledger or body have. Its nodes have left.

    Whoever stole the key of a node may have that of a former certificate too; a new one brings the node back.
    """
    after = with_revoked(world, body, tx.time_ms)
    return _shut_out(after, shut_out_by(after, body, tx.time_ms))


def shut_out_by(world: World, body: ShutsOut, time_ms: int) -> list[Node]:
    """The nodes that nobody vouches for any more in this world, in which that is not trusted which `body` names."""
    if isinstance(body, Revoke):
        revoked = revoked_identity(world, body)
        return [known for known in nodes(world) if identity_of(known) == revoked]
    own = concerned(world, CONTRACT, body)
    return [known for known in nodes(world) if known.organisation == own and not _is_trusted(world, known, time_ms)]


def concerned(world: World, contract: str, body: ShutsOut) -> str:
    """The organisation whose part, authority or node certificate it is; empty if there is none such."""
    match body:
        case RetireOrganisation() | AddAuthority():
            return body.organisation
        case RetireAuthority():
            root = world.get(f"authority/{body.thumbprint}", Authority)
            return root.organisation if root else ""
        case Revoke():
            revoked = revoked_identity(world, body)
            return revoked[0] if revoked else ""


def _with_organisation(world: World, new: NewOrganisation) -> World:
    entry = Organisation(id=new.id, name=new.name, active=True, quotas=new.quotas)
    world = world.with_entries({f"organisation/{new.id}": entry})
    for anchor in new.anchors:
        world = with_anchor(world, new.id, anchor)
    return world


def with_anchor(world: World, organisation: str, anchor: Anchor) -> World:
    """The world in which this authority is one of the organisation's. Raises `Rejection` for another one's."""
    root = read_anchor(organisation, anchor)
    for other in authorities(world):
        if other.identity == root.identity and other.organisation != organisation:
            raise Rejection(
                Code.OTHER_ORGANISATION,
                f"authority {root.thumbprint[:12]} is one of organisation {other.organisation}; each organisation "
                f"needs its own. If it is not theirs: swarm trust retire {other.thumbprint[:12]}",
            )
    return world.with_entries({f"authority/{root.thumbprint}": root})


def read_anchor(organisation: str, anchor: Anchor) -> Authority:
    """The certificate of an authority as the ledger stores it. Raises `Rejection`."""
    try:
        found = load_bundle(anchor.certificate)
    except CertificateError as error:
        raise Rejection(Code.BAD_CERTIFICATE, str(error)) from error
    if any(authority_of(each) != authority_of(found[0]) for each in found):
        raise Rejection(Code.BAD_CERTIFICATE, f"one authority at a time; this file holds {len(found)} certificates")
    if not is_authority(found[0]):
        raise Rejection(Code.BAD_CERTIFICATE, f"{subject_of(found[0])} is no certificate authority (CA:TRUE)")
    if not anchor.roles:
        raise Rejection(Code.BAD_CERTIFICATE, f"authority {subject_of(found[0])} may issue for no role")
    return Authority(
        thumbprint=thumbprint(found[0]),
        pem=to_pem(found[0]),
        active=True,
        identity=authority_of(found[0]),
        organisation=organisation,
        roles=anchor.roles,
        trust_domain=anchor.trust_domain,
        bundle=anchor.bundle,
    )


def _check_same_organisation(before: World, after: World, named: str) -> None:
    """A stranger under the ID of an organisation that was retired would get its UIDs and its contracts."""
    former = {each.identity for each in before.area("authority/", Authority) if each.organisation == named}
    if former.isdisjoint(each.identity for each in authorities_of(after, named)):
        raise Rejection(
            Code.OTHER_ORGANISATION,
            f"{named} is the ID of an organisation that was retired, and had none of these authorities; choose another",
        )


def check_not_expired(anchors: Iterable[Anchor], time_ms: int) -> None:
    """Raises `Rejection` if the certificate of one of these authorities has expired at this time."""
    for anchor in anchors:
        if has_expired(anchor.certificate, time_ms):
            subject = subject_of(load_bundle(anchor.certificate)[0])
            raise Rejection(
                Code.BAD_CERTIFICATE, f"the certificate of authority {subject} has expired: it needs a renewed one"
            )


def has_expired(pem: str, time_ms: int) -> bool:
    """True if an authority's certificate has expired at this time."""
    return time_ms >= expires_ms(load_bundle(pem)[:1]) + 1000  # the last second belongs to the validity


def _active(world: World, named: str) -> Organisation:
    known = organisation(world, named)
    if known is None or not known.active:
        raise Rejection(Code.UNKNOWN_ORGANISATION, f"no organisation {named} takes part in this network")
    return known


def _workable(world: World) -> World:
    """The same world. Raises `Rejection` if there would be an act in it that could never have its quorum."""
    check_workable(world)
    return world


def _without_answers(world: World, named: str) -> World:
    """The world in which answers of an organisation to open proposals count no more, not even once it is back."""
    answered = [each for each in proposals(world) if each.state == "open" and named in (*each.signed, *each.rejected)]
    changes = {
        f"proposal/{each.number}": msgspec.structs.replace(
            each,
            signed=tuple(other for other in each.signed if other != named),
            rejected=tuple(other for other in each.rejected if other != named),
        )
        for each in answered
    }
    return world.with_entries(changes)


def _inactive(root: Authority) -> Authority:
    return msgspec.structs.replace(root, active=False)


def _is_trusted(world: World, known: Node, time_ms: int) -> bool:
    stored = certificate(world, known.certificate)
    return stored is not None and is_trusted(world, stored, time_ms)


def _shut_out(world: World, gone: Iterable[Node]) -> World:
    """Records these nodes as having left; they return by registering with a certificate that is trusted."""
    left = {f"node/{known.uid}": msgspec.structs.replace(known, left=True, alive=False) for known in gone}
    after = world.with_entries(left)
    if admitted(world) and not admitted(after):
        raise Rejection(Code.LAST_SN, "the network would be left without any SN; add another SN first")
    return after
