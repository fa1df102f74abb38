"""Acts of organisations: admitting and retiring them, their authorities, policies, and answers to proposals. Pure."""

from collections.abc import Mapping, Sequence

import msgspec
from cryptography import x509

from swarmlearning.identity.certificates import (
    CertificateError,
    authority_of,
    is_authority,
    load_bundle,
    subject_of,
    thumbprint,
)
from swarmlearning.identity.identity import Bundle
from swarmlearning.ledger.bodies import (
    AddAuthority,
    AdmitOrganisation,
    Anchor,
    Body,
    NewOrganisation,
    NodeType,
    Quorum,
    Quotas,
    Reject,
    RetireAuthority,
    RetireOrganisation,
    SetPolicy,
    SetQuotas,
    Sign,
    SwitchRules,
)
from swarmlearning.ledger.chain import RULES_VERSION
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Authority, Organisation
from swarmlearning.ledger.contracts.network.bodies import ROLES
from swarmlearning.ledger.contracts.network.roots import followed
from swarmlearning.ledger.contracts.network.trust import authorities_of
from swarmlearning.ledger.world import World
from swarmlearning.node.organisations import of_bundle, organisation_of
from swarmlearning.operator.acts import Act, ActError, by_prefix, check_ids
from swarmlearning.views.names import displayed

IN_FORCE = "Nodes that run accept it from this block on"


def admit(
    world: World, pems: Sequence[str], *, named: str = "", title: str = "", quotas: Mapping[str, int] | None = None
) -> Act:
    """Admits an organisation with these authorities (PEM); without a name it is called by the first one's subject.

    `quotas`: those that are not the default. Raises `ActError`.
    """
    anchors = [_authority(pem) for pem in pems]
    for root in network.authorities(world):
        if root.thumbprint in map(thumbprint, anchors):
            raise ActError(f"authority {_subject(root)} ({root.thumbprint[:12]}) is trusted already")
    found = organisation_of(anchors, _taken(world, anchors))
    if named:
        check_ids([named])
    new = NewOrganisation(named or found.id, title or found.name, found.anchors, _changed(Quotas(), quotas or {}))
    done = f"organisation {new.id} ({displayed(new.name)}) takes part. {IN_FORCE}"
    return _act(AdmitOrganisation(new), done)


def admit_domain(bundle: Bundle, *, named: str, title: str = "", quotas: Mapping[str, int] | None = None) -> Act:
    """Admits an organisation that is a SPIFFE trust domain with these roots; its own nodes add those that come later.

    `quotas`: those that are not the default. Raises `ActError`.
    """
    check_ids([named])
    if not bundle.roots:
        raise ActError(f"the trust domain {bundle.trust_domain} has no root")
    changed = _changed(Quotas(), quotas or {})
    new = NewOrganisation(named, title or bundle.trust_domain, of_bundle(bundle), changed)
    return _act(AdmitOrganisation(new), f"organisation {new.id} ({displayed(new.name)}) takes part. {IN_FORCE}")


def retire(world: World, named: str) -> Act:
    """Ends an organisation's part in the network. Raises `ActError`."""
    known = organisation(world, named)
    return _act(RetireOrganisation(known.id), f"organisation {known.id} takes no part any more")


def set_quotas(world: World, named: str, changes: Mapping[str, int]) -> Act:
    """Gives an organisation these quotas; the others stay. Raises `ActError`."""
    known = organisation(world, named)
    if not changes:
        raise ActError("state a quota to change, such as --nodes 64; `swarm organisation list --json` shows them")
    listed = ", ".join(f"{name.replace('_', ' ')} {amount}" for name, amount in changes.items())
    return _act(
        SetQuotas(known.id, _changed(known.quotas, changes)), f"organisation {known.id} has the quotas {listed}"
    )


