"""The file of a recovery: what a network would be restarted with, and the signatures that operators put under it.

It travels between organisations while no node is in touch with any other, so all in it is somebody's claim: who signs
reads it first (`summary`), and the ledger checks every signature in the end.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self

import msgspec

from swarmlearning.files import replace_file
from swarmlearning.identity.certificates import (
    CertificateError,
    load_bundle,
    load_leaf,
    role_of,
    subject_of,
    thumbprint,
)
from swarmlearning.identity.identity import Identity
from swarmlearning.ledger.bodies import AddAuthority, Consent, Recover
from swarmlearning.ledger.contracts.contract import OPERATORS
from swarmlearning.ledger.contracts.network.bodies import MAX_ORGANISATIONS
from swarmlearning.ledger.contracts.network.recovery import Named, NamedSn, Start, statement
from swarmlearning.ledger.fields import Count, Digest, Name
from swarmlearning.node.errors import NodeError
from swarmlearning.views.names import displayed

MOST_BYTES = 1024 * 1024
ENTIRE = 1024
"""Characters of a name that are shown: nothing of what is signed is cut off."""


class RecoveryFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A recovery from the block `block` of this height and time, which the SN `by` has, without the SNs `lost`."""

    network: Digest
    network_name: Name
    by: NamedSn
    height: Count
    block: Digest
    time_ms: Count
    lost: Annotated[tuple[NamedSn, ...], msgspec.Meta(max_length=1024)]
    authorities: Annotated[tuple[AddAuthority, ...], msgspec.Meta(max_length=MAX_ORGANISATIONS)] = ()
    consents: Annotated[tuple[Consent, ...], msgspec.Meta(max_length=MAX_ORGANISATIONS)] = ()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a file that another organisation may have written. Raises `NodeError` naming it."""
        try:
            with path.open("rb") as file:
                data = file.read(MOST_BYTES + 1)
            if len(data) > MOST_BYTES:
                raise NodeError(f"{path}: over {MOST_BYTES} bytes; no file that `swarm sn recover` has written")
            return msgspec.json.decode(data, type=cls)
        except OSError as error:
            raise NodeError(f"{path}: cannot be read: {error.strerror}") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NodeError(f"{path}: no file that `swarm sn recover` has written: {error}") from error

    def write(self, path: Path) -> None:
        """Replaces the file. Raises `NodeError` naming it."""
        try:
            replace_file(path, msgspec.json.format(msgspec.json.encode(self)), 0o644)
        except OSError as error:
            raise NodeError(f"{path}: cannot be written: {error.strerror}") from error

    @property
    def body(self) -> Recover:
        """The transaction's body, with the signatures so far."""
        return Recover(tuple(sn.uid for sn in self.lost), self.authorities, self.consents)

    @property
    def signed_bytes(self) -> bytes:
        """The statement that operators sign."""
        start = Start(self.network, self.by.uid, self.height, self.block)
        return statement(start, Named(self.network_name, self.by, self.lost), self.authorities)

    def signed_by(self, identity: Identity) -> Self:
        """The file with one more signature. Raises `NodeError` for a second one, or one by no operator."""
        if role_of(identity.certificate) not in OPERATORS:
            raise NodeError(
                f"{identity.cert_path} is a certificate for {role_of(identity.certificate)}; operators sign, with one "
                "whose name begins with SWCI-, UI- or OPERATOR-"
            )
        if identity.thumbprint in {_thumbprint(each) for each in self.consents}:
            raise NodeError(f"{identity.subject} has signed this recovery already")
        made = Consent(identity.bundle, identity.signer().sign(self.signed_bytes))
        return msgspec.structs.replace(self, consents=(*self.consents, made))

    def joined(self, others: Sequence[Self]) -> Self:
        """The file with the signatures of copies that were signed elsewhere. Raises `NodeError` for another one."""
        found = {_thumbprint(each): each for each in self.consents}
        for other in others:
            if other.signed_bytes != self.signed_bytes:
                raise NodeError("these files are of different recoveries; sign and give copies of one file")
            found |= {_thumbprint(each): each for each in other.consents}
        return msgspec.structs.replace(self, consents=tuple(found.values()))

    def summary(self) -> str:
        """The recovery as text for whoever signs it. All of it is signed, but for the time of the block."""
        lines = [
            f"Recovery of network {displayed(self.network_name, ENTIRE)} ({self.network[:16]})",
            f"- goes on from {_named(self.by)}, from block {self.height} ({self.block[:16]})",
            f"  of {_time(self.time_ms)}, as the file states; compare with the newest blocks that your own nodes have",
            *(f"- without {_named(sn)}" for sn in self.lost),
            *(f"- with a new authority of {each.organisation}: {_authority(each)}" for each in self.authorities),
            f"- signed by {', '.join(_signer(each) for each in self.consents) or 'nobody yet'}",
        ]
        return "\n".join(lines)


def _named(sn: NamedSn) -> str:
    return f"{displayed(sn.name, ENTIRE)} of {sn.organisation} ({sn.uid})"


def _time(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"no possible time ({time_ms} ms)"


def _authority(added: AddAuthority) -> str:
    try:
        found = load_bundle(added.anchor.certificate)[0]
    except CertificateError as error:
        return displayed(str(error))
    domain = f" in trust domain {displayed(added.anchor.trust_domain, ENTIRE)}" if added.anchor.trust_domain else ""
    roles = f"may issue for {', '.join(added.anchor.roles)}{domain}"
    return f"{displayed(subject_of(found), ENTIRE)} ({thumbprint(found)}), which {roles}"


def _signer(consent: Consent) -> str:
    try:
        return displayed(subject_of(load_leaf(consent.certificate)))
    except CertificateError as error:
        return displayed(str(error))


def _thumbprint(consent: Consent) -> str:
    """Of the certificate, or the text itself where there is none: refused by the ledger."""
    try:
        return thumbprint(load_leaf(consent.certificate))
    except CertificateError:
        return consent.certificate
