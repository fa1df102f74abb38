"""Facts about the registered nodes."""

from functools import lru_cache
from typing import Literal, TypeAlias

import msgspec

from swarmlearning.identity.certificates import expires_ms as end_of
from swarmlearning.identity.certificates import load_bundle, load_certificate, subject_of
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.world import World
from swarmlearning.views.names import displayed, node_names

State: TypeAlias = Literal["alive", "lost", "left", "quarantined", "revoked"]


class Expiry(msgspec.Struct, frozen=True):
    """A certificate that expires: `of` a node (its name) or of an authority (its subject).

    `organisation`: the one whose authority it is, empty for a node; `last`: none of its authorities is valid longer.
    `overdue_ms`: from then on (Unix time) a root of a trust domain that is followed lacks a successor; else 0.
    """

    of: str
    expires_ms: int
    organisation: str = ""
    last: bool = False
    overdue_ms: int = 0


class NodeView(msgspec.Struct, frozen=True):
    """A registered node of an organisation; `state` is what the ledger shows of it, `addresses` maps a service to
    `host:port`."""

    uid: str
    type: str
    name: str
    incarnation: int
    state: State
    version: str
    addresses: dict[str, str]
    organisation: str


def node_view(world: World, known: Node) -> NodeView:
    """The facts about one node."""
    return NodeView(
        uid=known.uid,
        type=known.type,
        name=known.name,
        incarnation=known.incarnation,
        state=_state(world, known),
        version=known.version,
        addresses=known.addresses,
        organisation=known.organisation,
    )


def sl_names(world: World) -> dict[str, str]:
    """UID to shown name of the registered SLs, in the order of the names (site-2 before site-10)."""
    names = node_names(world)
    found = [(names[known.uid], known.uid) for known in network.nodes(world) if known.type == "SL"]
    return {uid: name for name, uid in sorted(found, key=lambda pair: (len(pair[0]), pair))}


def expiries(world: World) -> list[Expiry]:
    """Expiries of the certificates of all nodes that have not left, and of trusted authorities; soonest first."""
    names = node_names(world)
    found = [
        Expiry(names[known.uid], _expires_ms(certificate.pem))
        for known in network.nodes(world)
        if not known.left and (certificate := network.certificate(world, known.certificate)) and not certificate.revoked
    ]
    return sorted(found + authority_expiries(world), key=lambda each: (each.expires_ms, each.of))


def expires_ms(world: World, known: Node) -> int | None:
    """When a node's certificate on the ledger, or one of its chain, ends: Unix time in milliseconds."""
    certificate = network.certificate(world, known.certificate)
    return _expires_ms(certificate.pem) if certificate is not None else None


def authority_expiries(world: World) -> list[Expiry]:
    """Expiries of the certificates of trusted authorities, by thumbprint."""
    authorities = network.authorities(world)
    ends: dict[str, int] = {}
    for each in authorities:
        ends[each.organisation] = max(_expires_ms(each.pem), ends.get(each.organisation, 0))
    return [
        Expiry(
            displayed(subject_of(load_certificate(each.pem))),
            _expires_ms(each.pem),
            each.organisation,
            _expires_ms(each.pem) == ends[each.organisation],
            _overdue_ms(each.pem) if each.bundle else 0,
        )
        for each in authorities
    ]


@lru_cache(maxsize=4096)
def _expires_ms(pem: str) -> int:
    return end_of(load_bundle(pem))


def _overdue_ms(pem: str) -> int:
    """A sixth of a root's life before its end: a SPIRE server issues by the next one from then on."""
    root = load_certificate(pem)
    end = int(root.not_valid_after_utc.timestamp() * 1000)
    return end - (end - int(root.not_valid_before_utc.timestamp() * 1000)) // 6


def _state(world: World, known: Node) -> State:
    certificate = network.certificate(world, known.certificate)
    if certificate is not None and certificate.revoked:
        return "revoked"
    if known.left:
        return "left"
    if network.quarantine(world, known):
        return "quarantined"
    return "alive" if known.alive else "lost"
