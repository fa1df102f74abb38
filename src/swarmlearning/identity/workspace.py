"""The files of one organisation's certificates: the same layout as the original's gen-cert.

ca/ca-1-key.pem               the private key of its CA
ca/ca-2-successor.pem         the certificate of a CA that succeeds another one, and one for it by that one
ca/capath/ca-1-cert.pem       the CAs to trust: its own and, copied here, the other organisations'
ca/issued/<serial>.pem        each certificate that it has issued
ca/ca-1-crl.pem               the certificates that it has revoked
sn-1-cert.pem  sn-1-key.pem   a node's certificate and its private key
sn-1-request.pem              a request for one, and until that is installed its key: sn-1-request-key.pem
"""

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from swarmlearning.files import replace_file
from swarmlearning.identity.ca import Key, KeyPair
from swarmlearning.identity.certificates import CertificateError, load_certificate, thumbprint, to_pem
from swarmlearning.identity.encryption import encrypted_pem
from swarmlearning.identity.identity import Identity


@dataclass(frozen=True)
class Workspace:
    """The paths below `root`; file names are the lower-case names of CAs and nodes."""

    root: Path

    @property
    def capath(self) -> Path:
        """Folder of the CA certificates to trust."""
        return self.root / "ca" / "capath"

    def certificate(self, node: str) -> Path:
        """Certificate of a node, such as `SN-1`."""
        return self.root / f"{node.lower()}-cert.pem"

    def key(self, node: str) -> Path:
        """Private key of a node."""
        return self.root / f"{node.lower()}-key.pem"

    def authority_certificate(self, name: str) -> Path:
        """Certificate of a CA, such as `CA-1`."""
        return self.capath / f"{name.lower()}-cert.pem"

    def authority_key(self, name: str) -> Path:
        """Private key of the organisation's own CA."""
        return self.root / "ca" / f"{name.lower()}-key.pem"

    def successor(self, name: str) -> Path:
        """Certificate of a CA with one by its predecessor, for the ledger."""
        return self.root / "ca" / f"{name.lower()}-successor.pem"

    def authorities(self) -> list[str]:
        """Names, in upper case, of the CAs whose private key lies here: the organisation's own."""
        keys = (self.root / "ca").glob("*-key.pem")
        return sorted(path.name.removesuffix("-key.pem").upper() for path in keys)

    def request(self, node: str) -> Path:
        """Request for a node's certificate."""
        return self.root / f"{node.lower()}-request.pem"

    def request_key(self, node: str) -> Path:
        """Private key of a request whose certificate is not installed yet."""
        return self.root / f"{node.lower()}-request-key.pem"

    def revocations(self, name: str) -> Path:
        """Revocation list of a CA."""
        return self.root / "ca" / f"{name.lower()}-crl.pem"

    def load_authority(self, name: str, passphrase: bytes | None = None) -> KeyPair:
        """The organisation's own CA, its key decrypted with `passphrase`.

        Raises `CertificateError` if its files are damaged or do not fit, or the key is encrypted in another way.
        """
        certificate_path, key_path = self.authority_certificate(name), self.authority_key(name)
        try:
            certificate = load_certificate(certificate_path.read_bytes())
            key = load_pem_private_key(key_path.read_bytes(), passphrase)
        except TypeError as error:  # how the library reports a passphrase too few or too many
            fault = "is not encrypted: leave out" if passphrase else "is encrypted: name"
            raise CertificateError(f"{key_path} {fault} --ca-passphrase-file") from error
        except (CertificateError, ValueError) as error:
            raise CertificateError(f"{certificate_path} and {key_path}: no usable CA: {error}") from error
        if not isinstance(key, Key) or key.public_key() != certificate.public_key():
            raise CertificateError(f"{key_path} is not the private key of {certificate_path}")
        return KeyPair(certificate, key)

    def save_authority(self, name: str, authority: KeyPair, passphrase: bytes | None = None) -> None:
        """Writes a CA's key, encrypted if there is a passphrase, then its certificate; none is ever half written."""
        _write_key(self.authority_key(name), authority.key, passphrase)
        _write_certificate(self.authority_certificate(name), authority.certificate)

    def save_successor(self, name: str, bundle: str) -> None:
        """Writes the certificates (PEM) with which a CA is added as its predecessor's successor."""
        _write(self.successor(name), bundle.encode(), mode=0o644)

    def save_node(self, node: str, pair: KeyPair) -> None:
        """Writes a node's key, then its certificate; a half-written file is never seen."""
        _write_key(self.key(node), pair.key)
        _write_certificate(self.certificate(node), pair.certificate)

    def issued(self) -> list[x509.Certificate]:
        """The certificates that the organisation's CAs have issued, oldest first. Raises `CertificateError`."""
        found = [_loaded(path) for path in (self.root / "ca" / "issued").glob("*.pem")]
        return sorted(found, key=lambda each: (each.not_valid_before_utc, each.serial_number))

    def save_issued(self, certificate: x509.Certificate) -> None:
        """Records a certificate that one of the organisation's CAs has issued."""
        _write_certificate(self.root / "ca" / "issued" / f"{certificate.serial_number:x}.pem", certificate)

    def trust(self, authority: x509.Certificate) -> None:
        """Adds a CA to those that are trusted, unless it is there already."""
        known = [_loaded(path) for path in self.capath.glob("*-cert.pem")]
        if authority not in known:
            _write_certificate(self.capath / f"{thumbprint(authority)[:16]}-cert.pem", authority)

    def load_revocations(self, name: str) -> list[x509.RevokedCertificate]:
        """What a CA has revoked. Raises `CertificateError` for a list that is damaged."""
        path = self.revocations(name)
        if not path.exists():
            return []
        try:
            return list(x509.load_pem_x509_crl(path.read_bytes()))
        except ValueError as error:
            raise CertificateError(f"{path}: no revocation list: {error}") from error

    def save_revocations(self, name: str, listed: x509.CertificateRevocationList) -> None:
        """Writes the list of what a CA has revoked."""
        _write(self.revocations(name), listed.public_bytes(Encoding.PEM), mode=0o644)

    def save_request(self, node: str, key: Key, request: str) -> None:
        """Writes the key of a request, then the request (PEM)."""
        _write_key(self.request_key(node), key)
        _write(self.request(node), request.encode(), mode=0o644)

    def install(self, node: str, certificate: x509.Certificate) -> None:
        """Puts a certificate in place, with the key of the request that it was issued for, or the present key.

        A crash in between leaves the key of the request where it was: installing again completes it. Raises
        `CertificateError` if neither key is the certificate's.
        """
        for path in (self.request_key(node), self.key(node)):
            if path.exists() and _loaded_key(path).public_key() == certificate.public_key():
                break
        else:
            raise CertificateError(
                f"neither {self.request_key(node)} nor {self.key(node)} is the private key of that certificate"
            )
        if path == self.request_key(node):
            _write(self.key(node), path.read_bytes(), mode=0o600)
        _write_certificate(self.certificate(node), certificate)
        if path == self.request_key(node):
            path.unlink()
            self.request(node).unlink(missing_ok=True)

    def identity(self, node: str) -> Identity:
        """The identity of a node, checked as at its start. Raises `IdentityError`."""
        return Identity.load(None, self.capath, self.certificate(node), self.key(node))


def _loaded(path: Path) -> x509.Certificate:
    try:
        return load_certificate(path.read_bytes())
    except CertificateError as error:
        raise CertificateError(f"{path}: {error}") from error


def _loaded_key(path: Path) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise CertificateError(f"{path}: no private key in PEM form that can be read: {error}") from error


def _write_key(path: Path, key: Key, passphrase: bytes | None = None) -> None:
    plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(path, encrypted_pem(key, passphrase) if passphrase else key.private_bytes(*plain), mode=0o600)


def _write_certificate(path: Path, certificate: x509.Certificate) -> None:
    _write(path, to_pem(certificate).encode(), mode=0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, data, mode)
