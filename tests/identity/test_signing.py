import base64
import json
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, utils
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwk, jws

from swarmlearning.identity import signing
from swarmlearning.identity.ca import Key
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.identity.signing import (
    MAX_LENGTH,
    SignatureError,
    Signer,
    signer_thumbprint,
    unverified_payload,
    verify,
    verify_once,
)

MAKERS: dict[str, Callable[[], Key]] = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "PS256": lambda: rsa.generate_private_key(65537, 2048),
}


def certify(key: Key, name: str = "SL-1") -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1)
    )
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


KEYS = {algorithm: make() for algorithm, make in MAKERS.items()}
SIGNERS = {algorithm: Signer(certify(key), key) for algorithm, key in KEYS.items()}
ES256 = SIGNERS["ES256"]
CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1()}
every_algorithm = pytest.mark.parametrize("algorithm", SIGNERS)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def joserfc_key(algorithm: str) -> jwk.Key:
    pem = KEYS[algorithm].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    if algorithm == "Ed25519":
        return jwk.OKPKey.import_key(pem)
    return jwk.RSAKey.import_key(pem) if algorithm == "PS256" else jwk.ECKey.import_key(pem)


def with_header(header: object, signer: Signer = ES256, text: str | None = None) -> str:
    """A message with this header, its signature good over exactly those bytes."""
    segment = b64((text or json.dumps(header, separators=(",", ":"))).encode())
    foreign = Signer(signer.certificate, signer._key)
    foreign._header = segment
    return foreign.sign(b"payload")


def header_of(signer: Signer) -> dict[str, str]:
    header: dict[str, str] = json.loads(unb64(signer.sign(b"").split(".")[0]))
    return header


def twin(message: str, curve: ec.EllipticCurve) -> str:
    """The other ECDSA signature of the same bytes: (r, n - s) instead of (r, s)."""
    signing_input, _, signature = message.rpartition(".")
    size = curve.key_size // 8
    r, s = unb64(signature)[:size], int.from_bytes(unb64(signature)[size:])
    return f"{signing_input}.{b64(r + (curve.group_order - s).to_bytes(size))}"


def has_smaller_s(message: str, curve: ec.EllipticCurve) -> bool:
    signature = unb64(message.split(".")[2])
    return int.from_bytes(signature[curve.key_size // 8 :]) <= curve.group_order // 2


class TestSigning:
    @every_algorithm
    @pytest.mark.parametrize("payload", [b"", b"{}", bytes(range(256)), b"x" * 1_000_000])
    def test_a_signed_payload_is_verified(self, algorithm: str, payload: bytes) -> None:
        signer = SIGNERS[algorithm]
        message = signer.sign(payload)
        assert verify(message, signer.certificate) == payload
        assert unverified_payload(message) == payload
        assert signer_thumbprint(message) == signer.thumbprint == thumbprint(signer.certificate)

    @every_algorithm
    def test_the_header_of_a_signed_message_is_exactly_algorithm_and_thumbprint(self, algorithm: str) -> None:
        signer = SIGNERS[algorithm]
        digest = b64(bytes.fromhex(signer.thumbprint))
        expected = f'{{"alg":"{algorithm}","x5t#S256":"{digest}"}}'
        assert unb64(signer.sign(b"x").split(".")[0]).decode() == expected

    @every_algorithm
    def test_joserfc_verifies_our_signatures(self, algorithm: str) -> None:
        message = SIGNERS[algorithm].sign(b"payload")
        assert jws.deserialize_compact(message, joserfc_key(algorithm), [algorithm]).payload == b"payload"

    @every_algorithm
    def test_signatures_made_by_joserfc_are_verified(self, algorithm: str) -> None:
        signer, curve = SIGNERS[algorithm], CURVES.get(algorithm)
        message = jws.serialize_compact(header_of(signer), b"payload", joserfc_key(algorithm), [algorithm])
        if curve is not None and not has_smaller_s(message, curve):
            message = twin(message, curve)
        assert verify(message, signer.certificate) == b"payload"

    def test_a_signer_with_the_key_of_another_certificate_is_refused(self) -> None:
        with pytest.raises(SignatureError, match="not the key of certificate 'CN=SL-1'"):
            Signer(ES256.certificate, MAKERS["ES256"]())

    @pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP521R1()), rsa.generate_private_key(65537, 1024)])
    def test_a_signer_with_a_weak_or_unknown_key_is_refused(self, key: Key) -> None:
        with pytest.raises(SignatureError, match=r"'CN=weak'.*cannot sign here: use EC P-256"):
            Signer(certify(key, "weak"), key)

    def test_a_payload_that_is_too_long_is_not_signed(self) -> None:
        with pytest.raises(SignatureError, match="cannot sign"):
            ES256.sign(bytes(MAX_LENGTH))


