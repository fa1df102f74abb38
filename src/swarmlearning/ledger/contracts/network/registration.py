"""Nodes of the network: the genesis, registrations and their incarnations, addresses; and its rules."""

import msgspec

from swarmlearning.address import AddressError, split
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import TxContext
from swarmlearning.ledger.contracts.network.bodies import (
    Announce,
    Genesis,
    Leave,
    Register,
    Renew,
    SwitchRules,
)
from swarmlearning.ledger.contracts.network.former import with_certificate
from swarmlearning.ledger.contracts.network.members import check_not_expired, founding
from swarmlearning.ledger.contracts.network.policies import with_policies
from swarmlearning.ledger.contracts.network.quotas import check_nodes
from swarmlearning.ledger.contracts.network.state import (
    Certificate,
    Network,
    Node,
    admitted,
    certificate,
    network,
    node,
    nodes,
    quarantine,
    quarantined,
)
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.fields import NodeType
from swarmlearning.ledger.world import World

MAX_ADDRESSES = 8
_NAMED = 5
"""Nodes that a refusal names."""
INCARNATION_STEP = 1_000_000
"""By so much a node's incarnation grows at most from one registration to the next: starts that failed in between."""


def genesis(world: World, contract: str, body: Genesis, tx: TxContext) -> World:
    """The world after block 0: the network, its organisations and its founding SN."""
    _check_step(None, tx)
    for each in body.organisations:
        check_not_expired(each.anchors, tx.time_ms)
    founder = tx.signer
    entry = Network(
        name=body.network_name, founder=tx.sender, created_ms=body.created_ms, rules_version=body.rules_version
    )
    sn = Node(
        uid=tx.sender,
        type="SN",
        name=body.founder_name,
        subject=founder.subject,
        certificate=founder.thumbprint,
        incarnation=tx.incarnation,
        alive=True,
        left=False,
        version=body.version,
        addresses={},
        organisation=founder.organisation,
        newest_rules=body.rules_version,
    )
    return with_policies(founding(body.organisations), body.policies).with_entries(
        {
            "network": entry,
            f"certificate/{founder.thumbprint}": founder,
            f"node/{tx.sender}": sn,
        }
    )


def register(world: World, contract: str, body: Register, tx: TxContext) -> World:
    """Binds a UID to its identity, a subject under one organisation, or raises its incarnation."""
    stored = tx.signer
    _check_role(stored, body.node_type)
    known = node(world, tx.sender)
    if known is not None:
        _check_same_node(known, tx)
    _check_quarantine(world, stored)
    if known is None or known.left:
        check_nodes(world, stored)
    _check_step(known, tx)
    entry = Node(
        uid=tx.sender,
        type=body.node_type,
        name=body.name,
        subject=stored.subject,
        certificate=stored.thumbprint,
        incarnation=tx.incarnation,
        alive=True,
        left=False,
        version=body.version,
        addresses=known.addresses if known else {},
        organisation=stored.organisation,
        newest_rules=body.newest_rules,
    )
    return with_certificate(world.with_entries({f"node/{tx.sender}": entry}), stored, tx.time_ms)


def _check_quarantine(world: World, stored: Certificate) -> None:
    """An SN in quarantine gets out of it neither by a restart nor under another UID of its identity."""
    for known in nodes(world):
        if (known.organisation, known.subject) == (stored.organisation, stored.subject) and quarantine(world, known):
            raise Rejection(Code.QUARANTINE, quarantined(known))


def renew(world: World, contract: str, body: Renew, tx: TxContext) -> World:
    """The sender goes on with the certificate that it has signed with: another one of its identity, or another path."""
    known = node(world, tx.sender)
    assert known is not None
    _check_role(tx.signer, known.type)
    if tx.signer == certificate(world, known.certificate):
        raise Rejection(Code.NO_CHANGE, f"node {tx.sender} uses this certificate already")
    renewed = msgspec.structs.replace(known, certificate=tx.signer.thumbprint)
    return with_certificate(world.with_entries({f"node/{tx.sender}": renewed}), tx.signer, tx.time_ms)


