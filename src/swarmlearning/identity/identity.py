"""A node's own identity: its certificate, its private key, and the CAs whose members it connects to.

Everything is checked once, before a node uses it, so that a wrong file is named here and not as a failed
handshake somewhere else. What has been checked is kept in memory: files that change meanwhile are another identity.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import (
    CertificateError,
    Role,
    UnknownIssuerError,
    anchors_reached,
    is_authority,
    load_bundle,
    role_of,
    subject_of,
    thumbprint,
    to_pem,
    trust_domain_of,
    verify_chain,
)
from swarmlearning.identity.signing import SignatureError, Signer

CA_SUFFIXES = (".pem", ".crt")
LARGEST_FILE = 1024 * 1024

NO_IDENTITY = """No identity specified; missing: {missing}.
A node needs its certificate (--cert FILE, or SWARM_ID_CERT), its private key (--key FILE, or SWARM_ID_KEY)
and the CA certificates to trust (--capath DIR or --cacert FILE, or SWARM_ID_CAPATH or SWARM_ID_CACERT);
or the socket of a SPIFFE agent (--socket-path, or SWARM_SPIFFE_WORKLOAD_API_SOCKET_PATH).
To make them for trying out: swarm cert --out cert --node SN-1 --node SL-1"""


_REMEDY = "Add the CA certificate that issued it to --cacert or --capath"
_REMEDY_BUNDLE = "The agent gives a certificate that none of the roots of its own trust domain has issued"


class IdentityError(UserError):
    """The files of an identity are missing, unreadable or do not fit together; the text names them and what to do."""


class Bundle(NamedTuple):
    """The roots of a SPIFFE trust domain, as an agent gives them."""

    trust_domain: str
    roots: tuple[x509.Certificate, ...]


@dataclass(frozen=True)
class Identity:
    """A certificate with its intermediates (leaf first), its private key, and the CAs it trusts.

    `cert_path` and `key_path` are where certificate and key come from, for messages: files, or the socket of an agent;
    `passphrase_path` is the file with the passphrase of the key. `bundles`: the trust domains whose roots are among the
    `anchors`; without an agent there are none.
    """

    chain: tuple[x509.Certificate, ...]
    anchors: tuple[x509.Certificate, ...]
    cert_path: Path
    key_path: Path
    private_key: PrivateKeyTypes = field(repr=False, compare=False)
    passphrase_path: Path | None = None
    bundles: tuple[Bundle, ...] = ()

    @classmethod
    def load(
        cls,
        cacert: Path | None,
        capath: Path | None,
        cert: Path | None,
        key: Path | None,
        passphrase: Path | None = None,
        *,
        expired: bool = False,
    ) -> "Identity":
        """Reads and checks an identity.

        `cacert` is a file with one or more CA certificates, `capath` a folder of such files (every *.pem and
        *.crt; their names do not matter); both may be given. `cert` holds the node's certificate, followed by
        its intermediates if it has any; `key` its private key, and `passphrase` the first line with which that
        is encrypted. With `expired` the certificate need not be valid now.

        Raises `IdentityError` with the path and the remedy when something is missing, unreadable, not valid
        now, not issued by one of the CAs, or when the key is not that of the certificate.
        """
        if cert is None or key is None or (cacert is None and capath is None):
            needed = {"certificate": cert, "private key": key, "CA certificates": cacert or capath}
            missing = ", ".join(what for what, path in needed.items() if path is None)
            raise IdentityError(NO_IDENTITY.format(missing=missing))
        chain, anchors = read_certificates(cert), read_anchors(cacert, capath)
        identity = cls(chain, anchors, cert, key, _read_private_key(key, passphrase), passphrase)
        identity.check(expired=expired)
        return identity

    def check(self, *, expired: bool = False) -> None:
        """Raises `IdentityError` unless the key is the certificate's, and one of the CAs vouches for that now.

        With `expired` it need not be valid now.
        """
        self.signer()
        if expired:
            return
        try:
            verify_chain(self.chain[0], self.chain[1:], self._own_anchors(), time.time_ns() // 1_000_000)
        except UnknownIssuerError as error:
            raise IdentityError(f"{self.cert_path}: {error}. {_REMEDY_BUNDLE if self.bundles else _REMEDY}") from error
        except CertificateError as error:
            raise IdentityError(f"{self.cert_path}: {error}") from error

    @property
    def certificate(self) -> x509.Certificate:
        """The node's own certificate."""
        return self.chain[0]

    @property
    def role(self) -> Role:
        """The role in the certificate. Raises `CertificateError` when it names none."""
        return role_of(self.certificate)

    @property
    def subject(self) -> str:
        """SPIFFE ID, or subject in RFC 4514 form."""
        return subject_of(self.certificate)

    @property
    def thumbprint(self) -> str:
        """SHA-256 of the certificate, lower-case hex."""
        return thumbprint(self.certificate)

    @property
    def bundle(self) -> str:
        """The certificate with its intermediates as PEM, leaf first."""
        return "".join(to_pem(certificate) for certificate in self.chain)

    @property
    def authorities(self) -> tuple[x509.Certificate, ...]:
        """Those of the CAs that vouch for the certificate now. Raises `CertificateError` where none does."""
        now_ms = time.time_ns() // 1_000_000
        return tuple(anchors_reached(self.chain[0], self.chain[1:], self._own_anchors(), now_ms))

    @property
    def secret_paths(self) -> tuple[Path, ...]:
        """The files (or the socket) that nobody but the node itself may use."""
        return (self.key_path, self.passphrase_path) if self.passphrase_path else (self.key_path,)

    @property
    def key_and_bundle(self) -> bytes:
        """The private key, not encrypted, and `bundle`, as PEM: what OpenSSL needs of an identity."""
        key = self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + self.bundle.encode("ascii")

    def _own_anchors(self) -> tuple[x509.Certificate, ...]:
        """Those that may have issued the certificate: a root of a trust domain issues for that domain only."""
        domain = trust_domain_of(self.certificate)
        others = {root for bundle in self.bundles if bundle.trust_domain != domain for root in bundle.roots}
        own = {root for bundle in self.bundles if bundle.trust_domain == domain for root in bundle.roots}
        return tuple(anchor for anchor in self.anchors if anchor in own or anchor not in others)

    def signer(self) -> Signer:
        """Signs with the private key. Raises `IdentityError` if it is not the certificate's, or cannot sign here."""
        try:
            return Signer(self.certificate, self.private_key)
        except SignatureError as error:
            raise IdentityError(f"{self.key_path} and {self.cert_path} do not fit: {error}") from error


