"""Licenses and lists of revoked ones as signed documents, and what they allow."""

import json
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OKPKey

from swarmlearning.identity.signing import base64url
from swarmlearning.license.documents import (
    MOST_BYTES,
    Issuers,
    License,
    Revocations,
    Signed,
    key_id,
    read_private_key,
    read_public_key,
    sign,
    unverified,
)
from swarmlearning.license.features import Feature, LicenseError, features_for, read_feature
from swarmlearning.license.rights import Rights, date_text

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
ISSUER, RIVAL = key_id(KEY.public_key()), key_id(OTHER.public_key())
ISSUERS = Issuers([KEY.public_key()])
LICENSE = License("0" * 32, "Example", {Feature.SL: 3, Feature.SN: 1}, 1000, 2000)


def altered(**changes: Any) -> License:
    return msgspec.structs.replace(LICENSE, **changes)


def test_a_document_is_read_as_it_was_signed() -> None:
    assert ISSUERS.read(sign(LICENSE, KEY), "a", License) == Signed(ISSUER, LICENSE)
    revoked = Revocations(1, ("1" * 32,))
    assert ISSUERS.read(sign(revoked, KEY), "a", Revocations) == Signed(ISSUER, revoked)
    assert unverified(sign(LICENSE, OTHER), "a") == Signed(RIVAL, LICENSE)


def test_another_implementation_of_jws_understands_it() -> None:
    text = sign(LICENSE, KEY).decode().strip()
    public = OKPKey.import_key(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    found = jws.deserialize_compact(text, public, algorithms=["Ed25519"])
    assert found.headers() == {"alg": "Ed25519", "kid": ISSUER}
    assert json.loads(found.payload or b"")["features"] == {"1100000378": 3, "1100000380": 1}


def signed_text(payload: bytes, header: str | None = None) -> bytes:
    head = header or f'{{"alg":"Ed25519","kid":"{ISSUER}"}}'
    text = f"{base64url(head.encode())}.{base64url(payload)}"
    return f"{text}.{base64url(KEY.sign(text.encode()))}".encode()


RAW = msgspec.json.encode(LICENSE)
REFUSED = {
    "another issuer": (sign(LICENSE, OTHER), "which is not among the issuers"),
    "another payload": (
        sign(LICENSE, KEY).replace(base64url(RAW).encode(), base64url(RAW.replace(b"Example", b"Exampla")).encode()),
        "altered",
    ),
    "no signature": (signed_text(RAW).rpartition(b".")[0] + b".", "altered"),
    "no algorithm": (signed_text(RAW, f'{{"alg":"none","kid":"{ISSUER}"}}'), "its header is not exactly"),
    "a header with more": (
        signed_text(RAW, f'{{"alg":"Ed25519","kid":"{ISSUER}","crit":["x"]}}'),
        "its header is not exactly",
    ),
    "a list of revoked ones": (sign(Revocations(1, ()), KEY), "not the document that is needed here"),
    "no tokens": (sign(altered(features={}), KEY), "length >= 1"),
    "zero tokens": (sign(altered(features={Feature.SL: 0}), KEY), ">= 1"),
    "an unknown feature": (signed_text(RAW.replace(b"1100000378", b"1100000379")), "Invalid enum value 1100000379"),
    "an unknown field": (signed_text(RAW.replace(b"{", b'{"forever":true,', 1)), "unknown field"),
    "no JSON": (signed_text(b"[" * 100_000), "not the document that is needed here"),
    "text": (b"license", "does not have the three parts"),
    "other letters": ("ä.b.c".encode(), "does not have the three parts"),
    "too long": (b"a" * (MOST_BYTES + 1), "larger than"),
}


@pytest.mark.parametrize(("data", "fault"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_a_license_of_a_known_issuer_is_refused(data: bytes, fault: str) -> None:
    with pytest.raises(LicenseError, match=f"^file: .*{fault}"):
        ISSUERS.read(data, "file", License)


@given(st.integers(0, len(sign(LICENSE, KEY)) - 2), st.integers(0, 127))
def test_no_altered_byte_goes_unnoticed(position: int, byte: int) -> None:
    data = bytearray(sign(LICENSE, KEY))
    if data[position] == byte:
        return
    data[position] = byte
    with pytest.raises(LicenseError):
        ISSUERS.read(bytes(data), "file", License)


def private(key: Any, password: bytes = b"") -> bytes:
    how = BestAvailableEncryption(password) if password else NoEncryption()
    made: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
    return made


def test_keys_that_cannot_sign_licenses_are_named() -> None:
    assert key_id(read_private_key(private(KEY), "k").public_key()) == ISSUER
    curve = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(LicenseError, match="k: licenses are signed with Ed25519"):
        read_private_key(private(curve), "k")
    with pytest.raises(LicenseError, match="k: no unencrypted private key"):
        read_private_key(private(KEY, b"secret"), "k")
    with pytest.raises(LicenseError, match="k: no public key"):
        read_public_key(private(KEY), "k")
    public = curve.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(LicenseError, match="k: the key of an issuer of licenses is an Ed25519 key"):
        read_public_key(public, "k")


# --- what they allow ------------------------------------------------------------------------------------------------

SECOND = License("1" * 32, "Example", {Feature.SL: 2}, 1500, 3000)


@pytest.mark.parametrize(
    ("now", "capacity", "why_not"),
    [
        (999, 0, "license 00000000 begins at 1970-01-01 00:00 UTC; license 11111111 begins at 1970-01-01 00:00 UTC"),
        (1000, 3, "license 11111111 begins at 1970-01-01 00:00 UTC"),
        (1500, 5, ""),
        (1999, 5, ""),
        (2000, 2, "license 00000000 has expired at 1970-01-01 00:00 UTC"),
    ],
)
def test_licenses_add_up_while_they_are_in_force(now: int, capacity: int, why_not: str) -> None:
    rights = Rights([Signed(ISSUER, LICENSE), Signed(ISSUER, SECOND), Signed(ISSUER, SECOND)])
    found = rights.of(Feature.SL, now)
    assert (found.capacity, found.why_not) == (capacity, why_not)


def test_an_issuer_revokes_its_own_licenses_only() -> None:
    for issuer, capacity in ((ISSUER, 0), (RIVAL, 3)):
        rights = Rights([Signed(ISSUER, LICENSE)], [Signed(issuer, Revocations(1, (LICENSE.id,)))])
        assert rights.of(Feature.SL, 1500).capacity == capacity
    assert Rights([Signed(ISSUER, LICENSE)]).of(Feature.SWCI, 1500).why_not == (
        "no license of this server has this feature"
    )


def test_features_are_known_by_number_and_name() -> None:
    assert read_feature("1100000394") is read_feature("training-contracts") is Feature.TRAINING_CONTRACTS
    assert Feature.SWOP.versioned == "1100000390:1"
    with pytest.raises(LicenseError, match=r"'1' is no feature of a license; there is sl \(1100000378\)"):
        read_feature("1")
    assert features_for("OPERATOR") == features_for("SWCI") == {Feature.SWCI}
    assert features_for("OBSERVER") == frozenset()


def test_times_beyond_the_calendar_are_told_too() -> None:
    assert date_text(2**52) == "the end of time"
