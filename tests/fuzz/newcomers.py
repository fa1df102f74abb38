"""Codes of invitations, and what an SN and a newcomer read of each other."""

import base64
import hashlib

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fuzz.target import Target
from support.golden import PAIR
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.identity.onetime import new_key
from swarmlearning.identity.requests import make_request
from swarmlearning.invitations.code import PREFIX, CodeError, JoinCode, read_code, write_code
from swarmlearning.invitations.host import named_authorities
from swarmlearning.invitations.serving import read_wanted
from swarmlearning.invitations.standing import Signatures, Standing, holder_of, read_standing
from swarmlearning.ledger.bodies import Anchor, RequestAdmission, RequestCertificate
from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.ledger.world import World

_OWN = bytes.fromhex(thumbprint(PAIR.certificate))
_CODE = JoinCode(bytes(32), new_key(), "org-1", "SL-1", 2**31, ("10.0.0.1:30307",), (_OWN,), 1)
_CSR = make_request(Ed25519PrivateKey.generate(), "SL-1", ["host"], ["127.0.0.1"])
_REQUESTS = (
    canonical(RequestCertificate("0" * 64, _CSR, "0" * 128)),
    canonical(RequestAdmission("0" * 64, "North", (Anchor(to_pem(PAIR.certificate)),), "0" * 128)),
    b"[" * 10_000,
)
_STANDING = Standing(
    "proposed", "0" * 64, "", (to_pem(PAIR.certificate),), "10.0.0.1:1", Signatures(1, "all", (), (), ("org-1",))
)


def _read_content(data: bytes) -> None:
    """A code with this content, whose checksum no fuzzer would find."""
    counted = len(data).to_bytes(2) + data if len(data) < 65536 else data
    read_code(PREFIX + base64.b32encode(counted + hashlib.sha256(counted).digest()[:4]).decode().rstrip("="))


def _read_standing(data: bytes) -> None:
    named_authorities(_CODE, read_standing(data))


TARGETS = (
    Target("join-code", lambda data: read_code(data.decode("latin-1")), (CodeError,), (write_code(_CODE).encode(),)),
    Target("content-of-join-code", _read_content, (CodeError,), (msgspec.msgpack.encode(_CODE),)),
    Target("join-request", read_wanted, (MalformedError,), _REQUESTS),
    Target(
        "join-authorization",
        lambda data: holder_of(data.decode("latin-1"), "0" * 64, World()),
        (),
        (f"Invitation {'0' * 64} {'0' * 128}".encode(),),
    ),
    Target("join-standing", _read_standing, (ValueError,), (msgspec.json.encode(_STANDING),)),
)