def add_authority(world: World, named: str, pem: str, *, roles: Sequence[NodeType] = (), trust_domain: str = "") -> Act:
    """Trusts one more authority (PEM) of an organisation. Raises `ActError`.

    Its roles and its trust domain are by default those of the organisation's present authorities, so that a successor
    does not go beyond them. After the authority's own certificate there may be one for its name and key by its
    predecessor.
    """
    known, authority = organisation(world, named), _authority(pem)
    present = authorities_of(world, known.id)
    issued = {role for root in present for role in root.roles}
    domains = {root.trust_domain for root in present}
    domain = trust_domain or (domains.pop() if len(domains) == 1 else "")
    anchor = Anchor(
        pem,
        tuple(roles) or tuple(role for role in ROLES if role in issued),
        domain,
        bundle=bool(followed(world, known.id, domain)),
    )
    done = (
        f"authority {displayed(subject_of(authority))} ({thumbprint(authority)[:12]}) of {known.id} is trusted. "
        f"{IN_FORCE}; put its certificate into the --capath of the nodes that it issues for"
    )
    return _act(AddAuthority(known.id, anchor), done)


def retire_authority(world: World, named: str) -> Act:
    """Stops trusting an authority, named by the beginning of its thumbprint; with an organisation's only one, it goes.

    Raises `ActError`.
    """
    known = {root.thumbprint: root for root in network.authorities(world)}
    root = known[by_prefix(named, known, "trusted authority", "thumbprint", "swarm trust list")]
    if [other.organisation for other in known.values()].count(root.organisation) == 1:
        return retire(world, root.organisation)
    return _act(RetireAuthority(root.thumbprint), f"authority {root.thumbprint[:12]} is not trusted any more")


def set_policy(act: str, quorum: Quorum) -> Act:
    """Gives an act another quorum."""
    return _act(SetPolicy(act, quorum), f"{act} needs {quorum}")


def switch_rules(world: World) -> Act:
    """Lets the ledger go on under the next version of the rules. Raises `ActError` where there is none."""
    present = network.network(world).rules_version
    if present >= RULES_VERSION:
        raise ActError(f"the network is at rules version {present}, the newest that this program knows")
    return _act(SwitchRules(present + 1), f"rules version {present + 1} holds from the next block on")


def sign(number: int) -> Act:
    """Agrees to a proposal."""
    return _act(Sign(number), f"proposal {number} is signed")


def reject(number: int) -> Act:
    """Does not agree to a proposal."""
    return _act(Reject(number), f"proposal {number} is rejected")


def organisation(world: World, named: str) -> Organisation:
    """The organisation of this ID that takes part. Raises `ActError`."""
    found = {each.id: each for each in network.organisations(world)}
    if named not in found:
        raise ActError(f"no organisation {displayed(named)!r} takes part; there are {', '.join(found)}")
    return found[named]


def _taken(world: World, anchors: Sequence[x509.Certificate]) -> set[str]:
    """The IDs that an organisation with these authorities cannot have: a retired one keeps its own."""
    identities = {authority_of(each) for each in anchors}
    own = {root.organisation for root in world.area("authority/", Authority) if root.identity in identities}
    known = world.area("organisation/", Organisation)
    return {each.id for each in known if each.active or each.id not in own}


def _changed(quotas: Quotas, changes: Mapping[str, int]) -> Quotas:
    return msgspec.convert({**msgspec.structs.asdict(quotas), **changes}, Quotas)


def _act(body: Body, done: str) -> Act:
    return Act(network.CONTRACT, body, done)


def _authority(pem: str) -> x509.Certificate:
    try:
        found = load_bundle(pem)
    except CertificateError as error:
        raise ActError(str(error)) from error
    if not is_authority(found[0]):
        raise ActError(f"{subject_of(found[0])} is no certificate authority (CA:TRUE)")
    if any(authority_of(each) != authority_of(found[0]) for each in found):
        raise ActError(f"one authority a file; this one has {len(found)} certificates")
    return found[0]


def _subject(root: Authority) -> str:
    return displayed(subject_of(load_bundle(root.pem)[0]))