def read_file(path: Path) -> bytes:
    """The content of a file of certificates or a key. Raises `IdentityError` if it cannot be read or is too large."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise IdentityError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > LARGEST_FILE:
        raise IdentityError(f"{path}: larger than {LARGEST_FILE} bytes: neither certificates nor a key")
    return data


def read_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """The certificates in a file. Raises `IdentityError`."""
    try:
        return load_bundle(read_file(path))
    except CertificateError as error:
        raise IdentityError(f"{path}: {error}") from error


def read_anchors(cacert: Path | None, capath: Path | None) -> tuple[x509.Certificate, ...]:
    """The CA certificates in a file and in a folder, where they are given. Raises `IdentityError`."""
    files = ([cacert] if cacert else []) + (ca_files(capath) if capath else [])
    anchors: list[x509.Certificate] = []
    for file in files:
        for certificate in read_certificates(file):
            if not is_authority(certificate):
                raise IdentityError(
                    f"{file}: certificate {certificate.subject.rfc4514_string()!r} is not a CA certificate; "
                    "only those of the organisations' CAs belong here"
                )
            if certificate not in anchors:
                anchors.append(certificate)
    return tuple(anchors)


def ca_files(folder: Path) -> list[Path]:
    """The files in a folder of CA certificates. Raises `IdentityError` where it cannot be read, or has none."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise IdentityError(f"{folder}: cannot be read: {error.strerror}; --capath is a directory") from error
    files = [path for path in entries if path.suffix.lower() in CA_SUFFIXES and path.name[0] != "."]
    if not files:
        raise IdentityError(f"{folder}: no CA certificate (*.pem or *.crt) is in this directory")
    return files


def _read_private_key(path: Path, passphrase: Path | None) -> PrivateKeyTypes:
    data, password = read_file(path), read_passphrase(passphrase) if passphrase else None
    try:
        return load_pem_private_key(data, password)
    except TypeError as error:  # how the library reports a passphrase too few or too many
        if passphrase:
            raise IdentityError(
                f"{path}: the private key is not encrypted; leave out the passphrase file {passphrase}"
            ) from error
        raise IdentityError(
            f"{path}: the private key is encrypted: name the file with its passphrase by --key-passphrase-file, or "
            f"decrypt the key (openssl pkey -in {path.name} -out plain.pem) and keep it readable by the node only"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if password and b"ENCRYPTED" in data:
            raise IdentityError(
                f"{path}: the private key cannot be decrypted with the passphrase in {passphrase}: {error}"
            ) from error
        raise IdentityError(f"{path}: no private key in PEM form that can be read: {error}") from error


def read_passphrase(path: Path) -> bytes:
    """The first line of a file. Raises `IdentityError` where there is none."""
    passphrase = read_file(path).splitlines()[:1]
    if not passphrase or not passphrase[0]:
        raise IdentityError(f"{path}: no passphrase in its first line")
    return passphrase[0]
