"""SNs that are not trusted any more: a network is restarted without them, or they have sealed a void block.

Nothing can be ordered when a network has to be restarted, so the signatures that a recovery needs are collected
offline: each is one under a *statement*, which names the very block from which the network goes on. So a signature is
of use once, and only while nobody has gone on from that block.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from swarmlearning.identity.certificates import load_leaf
from swarmlearning.identity.signing import SignatureError, verify
from swarmlearning.ledger.canonical import canonical, sha256
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import OPERATORS, TxContext
from swarmlearning.ledger.contracts.network.bodies import AddAuthority, Consent, LiftQuarantine, Recover
from swarmlearning.ledger.contracts.network.members import add_authority
from swarmlearning.ledger.contracts.network.policies import RECOVER, missing_from, quorum_of, suffices
from swarmlearning.ledger.contracts.network.revoking import check_unrevoked
from swarmlearning.ledger.contracts.network.state import (
    Offence,
    Quarantine,
    Recovery,
    admitted,
    authorities,
    certificate,
    network,
    node,
    quarantine,
)
from swarmlearning.ledger.contracts.network.trust import check_trust, read_certificate
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.fields import Name, OrganisationId, Uid
from swarmlearning.ledger.world import World


class Start(NamedTuple):
    """The point from which a network is restarted: the newest block that the SN `by` has, and its hash."""

    network: str
    by: str
    height: int
    block: str


class NamedSn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An SN, named for people as the ledger names it."""

    uid: Uid
    name: Name
    organisation: OrganisationId


class Named(NamedTuple):
    """The names that operators read when they sign: of the network, the SN that goes on, and those without which."""

    network: str
    by: NamedSn
    lost: tuple[NamedSn, ...]


class _Statement(msgspec.Struct, frozen=True, tag_field="kind", tag="recovery"):
    network: str
    height: int
    block: str
    network_name: str
    by: NamedSn
    lost: tuple[NamedSn, ...]
    authorities: str


def statement(start: Start, named: Named, added: tuple[AddAuthority, ...]) -> bytes:
    """The bytes that operators sign who agree to a recovery with these authorities.

    The names are in it: whoever has signed for SNs under names that are not theirs on the ledger has signed nothing.
    """
    parts = (start.network, start.height, start.block, named.network, named.by, named.lost)
    return canonical(_Statement(*parts, sha256(canonical(added))))


def named_in(world: World, by: str, lost: Iterable[str]) -> Named:
    """The names of a recovery from the SN `by` without the SNs `lost` (UIDs). Raises `Rejection` for unknown ones."""
    return Named(network(world).name, _named(world, by), tuple(_named(world, uid) for uid in lost))


def _named(world: World, uid: str) -> NamedSn:
    known = node(world, uid)
    if known is None:
        raise Rejection(Code.UNKNOWN_NODE, f"{uid} is no node of this network")
    return NamedSn(known.uid, known.name, known.organisation)


def recover(world: World, contract: str, body: Recover, tx: TxContext) -> World:
    """The named SNs count as having left: the network is restarted without them. Raises `Rejection`."""
    start = Start(tx.network, tx.sender, tx.height - 1, tx.previous)
    signed = check_agreed(world, body, start, tx.signer.organisation, tx.time_ms)
    if not body.lost and not body.authorities:
        raise Rejection(Code.NO_CHANGE, "a recovery without lost SNs and without new authorities changes nothing")
    for added in body.authorities:
        if added.organisation not in signed:
            raise Rejection(
                Code.NOT_ALLOWED, f"a new authority of {added.organisation} needs a signature of that organisation"
            )
        world = add_authority(world, contract, added, tx)
    changes = {}
    for uid in body.lost:
        known = node(world, uid)
        if known is None or known.type != "SN" or uid == tx.sender:
            raise Rejection(Code.UNKNOWN_NODE, f"{uid} is no other SN of this network")
        changes[f"node/{uid}"] = msgspec.structs.replace(known, left=True, alive=False)
    entry = Recovery(height=tx.height, by=tx.sender, lost=body.lost)
    return world.with_entries({**changes, f"recovery/{tx.height}": entry})


def check_agreed(world: World, body: Recover, start: Start, own: str, time_ms: int) -> set[str]:
    """The organisations that have agreed to a recovery: the sender's `own`, and those whose operators have signed.

    Raises `Rejection` where a signature does not hold, or where they are no quorum.
    """
    text = statement(start, named_in(world, start.by, body.lost), body.authorities)
    signed = {own, *_signers(world, body.consents, text, time_ms)}
    if not suffices(world, RECOVER, "", signed):
        raise Rejection(
            Code.NOT_ALLOWED,
            f"a recovery needs {quorum_of(world, RECOVER)} of the organisations; it is signed by "
            f"{', '.join(sorted(signed))}, not by {', '.join(missing_from(world, signed))}",
        )
    return signed


def _signers(world: World, consents: Iterable[Consent], text: bytes, time_ms: int) -> Iterable[str]:
    for consent in consents:
        stored = read_certificate(consent.certificate, authorities(world), time_ms)
        known = certificate(world, stored.thumbprint)
        check_unrevoked(world, stored)
        if known is not None:
            check_trust(world, known, time_ms)
        if stored.role not in OPERATORS:
            raise Rejection(Code.NOT_ALLOWED, f"{stored.subject} has signed, whose certificate is for no operator")
        try:
            signed = verify(consent.signature, load_leaf(consent.certificate))
        except SignatureError as error:
            raise Rejection(Code.BAD_SIGNATURE, f"signature of {stored.subject}: {error}") from error
        if signed != text:
            raise Rejection(Code.BAD_SIGNATURE, f"{stored.subject} has signed another recovery than this one")
        yield stored.organisation


def lift_quarantine(world: World, contract: str, body: LiftQuarantine, tx: TxContext) -> World:
    """The SN may seal, vote and report again."""
    known = node(world, body.uid)
    entry = quarantine(world, known) if known else None
    if entry is None:
        raise Rejection(Code.NO_CHANGE, f"{body.uid} is no SN in quarantine")
    if entry.height != body.height:  # whoever agreed to forgive one block has not agreed to forgive the next
        raise Rejection(
            Code.NO_CHANGE, f"SN {body.uid} is in quarantine for block {entry.height}, not for block {body.height}"
        )
    return world.with_entries({f"quarantine/{body.uid}": msgspec.structs.replace(entry, lifted=True)})


def quarantine_sealer(world: World, uid: str, height: int, offence: Offence = "void") -> World:
    """Puts the sealer of a block of this height in quarantine; never the last SN that may seal."""
    known = node(world, uid)
    if known is None or [other.uid for other in admitted(world)] == [uid]:
        return world
    return world.with_entries({f"quarantine/{uid}": Quarantine(height, offence=offence)})
