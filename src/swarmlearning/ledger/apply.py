"""One transaction applied to the world: who sent it, may they, and what changes.

`apply` is the only way the world changes. It is pure: the same world, transaction and block give the same outcome on
every node and at every replay. A certificate is judged at block time, never "now".
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from cryptography import x509

from swarmlearning.identity.certificates import CertificateError, load_bundle, load_leaf, thumbprint, verify_chain
from swarmlearning.identity.signing import SignatureError, verify_once
from swarmlearning.ledger.bodies import (
    AddAuthority,
    Announce,
    Back,
    CloseSession,
    Depose,
    Freeze,
    Genesis,
    Leave,
    Lost,
    Missing,
    OpenSession,
    Progress,
    Publish,
    Recover,
    Register,
    ReportPerformance,
    Reset,
    RetireAuthority,
    Revoke,
    Settle,
    Submit,
    SwitchRules,
    Void,
)
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Certificate, TxContext
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training import state as training
from swarmlearning.ledger.contracts.training import transactions
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.transaction import WINDOW, SignedTransaction
from swarmlearning.ledger.world import World


def apply(
    world: World,
    signed: SignedTransaction,
    *,
    network_id: str,
    height: int,
    time_ms: int,
    hashes: Mapping[int, str],
) -> World:
    """The world after `signed` in a block of this height and time. `hashes` are the recent blocks before it.

    Raises `Rejection`: nothing changed, and why.
    """
    content = signed.content
    tx = TxContext(content.sender, content.incarnation, signed.signer, height, time_ms)
    _check_place(signed, network_id, height, hashes)
    stored = network.certificate(world, signed.signer)
    _check_signature(signed, leaf(stored.pem) if stored else _stated_leaf(signed))
    if isinstance(content.body, Genesis):
        return network.use_sequence(_found(world, content.body, tx), tx, content.sequence)
    _check_trust(stored or _stated(signed), network.authorities(world), time_ms)
    if not isinstance(content.body, Register):
        _check_sender(world, tx)
    world = _change(world, signed, tx)
    return network.use_sequence(world, tx, content.sequence)


def check_trusted(world: World, uid: str, time_ms: int) -> Certificate:
    """The certificate of a registered node, trusted at this time. Raises `Rejection`."""
    sender = network.node(world, uid)
    stored = network.certificate(world, sender.certificate) if sender else None
    if stored is None:
        raise Rejection(Code.UNKNOWN_NODE, f"no node {uid} is registered")
    _check_trust(stored, network.authorities(world), time_ms)
    return stored


# --- who says it ----------------------------------------------------------------------------------------------------


def _check_place(signed: SignedTransaction, network_id: str, height: int, hashes: Mapping[int, str]) -> None:
    content = signed.content
    if content.network != network_id:
        raise Rejection(
            Code.OTHER_NETWORK,
            f"the transaction is for network {content.network[:12]}, this is {network_id[:12]}",
        )
    if isinstance(content.body, Genesis):
        return
    anchor = content.anchor
    if anchor.height < height - WINDOW or content.expires_at_height < height:
        raise Rejection(Code.EXPIRED, f"signed at height {anchor.height}, now {height}; sign it again")
    if content.expires_at_height > anchor.height + WINDOW:
        raise Rejection(Code.MALFORMED, f"a transaction may wait {WINDOW} blocks at most")
    if hashes.get(anchor.height) != anchor.hash:
        raise Rejection(
            Code.OTHER_CHAIN,
            f"the sender has seen block {anchor.height} as {anchor.hash[:12]}, here it is "
            f"{hashes.get(anchor.height, 'unknown')[:12]}: somebody shows different chains to different nodes",
        )


def _stated_leaf(signed: SignedTransaction) -> x509.Certificate:
    """The certificate that a first transaction is signed with: it brings it along."""
    body = signed.content.body
    if not isinstance(body, Register | Genesis) or not body.certificate:
        raise Rejection(
            Code.UNKNOWN_CERTIFICATE,
            f"no certificate {signed.signer[:12]} on this ledger; register the node first",
        )
    try:
        sent = load_leaf(body.certificate)
    except CertificateError as error:
        raise Rejection(Code.BAD_CERTIFICATE, str(error)) from error
    if thumbprint(sent) != signed.signer:
        raise Rejection(Code.BAD_CERTIFICATE, "the transaction is signed with another certificate than it states")
    return sent


def _stated(signed: SignedTransaction) -> Certificate:
    """The same with all that belongs to it, as the ledger stores it; read only once the signature holds."""
    body = signed.content.body
    assert isinstance(body, Register | Genesis)
    return network.read_certificate(body.certificate)


def _check_signature(signed: SignedTransaction, certificate: x509.Certificate) -> None:
    try:
        verify_once(signed.raw, certificate)
    except SignatureError as error:
        raise Rejection(Code.BAD_SIGNATURE, str(error)) from error


@lru_cache(maxsize=1024)
def leaf(pem: str) -> x509.Certificate:
    """The node's own certificate in a stored bundle."""
    return load_bundle(pem)[0]


