"""The files of one organisation's certificates: the same layout as the original's gen-cert.

ca/ca-1-key.pem               the private key of its CA
ca/ca-2-successor.pem         the certificate of a CA that succeeds another one, and one for it by that one
ca/capath/ca-1-cert.pem       the CAs to trust: its own and, copied here, the other organisations'
sn-1-cert.pem  sn-1-key.pem   a node's certificate and its private key
"""

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from swarmlearning.files import replace_file
from swarmlearning.identity.ca import Key, KeyPair
from swarmlearning.identity.certificates import CertificateError, load_certificate, to_pem
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

    def load_authority(self, name: str) -> KeyPair:
        """The organisation's own CA. Raises `CertificateError` if its files are damaged or do not fit."""
        certificate_path, key_path = self.authority_certificate(name), self.authority_key(name)
        try:
            certificate = load_certificate(certificate_path.read_bytes())
            key = load_pem_private_key(key_path.read_bytes(), password=None)
        except (CertificateError, ValueError, TypeError) as error:
            raise CertificateError(f"{certificate_path} and {key_path}: no usable CA: {error}") from error
        if not isinstance(key, Key) or key.public_key() != certificate.public_key():
            raise CertificateError(f"{key_path} is not the private key of {certificate_path}")
        return KeyPair(certificate, key)

    def save_authority(self, name: str, authority: KeyPair) -> None:
        """Writes a CA's key, then its certificate; a half-written file is never seen."""
        _write_key(self.authority_key(name), authority.key)
        _write_certificate(self.authority_certificate(name), authority.certificate)

    def save_successor(self, name: str, bundle: str) -> None:
        """Writes the certificates (PEM) with which a CA is added as its predecessor's successor."""
        _write(self.successor(name), bundle.encode(), mode=0o644)

    def save_node(self, node: str, pair: KeyPair) -> None:
        """Writes a node's key, then its certificate; a half-written file is never seen."""
        _write_key(self.key(node), pair.key)
        _write_certificate(self.certificate(node), pair.certificate)

    def identity(self, node: str) -> Identity:
        """The identity of a node, checked as at its start. Raises `IdentityError`."""
        return Identity.load(None, self.capath, self.certificate(node), self.key(node))


def _write_key(path: Path, key: Key) -> None:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(path, pem, mode=0o600)


def _write_certificate(path: Path, certificate: x509.Certificate) -> None:
    _write(path, to_pem(certificate).encode(), mode=0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, data, mode)
