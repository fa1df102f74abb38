"""Roots of SPIFFE trust domains: they change by the day, so no operator signs for each.

An organisation's trust domain is *followed* where its authorities were admitted as those of a bundle. Then an SN or
SWOP of the organisation, with a certificate of the domain, may add a root that the domain's bundle has by now: for the
same roles, that domain and that organisation only. What operators have retired does not return that way.
"""

from collections.abc import Iterable

import msgspec

from swarmlearning.identity.certificates import load_bundle, name_constraints, trust_domain_of
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import TxContext
from swarmlearning.ledger.contracts.network.bodies import MAX_ANCHORS, ROLES, AddRoot, Anchor
from swarmlearning.ledger.contracts.network.members import check_not_expired, has_expired, read_anchor, with_anchor
from swarmlearning.ledger.contracts.network.state import Authority
from swarmlearning.ledger.contracts.network.trust import authorities_of
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.fields import NodeType
from swarmlearning.ledger.world import World


def followed(world: World, organisation: str, trust_domain: str) -> list[Authority]:
    """The active roots of a trust domain of this organisation whose bundle is followed."""
    return [
        each
        for each in authorities_of(world, organisation)
        if each.bundle and each.trust_domain and each.trust_domain == trust_domain
    ]


def add_root(world: World, contract: str, body: AddRoot, tx: TxContext) -> World:
    """Trusts one more root of the sender's own trust domain; of those before it, what has expired is not trusted."""
    own, domain = tx.signer.organisation, _domain(tx.signer.subject)
    present = followed(world, own, domain)
    if not present:
        raise Rejection(
            Code.NOT_ALLOWED,
            f"no bundle of the trust domain {domain or 'of ' + tx.signer.subject} is followed for organisation {own}; "
            "its operators admit its roots: swarm trust add",
        )
    anchor = Anchor(body.certificate, _common_roles(present), domain, bundle=True)
    _check_new(world, read_anchor(own, anchor), present, tx.time_ms)
    check_not_expired((anchor,), tx.time_ms)
    after = with_anchor(world, own, anchor)
    expired = [msgspec.structs.replace(each, active=False) for each in present if has_expired(each.pem, tx.time_ms)]
    after = after.with_entries({f"authority/{each.thumbprint}": each for each in expired})
    if len(authorities_of(after, own)) > MAX_ANCHORS:
        raise Rejection(Code.TOO_MANY, f"an organisation has {MAX_ANCHORS} authorities at most; retire one first")
    return after


def _check_new(world: World, added: Authority, present: Iterable[Authority], time_ms: int) -> None:
    """Raises `Rejection` for a root that was there before, or that goes beyond those that are there."""
    for each in world.area("authority/", Authority):
        if each.organisation != added.organisation:
            continue
        if each.thumbprint == added.thumbprint and each.active:
            raise Rejection(Code.NO_CHANGE, f"root {added.thumbprint[:12]} is trusted already")
        if each.identity == added.identity and not each.active and not has_expired(each.pem, time_ms):
            raise Rejection(
                Code.NOT_ALLOWED,
                f"root {added.thumbprint[:12]} was retired; an operator may bring it back: swarm trust add",
            )
    root = load_bundle(added.pem)[0]
    if trust_domain_of(root) not in ("", added.trust_domain):
        raise Rejection(Code.BAD_CERTIFICATE, f"root {added.thumbprint[:12]} is of another trust domain")
    if all(name_constraints(load_bundle(each.pem)[0]) not in (None, name_constraints(root)) for each in present):
        raise Rejection(Code.NOT_ALLOWED, "the new root lacks the name constraints of the former ones")


def _common_roles(present: Iterable[Authority]) -> tuple[NodeType, ...]:
    shared = set(ROLES).intersection(*(each.roles for each in present))
    return tuple(role for role in ROLES if role in shared)


def _domain(subject: str) -> str:
    """The trust domain of a node's identity; empty where that is no SPIFFE ID."""
    return subject.removeprefix("spiffe://").partition("/")[0] if subject.startswith("spiffe://") else ""