class TestRefusal:
    @every_algorithm
    @settings(deadline=None, max_examples=60)
    @given(data=st.data())
    def test_a_message_with_any_character_changed_is_refused(self, algorithm: str, data: st.DataObject) -> None:
        signer = SIGNERS[algorithm]
        message = signer.sign(data.draw(st.binary(max_size=50)))
        position = data.draw(st.integers(0, len(message) - 1))
        character = data.draw(st.characters().filter(lambda c: c != message[position]))
        with pytest.raises(SignatureError):
            verify(message[:position] + character + message[position + 1 :], signer.certificate)

    @settings(deadline=None, max_examples=300)
    @given(text=st.text() | st.from_regex(r"[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}"))
    def test_a_text_that_is_no_signed_message_is_refused(self, text: str) -> None:
        with pytest.raises(SignatureError):
            verify(text, ES256.certificate)
        with pytest.raises(SignatureError):
            signer_thumbprint(text)

    def test_a_message_signed_with_another_certificate_is_refused(self) -> None:
        other = SIGNERS["PS256"]
        with pytest.raises(SignatureError, match=f"signed with certificate {ES256.thumbprint[:16]}…, not with"):
            verify(ES256.sign(b"x"), other.certificate)

    def test_a_message_signed_with_another_certificate_of_the_same_key_is_refused(self) -> None:
        renewed = certify(KEYS["ES256"])
        with pytest.raises(SignatureError, match="signed with certificate"):
            verify(ES256.sign(b"x"), renewed)

    def test_a_message_that_names_a_certificate_whose_key_did_not_sign_it_is_refused(self) -> None:
        victim = Signer(certify(KEYS["ES384"]), KEYS["ES384"])
        attacker = MAKERS["ES384"]()
        forged = with_header(header_of(victim), Signer(certify(attacker), attacker))
        assert signer_thumbprint(forged) == victim.thumbprint
        with pytest.raises(SignatureError, match="the signature does not fit"):
            verify(forged, victim.certificate)

    @pytest.mark.parametrize("algorithm", ["none", "HS256", "RS256", "ES512", "EdDSA", "es256"])
    def test_a_message_with_an_unknown_algorithm_is_refused(self, algorithm: str) -> None:
        message = with_header({**header_of(ES256), "alg": algorithm})
        with pytest.raises(SignatureError, match="the header is not exactly"):
            signer_thumbprint(message)
        with pytest.raises(SignatureError, match="the header is not exactly"):
            verify(message, ES256.certificate)

    def test_a_message_whose_algorithm_is_not_for_the_key_is_refused(self) -> None:
        message = with_header({**header_of(ES256), "alg": "PS256"})
        with pytest.raises(SignatureError, match="names an algorithm that is not for the key"):
            verify(message, ES256.certificate)

    def test_a_message_without_a_signature_is_refused(self) -> None:
        header = b64(json.dumps({"alg": "none", "x5t#S256": header_of(ES256)["x5t#S256"]}).encode())
        with pytest.raises(SignatureError, match="the header is not exactly"):
            verify(f"{header}.{b64(b'payload')}.", ES256.certificate)

    def test_a_header_with_other_members_is_refused(self) -> None:
        headers: list[object] = [
            {**header_of(ES256), "crit": []},
            {**header_of(ES256), "kid": "1"},
            {"alg": "ES256"},
            dict(reversed(header_of(ES256).items())),
            [],
        ]
        for header in headers:
            with pytest.raises(SignatureError, match="the header is not exactly"):
                verify(with_header(header), ES256.certificate)

    def test_a_header_that_is_not_in_canonical_json_is_refused(self) -> None:
        digest = header_of(ES256)["x5t#S256"]
        for text in (
            f'{{"alg":"ES256","alg":"ES256","x5t#S256":"{digest}"}}',
            f'{{"alg": "ES256", "x5t#S256": "{digest}"}}',
            f'{{"alg":"ES256","x5t#S256":"{digest}"}}\n',
            f'{{"alg":"ES256","x5t#S256":"{digest}="}}',
        ):
            with pytest.raises(SignatureError, match="the header is not exactly"):
                verify(with_header(None, text=text), ES256.certificate)

    def test_a_thumbprint_that_is_not_in_canonical_base64url_is_refused(self) -> None:
        digest = header_of(ES256)["x5t#S256"]
        following = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        stray = digest[:-1] + following[following.index(digest[-1]) + 1]
        assert unb64(stray) == unb64(digest)
        with pytest.raises(SignatureError, match="thumbprint of a signed message is not in canonical base64url"):
            verify(with_header({"alg": "ES256", "x5t#S256": stray}), ES256.certificate)

    @pytest.mark.parametrize("change", ["=", "==", "\n", "A"])
    def test_a_part_that_is_not_in_canonical_base64url_is_refused(self, change: str) -> None:
        header, payload, signature = ES256.sign(b"x").split(".")
        for message in (f"{header}.{payload}{change}.{signature}", f"{header}.{payload}.{signature}{change}"):
            with pytest.raises(SignatureError, match=r"not in canonical base64url|not base64url|does not fit"):
                verify(message, ES256.certificate)

    def test_a_signature_that_is_not_in_canonical_base64url_is_refused(self) -> None:
        message = ES256.sign(b"x")  # 64 bytes: the last character holds two bits, its other four are 0
        stray = message[:-1] + {"A": "B", "Q": "R", "g": "h", "w": "x"}[message[-1]]
        assert unb64(stray.split(".")[2]) == unb64(message.split(".")[2])
        with pytest.raises(SignatureError, match="signature of a signed message is not in canonical base64url"):
            verify(stray, ES256.certificate)

    @pytest.mark.parametrize("algorithm", CURVES)
    def test_the_second_valid_ecdsa_signature_of_the_same_bytes_is_refused(self, algorithm: str) -> None:
        signer, curve = SIGNERS[algorithm], CURVES[algorithm]
        for _ in range(8):  # half of all signatures come out of the library in the refused form
            message = signer.sign(b"x")
            other = twin(message, curve)
            assert has_smaller_s(message, curve)
            assert verify(message, signer.certificate) == b"x"
            assert jws.deserialize_compact(other, joserfc_key(algorithm), [algorithm]).payload == b"x"
            with pytest.raises(SignatureError, match="the signature does not fit"):
                verify(other, signer.certificate)

    @pytest.mark.parametrize("signature", [b"", bytes(64), bytes(63), b"\x01" * 65, b"\xff" * 64])
    def test_a_signature_of_arbitrary_bytes_is_refused(self, signature: bytes) -> None:
        signing_input = ES256.sign(b"x").rpartition(".")[0]
        with pytest.raises(SignatureError, match="the signature does not fit"):
            verify(f"{signing_input}.{b64(signature)}", ES256.certificate)

    def test_a_signature_with_a_leading_zero_is_refused(self) -> None:
        signing_input, _, signature = ES256.sign(b"x").rpartition(".")
        r, s = unb64(signature)[:32], unb64(signature)[32:]
        with pytest.raises(SignatureError, match="the signature does not fit"):
            verify(f"{signing_input}.{b64(r + bytes(1) + s)}", ES256.certificate)

    def test_a_signature_in_der_form_is_refused(self) -> None:
        signing_input, _, signature = ES256.sign(b"x").rpartition(".")
        raw = unb64(signature)
        der = utils.encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
        with pytest.raises(SignatureError, match="the signature does not fit"):
            verify(f"{signing_input}.{b64(der)}", ES256.certificate)

    @pytest.mark.parametrize("text", ["", ".", "a.b", "a.b.c.d", "...."])
    def test_a_message_that_has_not_three_parts_is_refused(self, text: str) -> None:
        for reading in (signer_thumbprint, unverified_payload):
            with pytest.raises(SignatureError, match="no three parts"):
                reading(text)

    def test_a_message_that_is_too_long_is_refused(self) -> None:
        message = ES256.sign(b"x") + "A" * MAX_LENGTH
        for reading in (signer_thumbprint, unverified_payload, lambda text: verify(text, ES256.certificate)):
            with pytest.raises(SignatureError, match=f"at most {MAX_LENGTH}"):
                reading(message)


