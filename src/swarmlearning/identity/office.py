"""The office of an organisation: what its CAs have issued and revoked, in the files of its workspace.

The record is one file for each certificate and one revocation list (CRL) for each CA; there is no other state.
"""

from typing import Final, Literal, NamedTuple, TypeAlias

from cryptography import x509

from swarmlearning.identity.ca import KeyPair, certify, names_of, revocation_list, revoked_now
from swarmlearning.identity.certificates import CertificateError, common_name, is_issued_by, load_certificate
from swarmlearning.identity.requests import Request
from swarmlearning.identity.workspace import Workspace

LIST_DAYS: Final = 90
"""Days until the next revocation list is due; a reader that insists on that needs a newer one then."""

State: TypeAlias = Literal["valid", "expired", "revoked"]


class Issued(NamedTuple):
    """A certificate in the record, and the name of the CA in the workspace that has issued it (empty: of none)."""

    certificate: x509.Certificate
    authority: str
    state: State


class Office:
    """Signs, renews and revokes with one CA of a workspace. Raises `CertificateError` for files that are damaged."""

    def __init__(self, workspace: Workspace, name: str, passphrase: bytes | None = None) -> None:
        self._workspace = workspace
        self._name = name
        self._authority = workspace.load_authority(name, passphrase)

    def sign(self, request: Request, days: int) -> x509.Certificate:
        """A certificate for what a request asks. Raises `CertificateError` where a name is none."""
        return self._issue(certify(self._authority, request.key, request.common_name, request.dns, request.ips, days))

    def renew(self, node: str, days: int) -> x509.Certificate:
        """A new certificate for the newest one of a node that is not revoked: the same key and names.

        Raises `CertificateError` where there is none.
        """
        found = [each for each in self._named(node) if each.state != "revoked"]
        if not found:
            raise CertificateError(
                f"CA {self._name} has issued no certificate for {node} that could be renewed (swarm ca list): sign a "
                "request of that node instead"
            )
        former = found[-1].certificate
        dns, ips = names_of(former)
        return self._issue(certify(self._authority, former.public_key(), common_name(former), dns, ips, days))

    def revoke(self, node: str) -> list[x509.Certificate]:
        """Puts all certificates of a node on the revocation list, and returns them: a thief may have several keys.

        Raises `CertificateError` where the CA has issued none.
        """
        found = self._named(node)
        if not found:
            raise CertificateError(f"CA {self._name} has issued no certificate for {node} (swarm ca list)")
        added = [revoked_now(each.certificate) for each in found if each.state != "revoked"]
        listed = [*self._workspace.load_revocations(self._name), *added]
        self._workspace.save_revocations(self._name, revocation_list(self._authority, listed, LIST_DAYS))
        return [each.certificate for each in found]

    def _issue(self, certificate: x509.Certificate) -> x509.Certificate:
        self._workspace.save_issued(certificate)
        return certificate

    def _named(self, node: str) -> list[Issued]:
        found = issued(self._workspace, at_ms=0)
        return [
            each
            for each in found
            if each.authority == self._name.upper() and common_name(each.certificate).upper() == node.upper()
        ]


def make_office(workspace: Workspace, name: str, authority: KeyPair, passphrase: bytes | None = None) -> None:
    """Puts a new CA into a workspace. Raises `CertificateError` where another one has that name."""
    if workspace.authority_key(name).exists() or workspace.authority_certificate(name).exists():
        raise CertificateError(f"{workspace.root} has a CA {name} already; choose another name")
    workspace.save_authority(name, authority, passphrase)


def issued(workspace: Workspace, at_ms: int) -> list[Issued]:
    """The record: what the CAs of a workspace have issued, oldest first, as it stands at this Unix time."""
    authorities = {
        name: load_certificate(workspace.authority_certificate(name).read_bytes()) for name in workspace.authorities()
    }
    revoked = {name: {each.serial_number for each in workspace.load_revocations(name)} for name in authorities}

    def entry(certificate: x509.Certificate) -> Issued:
        begin_ms = int(certificate.not_valid_before_utc.timestamp() * 1000)
        issuer = next((name for name, by in authorities.items() if is_issued_by(certificate, by, begin_ms)), "")
        state: State = "expired" if at_ms > certificate.not_valid_after_utc.timestamp() * 1000 else "valid"
        if issuer and certificate.serial_number in revoked[issuer]:
            state = "revoked"
        return Issued(certificate, issuer, state)

    return [entry(each) for each in workspace.issued()]
