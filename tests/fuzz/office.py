"""Connections between SNs, relays, license documents, certificates and requests for them, and files for operators."""

import ssl

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fuzz.target import Target, jws
from support.golden import PAIR
from support.operate_data import raw
from swarmlearning.documents.faults import DocumentError
from swarmlearning.identity.certificates import CertificateError, load_bundle, to_pem
from swarmlearning.identity.requests import make_request, read_request
from swarmlearning.license import client
from swarmlearning.license.documents import Issuers, License, Revocations, sign, unverified
from swarmlearning.license.features import Feature, LicenseError
from swarmlearning.license.messages import Granted, Leases, Refused
from swarmlearning.ordering.etcd import tunnel
from swarmlearning.ordering.etcd.tunnel import Peer, Proxy
from swarmlearning.ordering.protocols import OrderingError
from swarmlearning.privacy.policyfile import read_lock
from swarmlearning.relay.opening import RelayError, check_answer
from swarmlearning.swop.policyfile import read_policy
from swarmlearning.transport.parties import Credential


class _Everybody:
    """A registry in which every address is an SN's."""

    def find(self, address: str) -> Peer | None:
        return Peer("127.0.0.1", 1, address)

    def admits(self, credential: Credential, uid: str | None = None) -> bool:
        return True


_PROXY = Proxy(ssl.create_default_context(), _Everybody())
_PROXY._secret = "secret"
_REQUEST = (
    b"GET http://sn-1:2380/raft/stream HTTP/1.1\r\nHost: sn-1:2380\r\n"
    b"Proxy-Authorization: Basic c3dhcm06c2VjcmV0\r\nConnection: keep-alive\r\n\r\n"
)

_KEY = Ed25519PrivateKey.generate()
_ISSUERS = Issuers([_KEY.public_key()])
_LICENSE = License("0" * 32, "Example", {Feature.SL: 3, Feature.SN: 1}, 1000, 2000)
_DOCUMENTS = (sign(_LICENSE, _KEY), sign(Revocations(1, ("1" * 32,)), _KEY))
_DOCUMENT_HEADER = _DOCUMENTS[0].decode().partition(".")[0]
_ANSWERS = (
    b'{"seconds":30.5}',
    b'{"code":"304","detail":"no token"}',
    b'{"start":"s","number":1,"leases":[{"feature":"1100000378","uid":"u","holder":"h","authority":"a","expires_ms":1}],'
    b'"more":false}',
)
_PRIVACY = (
    b"norm: 1.5\nnoise: 1.1\nepsilon: 8\ndelta: 1e-6\nprotects: whole-change-per-round\n"
    b"outside: losses-metrics-weights\ncontributors: 3\ninitialModels: ["
    + b"ab" * 32
    + b"]\nrecord: /srv/given.jsonl\n",
    b"norm: 1",
    b"norm: &a [*a]",
)


def _read_head(data: bytes) -> None:
    """The head of a request to an SN's P2P port."""
    tunnel._host(data + b"\r\n\r\n")


def _read_proxy_head(data: bytes) -> None:
    """The head of a request to the proxy of the local etcd, up to the end that the reader has looked for."""
    _PROXY._understand(data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")


def _read_license(data: bytes) -> None:
    _ISSUERS.read(data, "file", License)


def _read_license_text(data: bytes) -> None:
    unverified(jws(_DOCUMENT_HEADER, data).encode("ascii"), "file")


def _read_license_answer(data: bytes) -> None:
    """As each answer of a license server."""
    for kind in (Granted, Refused, Leases):
        try:
            client._read(data, kind)
        except client.NoAnswerError:
            pass


TARGETS = (
    Target("p2p", _read_head, (), (_REQUEST,)),
    Target("p2p-proxy", _read_proxy_head, (*tunnel.FAILURES, OrderingError), (_REQUEST,)),
    Target("relay", check_answer, (RelayError,), (b"OK\n", b"NO there are 64 streams\n")),
    Target("license", _read_license, (LicenseError,), _DOCUMENTS),
    Target(
        "content-of-license",
        _read_license_text,
        (LicenseError,),
        (b'{"type":"revocations","issued_ms":1,"licenses":["11111111111111111111111111111111"]}', b"[" * 10_000),
    ),
    Target("license-answer", _read_license_answer, (), _ANSWERS),
    Target("privacy-policy", lambda data: read_lock(data, "file"), (DocumentError,), _PRIVACY),
    Target("site-policy", lambda data: read_policy(data, "file"), (DocumentError,), (raw("policies/everything.yaml"),)),
    Target("certificates", load_bundle, (CertificateError,), (to_pem(PAIR.certificate).encode(),)),
    Target(
        "certificate-request",
        read_request,
        (CertificateError,),
        (make_request(Ed25519PrivateKey.generate(), "SL-1", ["host"], ["127.0.0.1"]).encode(),),
    ),
)
