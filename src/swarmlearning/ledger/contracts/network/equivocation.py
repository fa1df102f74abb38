"""Proof that an SN has sealed two blocks for one height, so that it shows one chain to some and another one to others.

Both headers with their signatures are the proof: every node checks them by itself, whoever has sent them. An SN that is
honest never makes one, since it offers a block that was not ordered again (`sn/sealing.py`).
"""

import msgspec

from swarmlearning.identity.certificates import load_leaf
from swarmlearning.identity.signing import SignatureError, signer_thumbprint, verify
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import TxContext
from swarmlearning.ledger.contracts.network.bodies import Equivocation
from swarmlearning.ledger.contracts.network.recovery import quarantine_sealer
from swarmlearning.ledger.contracts.network.state import Recovery, TwoSeals, certificate, node
from swarmlearning.ledger.contracts.network.trust import check_trust
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.world import World


class _Header(msgspec.Struct, frozen=True):
    """As much of a block's header as the proof needs."""

    network: str
    height: int
    sealer: str


def record(world: World, contract: str, body: Equivocation, tx: TxContext) -> World:
    """Keeps the newest proof against an SN, which is in quarantine from now on. Raises `Rejection`."""
    (one, first), (other, second) = (_verified(world, header, tx.time_ms) for header in (body.first, body.second))
    if one == other or first != second or first.network != tx.network:  # one header may have been signed twice
        raise Rejection(Code.MALFORMED, "these are not two blocks of this network for one height by one SN")
    height, sealer = first.height, first.sealer
    if not 1 <= height <= tx.height:
        raise Rejection(Code.NO_BLOCK, f"no block {height} can have been sealed twice: this is block {tx.height}")
    recovery = world.get(f"recovery/{height}", Recovery)
    if recovery is not None and recovery.by == sealer:
        raise Rejection(Code.NO_CHANGE, f"operators have restarted the network at block {height}: one before is void")
    known = world.get(f"equivocation/{sealer}", TwoSeals)
    if known is not None and known.height >= height:
        raise Rejection(Code.NO_CHANGE, f"that SN {sealer} has sealed block {known.height} twice is recorded already")
    after = world.with_entries({f"equivocation/{sealer}": TwoSeals(height, body.first, body.second, tx.sender)})
    return quarantine_sealer(after, sealer, height, "twice")


def _verified(world: World, signed: str, time_ms: int) -> tuple[bytes, _Header]:
    """The header as it was signed, and read, if the SN that it names has signed it. Raises `Rejection`."""
    try:
        stored = certificate(world, signer_thumbprint(signed))
        if stored is None:
            raise Rejection(
                Code.UNKNOWN_CERTIFICATE, "a header is signed with a certificate that is not on this ledger"
            )
        payload = verify(signed, load_leaf(stored.pem))
        header = msgspec.json.decode(payload, type=_Header)
    except (SignatureError, msgspec.DecodeError) as error:
        raise Rejection(Code.BAD_SIGNATURE, f"a header does not hold: {error}") from error
    check_trust(world, stored, time_ms)
    sealer = node(world, header.sealer)
    if (
        sealer is None
        or sealer.type != "SN"
        or (sealer.subject, sealer.organisation) != (stored.subject, stored.organisation)
    ):
        raise Rejection(Code.UNKNOWN_NODE, f"a header of {header.sealer} is not signed by that SN")
    return payload, header
