from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from swarmlearning.identity.ca import Key, certify, create_authority
from swarmlearning.identity.certificates import CertificateError, subject_of
from swarmlearning.identity.requests import MAX_NAMES, MAX_REQUEST, make_request, read_request

NEW_KEYS: list[Callable[[], Key]] = [
    lambda: ec.generate_private_key(ec.SECP256R1()),
    lambda: ec.generate_private_key(ec.SECP384R1()),
    ed25519.Ed25519PrivateKey.generate,
    lambda: rsa.generate_private_key(65537, 2048),
]


def signed(
    key: Key, *names: x509.GeneralName, subject: str = "SL-1", more: tuple[x509.NameAttribute[str], ...] = ()
) -> bytes:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, subject), *more]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)


@pytest.mark.parametrize("new_key", NEW_KEYS)
def test_a_request_states_names_and_key_and_is_enough_for_a_certificate(new_key: Callable[[], Key]) -> None:
    key = new_key()
    wanted = read_request(make_request(key, "SL-1", ["sl.north.example"], ["10.0.0.7", "fd00::7"]).encode())
    assert (wanted.common_name, wanted.dns, wanted.ips) == ("SL-1", ("sl.north.example",), ("10.0.0.7", "fd00::7"))
    issued = certify(create_authority("north", 10), wanted.key, wanted.common_name, wanted.dns, wanted.ips, 5)
    assert issued.public_key() == key.public_key()
    assert subject_of(issued) == "CN=SL-1,OU=Swarm-Learning"


def test_only_names_and_key_are_taken_from_a_request() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Somebody Else"),
                x509.NameAttribute(NameOID.COMMON_NAME, "SL-1"),
            ]
        )
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    wanted = read_request(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    issued = certify(create_authority("north", 10), wanted.key, wanted.common_name, wanted.dns, wanted.ips, 5)
    assert not issued.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert subject_of(issued) == "CN=SL-1,OU=Swarm-Learning"


def forged() -> bytes:
    """A request with the key of another host in place of the one that has signed it."""
    mine, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    own, foreign = (
        each.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) for each in (mine, other)
    )
    der = x509.load_pem_x509_csr(signed(mine)).public_bytes(Encoding.DER)
    assert own in der
    return x509.load_der_x509_csr(der.replace(own, foreign)).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("pem", "fault"),
    [
        (lambda: b"", "no request in PEM form"),
        (
            lambda: b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
            "malformed request",
        ),
        (lambda: b"-----BEGIN CERTIFICATE REQUEST-----" + b"A" * MAX_REQUEST, f"at most {MAX_REQUEST} are read"),
        (forged, "not signed with the key"),
        (lambda: signed(rsa.generate_private_key(65537, 1024)), "cannot sign here"),
        (lambda: signed(_key(), subject="SL-1\n"), "needs one common name"),
        (lambda: signed(_key(), subject="../../SL-1"), "needs one common name"),
        (
            lambda: signed(_key(), more=(x509.NameAttribute(NameOID.COMMON_NAME, "SN-1"),)),
            "needs one common name",
        ),
        (lambda: signed(_key(), x509.UniformResourceIdentifier("spiffe://north/sn")), "only host names and IP"),
        (lambda: signed(_key(), *(x509.DNSName(f"h{n}") for n in range(MAX_NAMES + 1))), "at most 64"),
    ],
)
def test_a_request_that_cannot_be_signed_is_refused_with_the_reason(pem: Callable[[], bytes], fault: str) -> None:
    with pytest.raises(CertificateError, match=fault):
        read_request(pem())


def _key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())