# --- what was verified before ---------------------------------------------------------------------------------------


@every_algorithm
def test_a_remembered_signature_is_valid_for_its_own_certificate_only(algorithm: str) -> None:
    signer = SIGNERS[algorithm]
    signed = signer.sign(b"payload")
    for _ in range(2):
        verify_once(signed, signer.certificate)
    other = Signer(certify(KEYS[algorithm]), KEYS[algorithm])  # the same key, another certificate
    with pytest.raises(SignatureError, match="signed with certificate"):
        verify_once(signed, other.certificate)


@every_algorithm
def test_a_remembered_signature_makes_no_altered_message_valid(algorithm: str) -> None:
    signer = SIGNERS[algorithm]
    header, payload, signature = signer.sign(b"payload").split(".")
    _, other, _ = signer.sign(b"another").split(".")
    for altered in (f"{header}.{other}.{signature}", f"{header}.{payload}.{signature[:-4]}AAAA"):
        for _ in range(2):
            with pytest.raises(SignatureError):
                verify_once(altered, signer.certificate)


def test_the_number_of_remembered_signatures_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "_right", OrderedDict())
    monkeypatch.setattr(signing, "MAX_REMEMBERED", 3)
    messages = [ES256.sign(b"%d" % number) for number in range(5)]
    assert len(signing._right) == 3
    for message in messages:
        verify_once(message, ES256.certificate)
    assert len(signing._right) == 3