def _check_trust(stored: Certificate, authorities: tuple[str, ...], time_ms: int) -> None:
    if stored.revoked:
        raise Rejection(Code.REVOKED, f"the certificate of {stored.subject} has been revoked")
    fault = _trust_fault(stored.pem, authorities, bisect_right(_boundaries(stored.pem, authorities), time_ms))
    if fault:
        raise Rejection(Code.UNTRUSTED, fault)


@lru_cache(maxsize=1024)
def _boundaries(pem: str, authorities: tuple[str, ...]) -> tuple[int, ...]:
    """The times at which one of the certificates begins or ceases to be valid; in between trust cannot change."""
    times = set()
    for certificate in [one for bundle in (pem, *authorities) for one in load_bundle(bundle)]:
        times.add(int(certificate.not_valid_before_utc.timestamp()) * 1000)
        times.add(int(certificate.not_valid_after_utc.timestamp()) * 1000 + 1000)
    return tuple(sorted(times))


@lru_cache(maxsize=1024)
def _trust_fault(pem: str, authorities: tuple[str, ...], span: int) -> str | None:
    """Why the certificate is not trusted in this span between two boundaries, None when it is."""
    leaf, *intermediates = load_bundle(pem)
    anchors = [load_bundle(root)[0] for root in authorities]
    begin = _boundaries(pem, authorities)[span - 1] if span else 0
    try:
        verify_chain(leaf, intermediates, anchors, begin)
    except CertificateError as error:
        return str(error)
    return None


def _check_sender(world: World, tx: TxContext) -> None:
    sender = network.node(world, tx.sender)
    if sender is None:
        raise Rejection(Code.UNKNOWN_NODE, f"node {tx.sender} is not registered; register it first")
    signer = network.certificate(world, tx.signer)
    if signer is None or signer.subject != sender.subject:
        raise Rejection(Code.OTHER_SUBJECT, f"node {tx.sender} belongs to {sender.subject}")
    if sender.left:
        raise Rejection(Code.HAS_LEFT, f"node {tx.sender} has left the network; start it again to register it anew")
    if network.quarantine(world, sender):
        raise Rejection(Code.QUARANTINE, f"SN {tx.sender} has sealed a void block; stop it, repair it, start it again")
    if tx.incarnation != sender.incarnation:
        raise Rejection(
            Code.OLD_INCARNATION,
            f"node {tx.sender} was started again and now runs as incarnation {sender.incarnation}; "
            f"incarnation {tx.incarnation} must stop",
        )


# --- what it changes ------------------------------------------------------------------------------------------------


def _found(world: World, body: Genesis, tx: TxContext) -> World:
    if tx.height != 0:
        raise Rejection(Code.FOUNDED_ALREADY, "a network has one genesis, in block 0")
    founder = network.read_certificate(body.certificate)
    _check_trust(founder, body.authorities, tx.time_ms)
    return network.genesis(body, tx)


def _change(world: World, signed: SignedTransaction, tx: TxContext) -> World:
    body = signed.content.body
    contract = signed.content.contract
    if type(body) in _NETWORK:
        if contract != network.CONTRACT:
            raise Rejection(Code.WRONG_CONTRACT, f"{signed.kind} belongs to contract {network.CONTRACT}")
        return _NETWORK[type(body)](world, body, tx)
    if contract == network.CONTRACT:
        raise Rejection(Code.WRONG_CONTRACT, f"{signed.kind} needs the name of a training contract, not {contract!r}")
    return _TRAINING[type(body)](world, contract, body, tx)


def _register(world: World, body: Register, tx: TxContext) -> World:
    world = network.register(world, body, tx)
    return _update_attendance(world, tx.sender, "restarted", tx.incarnation, tx)


