"""Reading certificates, and the subject and the role that they name."""

import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from support.agent import TrustDomain
from support.crafted_certs import NOON, craft
from swarmlearning.identity.certificates import (
    CertificateError,
    load_bundle,
    load_certificate,
    load_der,
    name_in,
    role_of,
    subject_of,
    thumbprint,
    thumbprint_of_der,
    to_pem,
    trust_domain_of,
)


def test_a_certificate_is_read_back_unchanged_from_pem_and_der() -> None:
    certificate = craft("CN=SN-1").certificate
    assert load_certificate(to_pem(certificate)) == certificate
    assert load_certificate(to_pem(certificate).encode()) == certificate
    assert load_der(certificate.public_bytes(Encoding.DER)) == certificate


def test_a_bundle_keeps_its_order_and_ignores_other_text() -> None:
    first, second = craft("CN=SN-1").certificate, craft("CN=CA-1").certificate
    text = f"Certificate:\n  Größe\n{to_pem(first)}# the CA\n{to_pem(second)}"
    assert load_bundle(text) == (first, second)


def test_two_certificates_where_one_is_expected_are_refused() -> None:
    pem = to_pem(craft("CN=SN-1").certificate)
    with pytest.raises(CertificateError, match="2 certificates where one is expected"):
        load_certificate(pem + pem)


@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN PRIVATE KEY-----\nAA==\n"])
def test_text_without_a_certificate_is_refused(text: str) -> None:
    with pytest.raises(CertificateError, match="no certificate in PEM form"):
        load_bundle(text)


def test_a_damaged_certificate_is_refused_as_malformed() -> None:
    pem = to_pem(craft("CN=SN-1").certificate)
    with pytest.raises(CertificateError, match="malformed"):
        load_bundle(pem[: len(pem) // 2])
    with pytest.raises(CertificateError, match="malformed"):
        load_der(b"\x30\x03\x02\x01\x01")


def test_a_damaged_extension_is_found_when_the_certificate_is_read() -> None:
    names = x509.SubjectAlternativeName([x509.DNSName("SN-1")])
    der = craft("CN=SN-1", extra=names).certificate.public_bytes(Encoding.DER)
    damaged = der.replace(b"\x30\x06\x82\x04SN-1", b"\x30\x06\x82\x05SN-1")  # a length beyond its frame
    assert damaged != der
    with pytest.raises(CertificateError, match="malformed"):
        load_der(damaged)
    with pytest.raises(CertificateError, match="malformed"):
        load_bundle(ssl.DER_cert_to_PEM_cert(damaged))


def test_the_thumbprint_is_that_of_the_der_form() -> None:
    certificate = craft("CN=SN-1").certificate
    assert thumbprint(certificate) == thumbprint_of_der(certificate.public_bytes(Encoding.DER))
    assert len(thumbprint(certificate)) == 64
    assert thumbprint(certificate) != thumbprint(craft("CN=SN-1").certificate)


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
def test_the_role_is_the_prefix_of_the_common_name(subject: str, role: str) -> None:
    certificate = craft(subject).certificate
    assert role_of(certificate) == role
    assert subject_of(certificate) == subject


@pytest.mark.parametrize("subject", ["CN=SN", "CN=SNX-1", "CN=XSN-1", "OU=SN-1", "CN=ſl-1", "CN=SN-1+CN=SL-1", ""])
def test_a_common_name_without_a_known_prefix_has_no_role(subject: str) -> None:
    with pytest.raises(CertificateError, match=r"SN-, SL-, SWOP-, SWCI-, UI-.*spiffe://example.org/sl"):
        role_of(craft(subject).certificate)


@pytest.mark.parametrize(("path", "role"), [("sl", "SL"), ("hospital/a/sn", "SN"), ("SWOP", "SWOP")])
def test_a_spiffe_id_takes_precedence_over_the_subject(path: str, role: str) -> None:
    uri = f"spiffe://org1.swarm.learning/{path}"
    certificate = craft("CN=UI-1", uris=[uri]).certificate
    assert role_of(certificate) == role
    assert subject_of(certificate) == uri


def test_a_spiffe_id_without_a_role_is_refused() -> None:
    with pytest.raises(CertificateError, match="names no role"):
        role_of(craft("CN=SN-1", uris=["spiffe://org1/sl-1"]).certificate)


@pytest.mark.parametrize(
    "uris",
    [
        ["spiffe://org1/sl", "spiffe://org2/sn"],
        ["https://org1/sl", "spiffe://org1/sl"],
        ["spiffe://org1"],
        ["spiffe://org1/"],
        ["spiffe://org1/../sl"],
        ["spiffe://org1/./sl"],
        ["spiffe://org1/sl/.."],
        ["spiffe://org1/sl?x=1"],
        ["spiffe://ORG1/sl"],
        ["spiffe://org1/a\nb/sl"],
    ],
)
def test_a_malformed_spiffe_id_is_refused_as_identity(uris: list[str]) -> None:
    certificate = craft("CN=SL-1", uris=uris, ca=False).certificate
    with pytest.raises(CertificateError, match="does not follow SPIFFE"):
        subject_of(certificate)
    with pytest.raises(CertificateError, match="does not follow SPIFFE"):
        role_of(certificate)


def test_an_authority_may_have_the_id_of_its_trust_domain_alone_and_is_called_by_it() -> None:
    root = TrustDomain("org1.example").roots[0].certificate
    assert (subject_of(root), trust_domain_of(root)) == ("spiffe://org1.example", "org1.example")
    with pytest.raises(CertificateError, match="names no role"):
        role_of(TrustDomain("sl").roots[0].certificate)


@pytest.mark.parametrize(
    ("subject", "uris", "name"),
    [
        ("CN=SL-1", [], "SL-1"),
        ("O=SPIRE", ["spiffe://org1/host-1/sl"], "host-1/sl"),
        ("CN=SL-north", ["spiffe://org1/sl"], "SL-north"),
        ("O=none", [], ""),
    ],
)
def test_a_node_is_called_by_its_common_name_or_the_path_of_its_spiffe_id(
    subject: str, uris: list[str], name: str
) -> None:
    assert name_in(craft(subject, uris=uris).certificate) == name


def test_a_uri_of_another_scheme_is_no_spiffe_id() -> None:
    assert subject_of(craft("CN=SL-1", uris=["https://org1/sn"]).certificate) == "CN=SL-1"


def test_a_certificate_with_an_empty_subject_and_no_spiffe_id_is_refused() -> None:
    with pytest.raises(CertificateError, match="neither a subject nor a SPIFFE ID"):
        subject_of(craft("").certificate)


def test_errors_quote_names_chosen_by_strangers_without_line_breaks() -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x\nERROR : all is lost")])
    certificate = craft("CN=X", craft("CN=CA")).certificate
    builder = x509.CertificateBuilder(name, name, certificate.public_key(), 1, certificate.not_valid_before_utc, NOON)
    with pytest.raises(CertificateError) as caught:
        role_of(builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()))
    assert "\n" not in str(caught.value)
