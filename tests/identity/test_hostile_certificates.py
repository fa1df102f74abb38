"""Certificates that strangers have made: whatever the bytes, only `CertificateError` comes out."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given, settings
from hypothesis import strategies as st

from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.identity.certificates import CertificateError, load_der, role_of, subject_of, to_pem, verify_chain
from swarmlearning.identity.signing import SignatureError, Signer, verify

AUTHORITY = create_authority("CA-1", 30)
NODE = issue(AUTHORITY, "SL-1", ["sl-1.example"], ["192.0.2.1"], 30)
DER = NODE.certificate.public_bytes(Encoding.DER)
SIGNED = Signer(NODE.certificate, NODE.key).sign(b"x")
NOW_MS = int(datetime.now(UTC).timestamp() * 1000)

CONSTRAINTS = x509.NameConstraints([x509.DNSName("example"), x509.DirectoryName(NODE.certificate.subject)], None)
CONSTRAINED = (
    x509.CertificateBuilder(
        issuer_name=AUTHORITY.certificate.subject,
        subject_name=x509.Name([]),
        public_key=NODE.key.public_key(),
        serial_number=7,
        not_valid_before=datetime.now(UTC) - timedelta(days=1),
        not_valid_after=datetime.now(UTC) + timedelta(days=1),
    )
    .add_extension(x509.BasicConstraints(True, None), critical=True)
    .add_extension(CONSTRAINTS, critical=True)
    .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    .public_bytes(Encoding.DER)
)


def replaced(der: bytes, old: bytes, new: bytes) -> bytes:
    assert old in der
    return der.replace(old, new)


LAST_DAY = NODE.certificate.not_valid_after_utc

ODD = {
    "version 2": replaced(DER, b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x01"),
    "version 8": replaced(DER, b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"),
    "a name that is a bit string": replaced(DER, b"\x0c\x04SL-1", b"\x03\x04\x00L-1"),
    "a name that is an integer": replaced(DER, b"\x0c\x04SL-1", b"\x02\x04SL-1"),
    "a name that is not UTF-8": replaced(DER, b"\x0c\x04SL-1", b"\x0c\x04S\xff-1"),
    "a thirteenth month": replaced(DER, f"{LAST_DAY:%y%m%d}".encode(), f"{LAST_DAY:%y}1301".encode()),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_certificate_that_the_library_refuses_in_its_own_way_is_malformed(kind: str) -> None:
    with pytest.raises(CertificateError, match=r"malformed certificate: \S"):
        load_der(ODD[kind])


def used(der: bytes) -> None:
    """Does with a certificate what nodes do; only errors of this room's own are accepted."""
    try:
        certificate = load_der(der)
    except CertificateError:
        return
    to_pem(certificate)
    for question in (subject_of, role_of):
        with suppress(CertificateError):
            question(certificate)
    anchors = [AUTHORITY.certificate, certificate]
    for leaf, intermediates in ((certificate, []), (NODE.certificate, [certificate])):
        with suppress(CertificateError):
            verify_chain(leaf, intermediates, anchors, NOW_MS)
    with suppress(SignatureError):
        verify(SIGNED, certificate)


@settings(max_examples=1500, deadline=None)
@given(
    source=st.sampled_from([DER, CONSTRAINED]),
    edits=st.lists(st.tuples(st.integers(0, 800), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 40),
)
@example(DER, [(8 + 4, 1)], 0)
def test_no_altered_certificate_raises_anything_but_a_certificate_error(
    source: bytes, edits: list[tuple[int, int]], cut: int
) -> None:
    altered = bytearray(source)
    for place, value in edits:
        altered[place % len(altered)] = value
    used(bytes(altered))
    used(bytes(altered[:-cut] if cut else altered))


@given(st.binary(max_size=300))
def test_no_random_bytes_raise_anything_but_a_certificate_error(data: bytes) -> None:
    used(data)