def _presence(world: World, body: Lost | Back, tx: TxContext) -> World:
    world = network.presence(world, body, tx)
    if isinstance(body, Back):
        return _update_attendance(world, body.uid, "present", body.incarnation, tx)
    attendance: training.Attendance = "ml-lost" if body.uid == tx.sender else "lost"
    return _update_attendance(world, body.uid, attendance, body.incarnation, tx)


def _leave(world: World, body: Leave, tx: TxContext) -> World:
    world = network.leave(world, body, tx)
    return _update_attendance(world, tx.sender, "left", tx.incarnation, tx)


def _update_attendance(
    world: World, uid: str, attendance: training.Attendance, incarnation: int, tx: TxContext
) -> World:
    changes = {
        f"training/{state.name}": transactions.set_attendance(state, uid, attendance, incarnation, tx.time_ms)
        for state in world.area("training/", Training)
        if uid in state.members
    }
    return world.with_entries(changes)


def state_of(world: World, contract: str) -> Training:
    """The training contract of this name, empty before its first session."""
    return world.get(f"training/{contract}", Training) or training.empty(contract)


def _in_training(step: Callable[[Training, Any, TxContext], Training]) -> Callable[[World, str, Any, TxContext], World]:
    def change(world: World, contract: str, body: Any, tx: TxContext) -> World:
        return world.with_entries({f"training/{contract}": step(state_of(world, contract), body, tx)})

    return change


def _open_session(world: World, contract: str, body: OpenSession, tx: TxContext) -> World:
    network.require_type(world, tx, "SL")
    state = transactions.open_session(state_of(world, contract), body, tx.sender, tx.incarnation, tx.time_ms)
    return world.with_entries({f"training/{contract}": state})


def _depose(world: World, contract: str, body: Depose, tx: TxContext) -> World:
    state = state_of(world, contract)
    leader = network.node(world, state.round.leader) if state.round else None
    sender = network.node(world, tx.sender)
    state = transactions.depose(
        state,
        body,
        tx.sender,
        by_sn=sender is not None and sender.type == "SN",
        leader_incarnation=leader.incarnation if leader else 0,
        leader_height=network.last_height(world, leader.uid) if leader else 0,
    )
    return world.with_entries({f"training/{contract}": state})


def _void(world: World, contract: str, body: Void, tx: TxContext) -> World:
    network.require_type(world, tx, "SN")
    state = transactions.void(state_of(world, contract), body, tx.time_ms)
    return world.with_entries({f"training/{contract}": state})


def _settle(world: World, contract: str, body: Settle, tx: TxContext) -> World:
    network.require_type(world, tx, "SN")
    return world.with_entries({f"training/{contract}": transactions.settle(state_of(world, contract), body)})


def _reset(world: World, contract: str, body: Reset, tx: TxContext) -> World:
    network.require_type(world, tx, *network.OPERATORS)
    return world.with_entries({f"training/{contract}": transactions.reset(state_of(world, contract), body.forced)})


_NETWORK: dict[type, Callable[[World, Any, TxContext], World]] = {
    Register: _register,
    Announce: network.announce,
    Leave: _leave,
    Recover: network.recover,
    AddAuthority: network.add_authority,
    RetireAuthority: network.retire_authority,
    Revoke: network.revoke,
    SwitchRules: network.switch_rules,
    Lost: _presence,
    Back: _presence,
}

_TRAINING: dict[type, Callable[[World, str, Any, TxContext], World]] = {
    OpenSession: _open_session,
    Submit: _in_training(lambda state, body, tx: transactions.submit(state, body, tx.sender, tx.time_ms)),
    Freeze: _in_training(lambda state, body, tx: transactions.freeze(state, body, tx.sender)),
    Progress: _in_training(lambda state, body, tx: transactions.progress(state, body, tx.sender)),
    Publish: _in_training(lambda state, body, tx: transactions.publish(state, body, tx.sender, tx.time_ms)),
    ReportPerformance: _in_training(lambda state, body, tx: transactions.report_performance(state, body, tx.sender)),
    Depose: _depose,
    Missing: _in_training(lambda state, body, tx: transactions.missing(state, body, tx.sender)),
    Void: _void,
    Settle: _settle,
    CloseSession: _in_training(lambda state, body, tx: transactions.close_session(state, body, tx.sender)),
    Reset: _reset,
}
