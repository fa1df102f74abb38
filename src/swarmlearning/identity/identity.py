"""A node's own identity: its certificate, its private key, and the CAs whose members it connects to.

Everything is checked once, before a node starts, so that a wrong file is named here and not as a failed
handshake somewhere else.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import (
    CertificateError,
    Role,
    UnknownIssuerError,
    is_authority,
    load_bundle,
    role_of,
    subject_of,
    thumbprint,
    to_pem,
    verify_chain,
)
from swarmlearning.identity.signing import SignatureError, Signer

CA_SUFFIXES = (".pem", ".crt")

NO_IDENTITY = """No identity specified; missing: {missing}.
A node needs its certificate (--cert FILE, or SWARM_ID_CERT), its private key (--key FILE, or SWARM_ID_KEY)
and the CA certificates to trust (--capath DIR or --cacert FILE, or SWARM_ID_CAPATH or SWARM_ID_CACERT).
To make them for trying out: swarm cert --out cert --node SN-1 --node SL-1"""


class IdentityError(UserError):
    """The files of an identity are missing, unreadable or do not fit together; the text names them and what to do."""


@dataclass(frozen=True)
class Identity:
    """A certificate with its intermediates (leaf first), where it and its key lie, and the CAs it trusts.

    The private key is read when needed and not kept.
    """

    chain: tuple[x509.Certificate, ...]
    anchors: tuple[x509.Certificate, ...]
    cert_path: Path
    key_path: Path

    @classmethod
    def load(
        cls,
        cacert: Path | None,
        capath: Path | None,
        cert: Path | None,
        key: Path | None,
        *,
        expired: bool = False,
    ) -> "Identity":
        """Reads and checks an identity.

        `cacert` is a file with one or more CA certificates, `capath` a folder of such files (every *.pem and
        *.crt; their names do not matter); both may be given. `cert` holds the node's certificate, followed by
        its intermediates if it has any; `key` its unencrypted private key. With `expired` it need not be valid now.

        Raises `IdentityError` with the path and the remedy when something is missing, unreadable, not valid
        now, not issued by one of the CAs, or when the key is not that of the certificate.
        """
        if cert is None or key is None or (cacert is None and capath is None):
            needed = {"certificate": cert, "private key": key, "CA certificates": cacert or capath}
            missing = ", ".join(what for what, path in needed.items() if path is None)
            raise IdentityError(NO_IDENTITY.format(missing=missing))
        chain = _read_certificates(cert)
        identity = cls(chain, _read_anchors(cacert, capath), cert, key)
        identity.signer()
        if expired:
            return identity
        try:
            verify_chain(chain[0], chain[1:], identity.anchors, time.time_ns() // 1_000_000)
        except UnknownIssuerError as error:
            raise IdentityError(
                f"{cert}: {error}. Add the CA certificate that issued it to --cacert or --capath"
            ) from error
        except CertificateError as error:
            raise IdentityError(f"{cert}: {error}") from error
        return identity

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

    def signer(self) -> Signer:
        """Reads the private key. Raises `IdentityError` if that fails or it is not the certificate's."""
        key = _read_private_key(self.key_path)
        try:
            return Signer(self.certificate, key)
        except SignatureError as error:
            raise IdentityError(f"{self.key_path} and {self.cert_path} do not fit: {error}") from error


def identity_from_options(
    environ: Mapping[str, str],
    cacert: Path | None = None,
    capath: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    *,
    expired: bool = False,
) -> Identity:
    """The identity that command-line options and the SWARM_ID_* variables of `environ` describe.

    An option wins over its variable, and options that name CAs over both variables that do: whoever names the
    trusted CAs names all of them. An empty variable is none. Raises `IdentityError` as `Identity.load` does.
    """

    def variable(name: str) -> Path | None:
        value = environ.get(name)
        return Path(value) if value else None

    if cacert is None and capath is None:
        cacert, capath = variable("SWARM_ID_CACERT"), variable("SWARM_ID_CAPATH")
    cert, key = cert or variable("SWARM_ID_CERT"), key or variable("SWARM_ID_KEY")
    return Identity.load(cacert, capath, cert, key, expired=expired)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise IdentityError(f"{path}: cannot be read: {error.strerror}") from error


def _read_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    try:
        return load_bundle(_read(path))
    except CertificateError as error:
        raise IdentityError(f"{path}: {error}") from error


def _read_anchors(cacert: Path | None, capath: Path | None) -> tuple[x509.Certificate, ...]:
    files = ([cacert] if cacert else []) + (_ca_files(capath) if capath else [])
    anchors: list[x509.Certificate] = []
    for file in files:
        for certificate in _read_certificates(file):
            if not is_authority(certificate):
                raise IdentityError(
                    f"{file}: certificate {certificate.subject.rfc4514_string()!r} is not a CA certificate; "
                    "only those of the organisations' CAs belong here"
                )
            if certificate not in anchors:
                anchors.append(certificate)
    return tuple(anchors)


def _ca_files(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise IdentityError(f"{folder}: cannot be read: {error.strerror}; --capath is a directory") from error
    files = [path for path in entries if path.suffix.lower() in CA_SUFFIXES and path.name[0] != "."]
    if not files:
        raise IdentityError(f"{folder}: no CA certificate (*.pem or *.crt) is in this directory")
    return files


def _read_private_key(path: Path) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(_read(path), password=None)
    except TypeError as error:  # how the library reports an encrypted key without a password
        raise IdentityError(
            f"{path}: the private key is encrypted, but a node starts unattended; "
            f"decrypt it (openssl pkey -in {path.name} -out plain.pem) and keep it readable by the node only"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IdentityError(f"{path}: no private key in PEM form that can be read: {error}") from error