def _check_role(stored: Certificate, node_type: NodeType) -> None:
    if stored.role != node_type:
        raise Rejection(
            Code.BAD_ROLE,
            f"certificate {stored.subject} is for the role {stored.role}, but a {node_type} registers with it; "
            f"use a certificate whose name begins with {node_type}-",
        )


def _check_same_node(known: Node, tx: TxContext) -> None:
    if known.subject != tx.signer.subject:
        raise Rejection(
            Code.OTHER_SUBJECT,
            f"UID {tx.sender} belongs to {known.subject}, not to {tx.signer.subject}; "
            "each node needs a data directory of its own",
        )
    if known.organisation != tx.signer.organisation:
        raise Rejection(
            Code.OTHER_SUBJECT,
            f"UID {tx.sender} belongs to {known.subject} of organisation {known.organisation}, not of "
            f"{tx.signer.organisation}; use a certificate of that organisation, or another data directory",
        )
    if tx.incarnation <= known.incarnation:
        raise Rejection(
            Code.OLD_INCARNATION,
            f"node {tx.sender} is registered with incarnation {known.incarnation}; {tx.incarnation} is not newer",
        )


def _check_step(known: Node | None, tx: TxContext) -> None:
    """In leaps a node would soon have used up its incarnations, and nobody could start it again."""
    most = (known.incarnation if known else 0) + INCARNATION_STEP
    if tx.incarnation > most:
        raise Rejection(
            Code.FAR_INCARNATION, f"incarnation {tx.incarnation} of node {tx.sender}; the next is {most} at most"
        )


def announce(world: World, contract: str, body: Announce, tx: TxContext) -> World:
    """Stores the sender's addresses."""
    if len(body.addresses) > MAX_ADDRESSES:
        raise Rejection(Code.TOO_MANY_ADDRESSES, f"{len(body.addresses)} addresses; at most {MAX_ADDRESSES} are kept")
    for address in body.addresses.values():
        try:
            split(address)  # others connect to it as it is
        except AddressError as error:
            raise Rejection(Code.BAD_ADDRESS, str(error)) from error
    known = node(world, tx.sender)
    assert known is not None
    return world.with_entries({f"node/{tx.sender}": msgspec.structs.replace(known, addresses=dict(body.addresses))})


def leave(world: World, contract: str, body: Leave, tx: TxContext) -> World:
    """The sender is no member of the network any more; an SN is neither admitted nor trusted. Never the last SN."""
    known = node(world, tx.sender)
    assert known is not None
    if known.type == "SN" and all(other.uid == tx.sender for other in admitted(world)):
        raise Rejection(Code.LAST_SN, "this is the network's only SN; without it there is no network")
    return world.with_entries({f"node/{tx.sender}": msgspec.structs.replace(known, left=True, alive=False)})


def switch_rules(world: World, contract: str, body: SwitchRules, tx: TxContext) -> World:
    """Sets the rules of the blocks after this one."""
    present = network(world)
    if body.rules_version <= present.rules_version:
        raise Rejection(Code.OLD_RULES, f"rules version {present.rules_version} is in force already")
    if body.rules_version > present.rules_version + 1:
        raise Rejection(
            Code.FAR_RULES,
            f"rules version {present.rules_version} is in force; the next is {present.rules_version + 1}, "
            f"and {body.rules_version} would stop every node of this network",
        )
    _check_known(world, body.rules_version)
    return world.with_entries({"network": msgspec.structs.replace(present, rules_version=body.rules_version)})


def _check_known(world: World, version: int) -> None:
    """Raises `Rejection` unless all nodes of more than half of the organisations that run any know these rules."""
    at_work = [known for known in nodes(world) if known.type in ("SN", "SL", "SWOP") and known.alive and not known.left]
    behind = [known for known in at_work if known.newest_rules < version]
    organisations = {known.organisation for known in at_work}
    ready = organisations.difference(known.organisation for known in behind)
    if 2 * len(ready) <= len(organisations):
        names = ", ".join(f"{known.name} of {known.organisation}" for known in behind[:_NAMED])
        more = f" and {len(behind) - _NAMED} more" if len(behind) > _NAMED else ""
        raise Rejection(
            Code.FAR_RULES,
            f"rules version {version} would stop nodes that do not know it: {names}{more}; more than half of the "
            "organisations have to update their nodes first, or to remove those that are gone",
        )
