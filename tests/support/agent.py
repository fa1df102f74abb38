"""SPIFFE agents for tests: a real Workload API on a unix socket, and the trust domains for which they issue.

Certificates look as SPIRE makes them: subjects that are the same for all, an ID in the only URI, short lives.
"""

import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from spiffe._proto import workload_pb2, workload_pb2_grpc

from swarmlearning.identity.ca import KeyPair
from swarmlearning.identity.identity import Bundle, Identity

LIFE = timedelta(hours=24)
SOCKET = Path("/run/agent.sock")
"""Of an agent that need not be there."""


class TrustDomain:
    """A trust domain with its root; `roots` are all that its bundle has, the one that issues at the end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.roots = [self._new_root()]

    def prepare_root(self, life: timedelta = 2 * LIFE) -> None:
        """A new root is in the bundle from now on, and issues: the former one stays trusted."""
        self.roots.append(self._new_root(life))

    def drop_root(self) -> None:
        """The oldest root is in the bundle no more."""
        del self.roots[0]

    def issue(self, path: str, life: timedelta = LIFE) -> KeyPair:
        """A certificate for the ID spiffe://NAME/path."""
        root = self.roots[-1]
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder("SPIRE", root.certificate.subject, key, f"spiffe://{self.name}/{path}", life)
        builder = builder.add_extension(_usage("digital_signature"), critical=True)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.key.public_key())
        return KeyPair(builder.add_extension(issuer, critical=False).sign(root.key, hashes.SHA256()), key)

    def identity(self, pair: KeyPair, *federated: "TrustDomain") -> Identity:
        """What an agent would give with this certificate by now."""
        domains = (self, *federated)
        bundles = tuple(Bundle(each.name, tuple(root.certificate for root in each.roots)) for each in domains)
        anchors = tuple(root for bundle in bundles for root in bundle.roots)
        return Identity((pair.certificate,), anchors, SOCKET, SOCKET, pair.key, bundles=bundles)

    @property
    def bundle(self) -> bytes:
        """The roots, as agents hand them out."""
        return b"".join(_der(root.certificate) for root in self.roots)

    def _new_root(self, life: timedelta = 2 * LIFE) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject("SPIFFE")
        builder = _builder("SPIFFE", subject, key, f"spiffe://{self.name}", life)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        return KeyPair(builder.sign(key, hashes.SHA256()), key)


class Agent:
    """The agent of one workload: it has certificates for `paths` of the domain, and the bundles of those federated."""

    def __init__(self, socket: Path, domain: TrustDomain, *paths: str, federated: Sequence[TrustDomain] = ()) -> None:
        self.socket = socket
        self.domain = domain
        self.paths = paths
        self.federated = federated
        self.issued: list[KeyPair] = []
        self.life = LIFE
        self._changed = threading.Condition()
        self._version = 0
        self._server: grpc.Server | None = None
        self.renew()

    def start(self) -> "Agent":
        """Serves, or serves again."""
        self._server = grpc.server(ThreadPoolExecutor(8))
        workload_pb2_grpc.add_SpiffeWorkloadAPIServicer_to_server(_Servicer(self), self._server)  # type: ignore[no-untyped-call]
        self._server.add_insecure_port(f"unix:{self.socket}")
        self._server.start()
        self.socket.chmod(0o777)  # as SPIRE's: nodes run as several users
        return self

    def stop(self) -> None:
        """Goes away, with its socket."""
        server, self._server = self._server, None
        if server is not None:
            stopped = server.stop(None)
            with self._changed:
                self._changed.notify_all()
            stopped.wait(10)

    def renew(self) -> None:
        """Issues new certificates, and pushes them."""
        self.issued = [self.domain.issue(path, self.life) for path in self.paths]
        self.push()

    def push(self) -> None:
        """Pushes certificates and bundles as they are now."""
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def pushes(self) -> Iterator[Any]:
        """What one stream gets."""
        seen = -1
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._version != seen or self._server is None)  # noqa: B023
                if self._server is None:
                    return
                seen = self._version
            yield self._response()

    def _response(self) -> Any:
        return workload_pb2.X509SVIDResponse(
            svids=[
                workload_pb2.X509SVID(
                    spiffe_id=f"spiffe://{self.domain.name}/{path}",
                    x509_svid=_der(pair.certificate),
                    x509_svid_key=pair.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
                    bundle=self.domain.bundle,
                )
                for path, pair in zip(self.paths, self.issued, strict=True)
            ],
            federated_bundles={f"spiffe://{other.name}": other.bundle for other in self.federated},
        )


class Agents:
    """The agents of a test, on sockets with short names; ended by `close`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="spire-")
        Path(self._folder.name).chmod(0o755)
        self._agents: list[Agent] = []

    def start(self, domain: TrustDomain, *paths: str, federated: Sequence[TrustDomain] = ()) -> Agent:
        """One more agent, which serves."""
        socket = Path(self._folder.name) / f"agent-{len(self._agents)}.sock"
        self._agents.append(Agent(socket, domain, *paths, federated=federated))
        return self._agents[-1].start()

    def renew(self) -> None:
        """Each issues new certificates, and pushes them."""
        for agent in self._agents:
            agent.renew()

    def close(self) -> None:
        """Ends all of them."""
        for agent in self._agents:
            agent.stop()
        self._folder.cleanup()


class _Servicer(workload_pb2_grpc.SpiffeWorkloadAPIServicer):
    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def FetchX509SVID(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        """The Workload API's stream. As the standard demands, a request without its header is refused."""
        if ("workload.spiffe.io", "true") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing from request")
        if not self._agent.paths:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "no identity issued")
        yield from self._agent.pushes()


def _builder(
    organisation: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, uri: str, life: timedelta
) -> x509.CertificateBuilder:
    begin = datetime.now(UTC) - timedelta(minutes=5)
    builder = x509.CertificateBuilder(
        issuer, _subject(organisation), key.public_key(), x509.random_serial_number(), begin, datetime.now(UTC) + life
    )
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return builder.add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)


def _subject(organisation: str) -> x509.Name:
    country = x509.NameAttribute(NameOID.COUNTRY_NAME, "US")
    return x509.Name([country, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)])


def _usage(*names: str) -> x509.KeyUsage:
    all_names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: name in names for name in all_names})


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)
