import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from support import gencert
from support.certs import make_workspace
from swarmlearning.identity.ca import Key, KeyPair, create_authority, issue
from swarmlearning.identity.certificates import (
    MAX_INTERMEDIATES,
    CertificateError,
    is_authority,
    load_bundle,
    load_certificate,
    load_der,
    role_of,
    subject_of,
    thumbprint,
    thumbprint_of_der,
    to_pem,
    verify_chain,
)

NOON = datetime(2030, 6, 15, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)

SIGNED_OVER_SHA1 = """\
-----BEGIN CERTIFICATE-----
MIIBdDCCARmgAwIBAgIUHGY4KZYunm0UYsAGeqspQEA0QtwwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEQ0EtMTAeFw0yNjExMjEyMzIzMDRaFw0yNjEyMjEyMzIzMDRa
MA8xDTALBgNVBAMMBENBLTEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASx2YHm
lRCvUhOaOlg7og7Ns2J1CqXSLUuGqqGq3Pv8KQkBt5xIdlSnvy0qSJjKA+fLAlml
5zxUhFU/qNiZeqX7o1MwUTAdBgNVHQ4EFgQUPibscsbnuRDmTq8uZaXQwhW1KkAw
HwYDVR0jBBgwFoAUPibscsbnuRDmTq8uZaXQwhW1KkAwDwYDVR0TAQH/BAUwAwEB
/zAKBggqhkjOPQQDAgNJADBGAiEAzWrf8TkVT+ZgsxL42nT63NjbvaRGhw4wOVf6
JxIJl/UCIQCvOwgLu9x+5X7uvCMnM1YqkvSYzZ8YrcJQutCxbfpEvA==
-----END CERTIFICATE-----
-----BEGIN CERTIFICATE-----
MIIBAzCBqwIBBzAJBgcqhkjOPQQBMA8xDTALBgNVBAMMBENBLTEwHhcNMjYxMTIx
MjMyMzA0WhcNMjYxMjIxMjMyMzA0WjAPMQ0wCwYDVQQDDARTTC0xMFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAE7gITKcwqeMdRbWVhJhgTJNuabKyPfzi35OCeQZNM
n/VT4Wwqff9EAHXWMzIOkH68j/Aw0Siym8Z5KaFZ7Q7N8zAJBgcqhkjOPQQBA0gA
MEUCIQCHdqBEaTfvXeX+Vqjg2nGFHvNq1D9LEeJXI/rIbgpnjgIgVlOqzoxapK+B
V5BzSrHmUMHRZzxn3LJs7Vs2ygBwhpE=
-----END CERTIFICATE-----
"""
"""A CA and a node certificate, made with openssl: the cryptography library makes none of this kind."""


def ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def make(
    subject: str,
    issuer: KeyPair | None = None,
    *,
    ca: bool | None = True,
    path_length: int | None = None,
    usage: x509.KeyUsage | None = None,
    begin: datetime = NOON - DAY,
    end: datetime = NOON + DAY,
    uris: Sequence[str] = (),
    extra: x509.ExtensionType | None = None,
    key: Key | None = None,
) -> KeyPair:
    """A certificate of any shape, self-signed unless an issuer is given; `ca=None` has no constraints at all."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string(subject))
        .issuer_name(issuer.certificate.subject if issuer else x509.Name.from_rfc4514_string(subject))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical=True)
    if usage is not None:
        builder = builder.add_extension(usage, critical=True)
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=False)
    if extra is not None:
        builder = builder.add_extension(extra, critical=True)
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA384()
    return KeyPair(builder.sign(signer, digest), key)


def only_signatures() -> x509.KeyUsage:
    return x509.KeyUsage(True, False, False, False, False, False, False, False, False)


def check(leaf: KeyPair, *path: KeyPair, anchors: Sequence[KeyPair], at: datetime = NOON) -> None:
    verify_chain(
        leaf.certificate,
        [pair.certificate for pair in path],
        [pair.certificate for pair in anchors],
        ms(at),
    )


class TestReading:
    def test_pem_comes_back_whole(self) -> None:
        certificate = make("CN=SN-1").certificate
        assert load_certificate(to_pem(certificate)) == certificate
        assert load_certificate(to_pem(certificate).encode()) == certificate
        assert load_der(certificate.public_bytes(Encoding.DER)) == certificate

    def test_a_bundle_keeps_its_order_and_ignores_other_text(self) -> None:
        first, second = make("CN=SN-1").certificate, make("CN=CA-1").certificate
        text = f"Certificate:\n  Größe\n{to_pem(first)}# the CA\n{to_pem(second)}"
        assert load_bundle(text) == (first, second)

    def test_one_certificate_means_one(self) -> None:
        pem = to_pem(make("CN=SN-1").certificate)
        with pytest.raises(CertificateError, match="2 certificates where one is expected"):
            load_certificate(pem + pem)

    @pytest.mark.parametrize("text", ["", "hello", "-----BEGIN PRIVATE KEY-----\nAA==\n"])
    def test_no_certificate(self, text: str) -> None:
        with pytest.raises(CertificateError, match="no certificate in PEM form"):
            load_bundle(text)

    def test_a_damaged_certificate(self) -> None:
        pem = to_pem(make("CN=SN-1").certificate)
        with pytest.raises(CertificateError, match="malformed"):
            load_bundle(pem[: len(pem) // 2])
        with pytest.raises(CertificateError, match="malformed"):
            load_der(b"\x30\x03\x02\x01\x01")

    def test_a_part_that_is_decoded_late_is_checked_early(self) -> None:
        names = x509.SubjectAlternativeName([x509.DNSName("SN-1")])
        der = make("CN=SN-1", extra=names).certificate.public_bytes(Encoding.DER)
        damaged = der.replace(b"\x30\x06\x82\x04SN-1", b"\x30\x06\x82\x05SN-1")  # a length beyond its frame
        assert damaged != der
        with pytest.raises(CertificateError, match="malformed"):
            load_der(damaged)
        with pytest.raises(CertificateError, match="malformed"):
            load_bundle(ssl.DER_cert_to_PEM_cert(damaged))

    def test_thumbprint_is_that_of_the_der_form(self) -> None:
        certificate = make("CN=SN-1").certificate
        assert thumbprint(certificate) == thumbprint_of_der(certificate.public_bytes(Encoding.DER))
        assert len(thumbprint(certificate)) == 64
        assert thumbprint(certificate) != thumbprint(make("CN=SN-1").certificate)


class TestSubjectAndRole:
    @pytest.mark.parametrize(
        ("subject", "role"),
        [
            ("CN=SN-1", "SN"),
            ("CN=sl-hospital-a", "SL"),
            ("CN=Swop-2,OU=Swarm-Learning", "SWOP"),
            ("CN=SWCI-1", "SWCI"),
            ("CN=UI-1", "UI"),
        ],
    )
    def test_role_from_the_common_name(self, subject: str, role: str) -> None:
        certificate = make(subject).certificate
        assert role_of(certificate) == role
        assert subject_of(certificate) == subject

    @pytest.mark.parametrize("subject", ["CN=SN", "CN=SNX-1", "CN=XSN-1", "OU=SN-1", "CN=ſl-1", "CN=SN-1+CN=SL-1", ""])
    def test_no_role(self, subject: str) -> None:
        with pytest.raises(CertificateError, match=r"SN-, SL-, SWOP-, SWCI-, UI-.*spiffe://example.org/sl"):
            role_of(make(subject).certificate)

    @pytest.mark.parametrize(("path", "role"), [("sl", "SL"), ("hospital/a/sn", "SN"), ("SWOP", "SWOP")])
    def test_a_spiffe_id_wins_over_the_subject(self, path: str, role: str) -> None:
        uri = f"spiffe://org1.swarm.learning/{path}"
        certificate = make("CN=UI-1", uris=[uri]).certificate
        assert role_of(certificate) == role
        assert subject_of(certificate) == uri

    def test_a_spiffe_id_without_role(self) -> None:
        with pytest.raises(CertificateError, match="names no role"):
            role_of(make("CN=SN-1", uris=["spiffe://org1/sl-1"]).certificate)

    @pytest.mark.parametrize(
        "uris",
        [
            ["spiffe://org1/sl", "spiffe://org2/sn"],
            ["https://org1/sl", "spiffe://org1/sl"],
            ["spiffe://org1"],
            ["spiffe://org1/"],
            ["spiffe://org1/sl?x=1"],
            ["spiffe://ORG1/sl"],
            ["spiffe://org1/a\nb/sl"],
        ],
    )
    def test_a_malformed_spiffe_id_is_nobody(self, uris: list[str]) -> None:
        certificate = make("CN=SL-1", uris=uris).certificate
        with pytest.raises(CertificateError, match="does not follow SPIFFE"):
            subject_of(certificate)
        with pytest.raises(CertificateError, match="does not follow SPIFFE"):
            role_of(certificate)

    def test_another_uri_is_no_spiffe_id(self) -> None:
        assert subject_of(make("CN=SL-1", uris=["https://org1/sn"]).certificate) == "CN=SL-1"

    def test_an_empty_subject_is_nobody(self) -> None:
        with pytest.raises(CertificateError, match="neither a subject nor a SPIFFE ID"):
            subject_of(make("").certificate)

    def test_messages_quote_what_a_stranger_has_chosen(self) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x\nERROR : all is lost")])
        certificate = make("CN=X", make("CN=CA")).certificate
        builder = x509.CertificateBuilder(
            name, name, certificate.public_key(), 1, certificate.not_valid_before_utc, NOON
        )
        with pytest.raises(CertificateError) as caught:
            role_of(builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()))
        assert "\n" not in str(caught.value)


class TestPath:
    def test_issued_directly_by_a_trusted_ca(self) -> None:
        root = make("CN=CA-1")
        check(make("CN=SL-1", root, ca=False), anchors=[make("CN=CA-2"), root])

    def test_a_leaf_without_basic_constraints(self) -> None:
        root = make("CN=CA-1")
        check(make("CN=SL-1", root, ca=None), anchors=[root])

    @pytest.mark.parametrize("backwards", [False, True])
    def test_over_intermediates_in_any_order(self, backwards: bool) -> None:
        root = make("CN=Root")
        middle = make("CN=Middle", root)
        lower = make("CN=Lower", middle)
        path = [lower, middle][:: -1 if backwards else 1]
        check(make("CN=SL-1", lower, ca=False), *path, make("CN=Unrelated"), anchors=[root])

    def test_an_intermediate_may_be_the_trusted_one(self) -> None:
        middle = make("CN=Middle", make("CN=Root"))
        check(make("CN=SL-1", middle, ca=False), anchors=[middle])

    @pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()])
    def test_other_keys(self, key: Key) -> None:
        root = make("CN=CA-1", key=key)
        check(make("CN=SL-1", root, ca=False, key=key), anchors=[root])

    def test_unknown_issuer_names_it_and_the_trusted_ones(self) -> None:
        leaf = make("CN=SL-1", make("CN=Stranger"), ca=False)
        with pytest.raises(CertificateError, match=r"'CN=SL-1'.*unknown issuer 'CN=Stranger'.*trusted CAs: 'CN=CA-1'"):
            check(leaf, anchors=[make("CN=CA-1")])
        with pytest.raises(CertificateError, match="trusted CAs: none"):
            check(leaf, anchors=[])

    def test_unknown_issuer_of_an_intermediate(self) -> None:
        middle = make("CN=Middle", make("CN=Stranger"))
        with pytest.raises(CertificateError, match="'CN=Middle' has the unknown issuer 'CN=Stranger'"):
            check(make("CN=SL-1", middle, ca=False), middle, anchors=[make("CN=CA-1")])

    def test_another_ca_of_the_same_name(self) -> None:
        leaf = make("CN=SL-1", make("CN=CA-1"), ca=False)
        with pytest.raises(CertificateError, match=r"'CN=SL-1' has a bad signature.*'CN=CA-1'"):
            check(leaf, anchors=[make("CN=CA-1")])

    def test_of_two_cas_of_one_name_the_right_one_is_found(self) -> None:
        first, second = make("CN=CA-1"), make("CN=CA-1")
        check(make("CN=SL-1", first, ca=False), anchors=[first, second])
        check(make("CN=SL-1", first, ca=False), anchors=[second, first])

    def test_a_flipped_bit(self) -> None:
        root = make("CN=CA-1")
        leaf = make("CN=SL-1", root, ca=False)
        der = leaf.certificate.public_bytes(Encoding.DER)
        altered = load_der(der.replace(b"SL-1", b"SN-1"))
        with pytest.raises(CertificateError, match="'CN=SN-1' has a bad signature"):
            verify_chain(altered, [], [root.certificate], ms(NOON))

    def test_self_signed_is_not_trusted(self) -> None:
        leaf = make("CN=SL-1", ca=False)
        with pytest.raises(CertificateError, match="unknown issuer"):
            check(leaf, anchors=[make("CN=CA-1")])
        with pytest.raises(CertificateError, match="no CA certificate"):
            check(leaf, anchors=[leaf])

    def test_a_ca_is_no_node(self) -> None:
        root = make("CN=CA-1")
        with pytest.raises(CertificateError, match="'CN=SL-1' is a CA certificate"):
            check(make("CN=SL-1", root), anchors=[root])

    def test_a_node_with_key_cert_sign_is_no_ca(self, tmp_path: Path) -> None:
        """The original's node certificates may sign certificates by their key usage; CA:FALSE must hold."""
        authority = gencert.make_authority("CA-1")
        node = gencert.make_node(authority, "SL-1", ["SL-1"])
        begin, end = node.certificate.not_valid_before_utc, node.certificate.not_valid_after_utc
        forged = make("CN=SN-1", node, ca=False, begin=begin, end=end)
        with pytest.raises(CertificateError, match="'CN=SL-1,OU=Swarm-Learning' is no CA certificate"):
            check(forged, node, anchors=[authority], at=begin)

    def test_an_issuer_needs_key_cert_sign(self) -> None:
        root = make("CN=CA-1", usage=only_signatures())
        with pytest.raises(CertificateError, match="'CN=CA-1' may not issue"):
            check(make("CN=SL-1", root, ca=False), anchors=[root])

    def test_path_length(self) -> None:
        root = make("CN=Root", path_length=1)
        middle = make("CN=Middle", root)
        lower = make("CN=Lower", middle)
        check(make("CN=SL-1", middle, ca=False), middle, anchors=[root])
        with pytest.raises(CertificateError, match="'CN=Root' allows 1 CA certificates below it, not 2"):
            check(make("CN=SL-1", lower, ca=False), lower, middle, anchors=[root])

    def test_a_new_key_of_the_same_ca_does_not_count_for_path_length(self) -> None:
        old = make("CN=Root", path_length=0)
        new = make("CN=Root", old)
        assert new.certificate.subject == new.certificate.issuer
        check(make("CN=SL-1", new, ca=False), new, anchors=[old])

    def test_of_two_certificates_of_an_intermediate_the_one_that_leads_on_is_found(self) -> None:
        known, unknown = make("CN=Known"), make("CN=Unknown")
        key = ec.generate_private_key(ec.SECP256R1())
        one, other = make("CN=Middle", unknown, key=key), make("CN=Middle", known, key=key)
        leaf = make("CN=SL-1", one, ca=False)
        check(leaf, one, other, anchors=[known])
        check(leaf, other, one, anchors=[known])

    def test_a_renewed_ca_certificate_stands_in_for_the_expired_one(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        old = make("CN=CA-1", key=key, begin=NOON - 3 * DAY, end=NOON - DAY)
        new = make("CN=CA-1", key=key)
        check(make("CN=SL-1", old, ca=False), anchors=[old, new])

    def test_a_loop_ends(self) -> None:
        one, two = make("CN=One"), make("CN=Two")
        crossed = [make("CN=One", two, key=one.key), make("CN=Two", one, key=two.key)]
        with pytest.raises(CertificateError, match="unknown issuer"):
            check(make("CN=SL-1", one, ca=False), *crossed, anchors=[make("CN=CA-1")])

    def test_the_number_of_intermediates_is_bounded(self) -> None:
        root = make("CN=CA-1")
        leaf = make("CN=SL-1", root, ca=False)
        spare = [make("CN=Spare")] * (MAX_INTERMEDIATES + 1)
        check(leaf, *spare[1:], anchors=[root])
        with pytest.raises(CertificateError, match="at most 8"):
            check(leaf, *spare, anchors=[root])

    def test_a_constraint_that_is_not_understood_is_not_ignored(self) -> None:
        policy = x509.PolicyConstraints(require_explicit_policy=0, inhibit_policy_mapping=None)
        root = make("CN=CA-1", extra=policy)
        with pytest.raises(CertificateError, match=r"'CN=CA-1' has the critical extension 2\.5\.29\.36"):
            check(make("CN=SL-1", root, ca=False), anchors=[root])

    def test_a_signature_over_sha1_can_be_forged(self) -> None:
        root, leaf = load_bundle(SIGNED_OVER_SHA1)
        with pytest.raises(CertificateError, match="'CN=SL-1' is signed with sha1"):
            verify_chain(leaf, [], [root], ms(leaf.not_valid_before_utc))

    def test_a_signature_of_no_known_kind(self) -> None:
        leaf = make("CN=SL-1", make("CN=CA-1"), ca=False)
        ecdsa_with_sha384 = bytes.fromhex("06082a8648ce3d040303")
        der = leaf.certificate.public_bytes(Encoding.DER)
        unknown = load_der(der.replace(ecdsa_with_sha384, ecdsa_with_sha384[:-1] + b"\x7f"))
        with pytest.raises(CertificateError, match="'CN=SL-1' has a signature that cannot be checked"):
            verify_chain(unknown, [], [make("CN=CA-1").certificate], ms(NOON))


class TestTime:
    """Only the given time counts: these certificates are of 2030, whenever the test runs."""

    def test_bounds_are_part_of_the_validity(self) -> None:
        root = make("CN=CA-1", begin=NOON - 9 * DAY, end=NOON + 9 * DAY)
        leaf = make("CN=SL-1", root, ca=False, begin=NOON, end=NOON + DAY)
        millisecond = timedelta(milliseconds=1)
        check(leaf, anchors=[root], at=NOON)
        check(leaf, anchors=[root], at=NOON + DAY + timedelta(milliseconds=999))
        with pytest.raises(CertificateError, match="'CN=SL-1' is not yet valid before 2030-06-15 12:00:00 UTC"):
            check(leaf, anchors=[root], at=NOON - millisecond)
        with pytest.raises(CertificateError, match="'CN=SL-1' expired at 2030-06-16 12:00:00 UTC"):
            check(leaf, anchors=[root], at=NOON + DAY + timedelta(seconds=1))

    def test_every_certificate_of_the_path_must_be_valid(self) -> None:
        long, short = NOON + 9 * DAY, NOON + DAY
        for ends in ([short, long], [long, short]):
            root = make("CN=Root", end=ends[0])
            middle = make("CN=Middle", root, end=ends[1])
            leaf = make("CN=SL-1", middle, ca=False, end=long)
            check(leaf, middle, anchors=[root])
            guilty = "Root" if ends[0] == short else "Middle"
            with pytest.raises(CertificateError, match=f"'CN={guilty}' expired at 2030-06-16"):
                check(leaf, middle, anchors=[root], at=NOON + 2 * DAY)


class TestShapesOfTheField:
    @pytest.mark.parametrize("authority_key_identifier", [True, False])
    @pytest.mark.parametrize("accumulate_names", [True, False])
    def test_the_certificates_of_the_original(
        self, tmp_path: Path, authority_key_identifier: bool, accumulate_names: bool
    ) -> None:
        made = gencert.gen_cert(
            tmp_path,
            authority_key_identifier=authority_key_identifier,
            accumulate_names=accumulate_names,
        )
        assert {name: identity.role for name, identity in made.items()} == {
            "SN-1": "SN",
            "SL-1": "SL",
            "SWOP-1": "SWOP",
            "SWCI-1": "SWCI",
        }
        sl = made["SL-1"]
        assert sl.subject == "CN=SL-1,OU=Swarm-Learning"
        usage = sl.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        assert usage.key_cert_sign
        assert not is_authority(sl.certificate)
        verify_chain(sl.certificate, [], sl.anchors, ms(sl.certificate.not_valid_before_utc))

    def test_the_certificates_of_the_development_ca(self, tmp_path: Path) -> None:
        sn = make_workspace(tmp_path, ["SN-1"])["SN-1"]
        verify_chain(sn.certificate, [], sn.anchors, ms(datetime.now(UTC)))

    def test_its_ca_makes_no_further_cas(self) -> None:
        authority = create_authority("CA-1", 30)
        begin, end = authority.certificate.not_valid_before_utc, authority.certificate.not_valid_after_utc
        below = make("CN=CA-X", authority, begin=begin, end=end)
        leaf = issue(below, "SN-1", [], [], 1)
        with pytest.raises(CertificateError, match="allows 0 CA certificates below it"):
            check(leaf, below, anchors=[authority], at=datetime.now(UTC))
