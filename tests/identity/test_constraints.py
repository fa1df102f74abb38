"""Name constraints of CAs: each case is judged by OpenSSL too, which checks them in TLS."""

import ipaddress
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from swarmlearning.identity.ca import KeyPair
from swarmlearning.identity.certificates import CertificateError, to_pem, verify_chain

Names = Sequence[x509.GeneralName]
NOW = datetime.now(UTC)


def dns(*names: str) -> Names:
    return [x509.DNSName(name) for name in names]


def uri(*values: str) -> Names:
    return [x509.UniformResourceIdentifier(value) for value in values]


def mail(*addresses: str) -> Names:
    return [x509.RFC822Name(address) for address in addresses]


def net(*networks: str) -> Names:
    return [x509.IPAddress(ipaddress.ip_network(text)) for text in networks]


def ip(*addresses: str) -> Names:
    return [x509.IPAddress(ipaddress.ip_address(text)) for text in addresses]


def directory(*names: str) -> Names:
    return [x509.DirectoryName(x509.Name.from_rfc4514_string(name)) for name in names]


def other(value: bytes) -> Names:
    return [x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), value)]


def make(
    subject: str,
    issuer: KeyPair | None,
    *,
    ca: bool,
    constraints: x509.NameConstraints | None = None,
    names: Names = (),
) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string(subject)
    builder = x509.CertificateBuilder(
        issuer_name=issuer.certificate.subject if issuer else name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=NOW - timedelta(days=1),
        not_valid_after=NOW + timedelta(days=1),
    ).add_extension(x509.BasicConstraints(ca, None), critical=True)
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not subject)
    return KeyPair(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def refusal(*path: KeyPair) -> str:
    """Returns why the path from the leaf to the CA at its end is refused; empty when it is accepted."""
    leaf, *between, root = (pair.certificate for pair in path)
    try:
        verify_chain(leaf, between, [root], int(NOW.timestamp() * 1000))
    except CertificateError as error:
        return str(error)
    return ""


def openssl_accepts(folder: Path, *path: KeyPair) -> bool:
    leaf, *between, root = (to_pem(pair.certificate) for pair in path)
    (folder / "leaf.pem").write_text(leaf)
    (folder / "between.pem").write_text("".join(between))
    (folder / "root.pem").write_text(root)
    command: list[str | Path] = ["openssl", "verify", "-partial_chain", "-CAfile", folder / "root.pem"]
    command += ["-untrusted", folder / "between.pem"] if between else []
    return subprocess.run([*command, folder / "leaf.pem"], capture_output=True, check=False).returncode == 0


HOSPITAL = "O=Hospital 1,C=DE"
INSIDE = "CN=SL-1,O=Hospital 1,C=DE"

CASES: dict[str, tuple[Names | None, Names | None, str, Names, bool]] = {
    # permitted, excluded, subject, names, accepted
    "a subject in the permitted directory": (directory(HOSPITAL), None, INSIDE, (), True),
    "the directory itself": (directory(HOSPITAL), None, HOSPITAL, (), True),
    "in other letters and spaces": (directory(HOSPITAL), None, "CN=SL-1,O=HOSPITAL  1,C=de", (), True),
    "another organisation": (directory(HOSPITAL), None, "CN=SL-1,O=Hospital 2,C=DE", (), False),
    "a longer name of an organisation": (directory(HOSPITAL), None, "CN=SL-1,O=Hospital 11,C=DE", (), False),
    "in another order": (directory(HOSPITAL), None, "CN=SL-1,C=DE,O=Hospital 1", (), False),
    "a second directory name outside": (directory(HOSPITAL), None, INSIDE, directory("O=Hospital 2"), False),
    "one of two permitted directories": (directory("O=A", "O=B"), None, "CN=SL-1,O=B", (), True),
    "no subject and no name of the kind": (directory(HOSPITAL), None, "", dns("sl-1"), True),
    "an excluded directory": (None, directory(HOSPITAL), INSIDE, (), False),
    "beside an excluded directory": (None, directory(HOSPITAL), "CN=SL-1,O=Hospital 2,C=DE", (), True),
    "excluded inside what is permitted": (directory("C=DE"), directory(HOSPITAL), INSIDE, (), False),
    "a host in the domain": (dns("h1.example"), None, "CN=SL-1", dns("a.b.H1.example"), True),
    "the domain itself": (dns("h1.example"), None, "CN=SL-1", dns("h1.example"), True),
    "a name that only ends like it": (dns("h1.example"), None, "CN=SL-1", dns("evilh1.example"), False),
    "below a domain with a dot": (dns(".h1.example"), None, "CN=SL-1", dns("a.h1.example"), True),
    "a domain with a dot itself": (dns(".h1.example"), None, "CN=SL-1", dns("h1.example"), False),
    "one of several names outside": (dns("h1.example"), None, "CN=SL-1", dns("h1.example", "h2.example"), False),
    "any DNS name": (dns(""), None, "CN=SL-1", dns("h1.example"), True),
    "no DNS name at all": (None, dns(""), "CN=SL-1", dns("h1.example"), False),
    "a name of another kind": (dns("h1.example"), None, "CN=SL-1", ip("10.0.0.1"), True),
    "an address in the network": (net("10.1.0.0/16"), None, "CN=SL-1", ip("10.1.2.3"), True),
    "an address outside": (net("10.1.0.0/16"), None, "CN=SL-1", ip("10.2.2.3"), False),
    "an address of another version": (net("10.1.0.0/16"), None, "CN=SL-1", ip("fd00::1"), False),
    "an excluded address": (None, net("fd00::/8"), "CN=SL-1", ip("fd00::1"), False),
    "a SPIFFE ID of the trust domain": (uri("h1.example"), None, "CN=x", uri("spiffe://h1.example/sl"), True),
    "a SPIFFE ID of another one": (uri("h1.example"), None, "CN=x", uri("spiffe://h2.example/sl"), False),
    "a SPIFFE ID below": (uri("h1.example"), None, "CN=x", uri("spiffe://a.h1.example/sl"), False),
    "a SPIFFE ID below a domain": (uri(".h1.example"), None, "CN=x", uri("spiffe://a.h1.example/sl"), True),
    "a URI without a host": (uri("h1.example"), None, "CN=x", uri("urn:h1.example"), False),
    "an excluded URI": (None, uri("h1.example"), "CN=x", uri("https://H1.example:443/x"), False),
    "a mailbox": (mail("a@h1.example"), None, "CN=x", mail("a@H1.example"), True),
    "another mailbox": (mail("a@h1.example"), None, "CN=x", mail("b@h1.example"), False),
    "a mailbox on the host": (mail("h1.example"), None, "CN=x", mail("b@h1.example"), True),
    "a mailbox on a host below": (mail("h1.example"), None, "CN=x", mail("b@a.h1.example"), False),
    "a mailbox below the domain": (mail(".h1.example"), None, "CN=x", mail("b@a.h1.example"), True),
    "a mailbox in the subject": (mail("h1.example"), None, "1.2.840.113549.1.9.1=b@h2.example,CN=x", (), False),
    "a name of a kind that is not compared": (other(b"\x0c\x01a"), None, "CN=x", other(b"\x0c\x01a"), False),
    "such an excluded one": (None, other(b"\x0c\x01a"), "CN=x", other(b"\x0c\x01b"), False),
    "such a constraint that concerns no name": (other(b"\x0c\x01a"), None, "CN=x", dns("h1.example"), True),
}


@pytest.mark.parametrize("case", CASES)
def test_a_certificate_is_accepted_if_its_names_are_those_that_its_ca_may_issue(case: str, tmp_path: Path) -> None:
    permitted, excluded, subject, names, accepted = CASES[case]
    root = make("CN=CA-1", None, ca=True, constraints=x509.NameConstraints(permitted, excluded))
    leaf = make(subject, root, ca=False, names=names)
    assert openssl_accepts(tmp_path, leaf, root) == accepted
    found = refusal(leaf, root)
    assert (found == "") == accepted, found
    if not accepted:
        assert "'CN=CA-1' may not issue certificate" in found
        assert "by its name constraints" in found


def test_the_name_constraints_of_every_ca_on_the_path_are_applied(tmp_path: Path) -> None:
    root = make("C=DE", None, ca=True, constraints=x509.NameConstraints(directory("C=DE"), None))
    middle = make(HOSPITAL, root, ca=True, constraints=x509.NameConstraints(directory(HOSPITAL), None))
    for subject, accepted in ((INSIDE, True), ("CN=SL-1,O=Hospital 2,C=DE", False)):
        leaf = make(subject, middle, ca=False)
        assert openssl_accepts(tmp_path, leaf, middle, root) == accepted
        assert (refusal(leaf, middle, root) == "") == accepted


def test_name_constraints_apply_to_intermediate_cas_too(tmp_path: Path) -> None:
    root = make("CN=CA-1", None, ca=True, constraints=x509.NameConstraints(directory(HOSPITAL), None))
    middle = make("O=Hospital 2", root, ca=True)
    leaf = make(INSIDE, middle, ca=False)
    assert not openssl_accepts(tmp_path, leaf, middle, root)
    assert "may not issue certificate 'O=Hospital 2'" in refusal(leaf, middle, root)


def test_a_self_issued_ca_certificate_needs_no_permitted_name() -> None:
    root = make("CN=CA-1", None, ca=True, constraints=x509.NameConstraints(directory(HOSPITAL), None))
    renewed = make("CN=CA-1", root, ca=True)  # the CA changes its key
    leaf = make(INSIDE, renewed, ca=False)
    assert refusal(leaf, renewed, root) == ""


def test_a_certificate_with_too_many_names_for_its_constraints_is_refused() -> None:
    many = x509.NameConstraints(dns(*(f"h{number}.example" for number in range(400))), None)
    root = make("CN=CA-1", None, ca=True, constraints=many)
    leaf = make("CN=SL-1", root, ca=False, names=dns(*(f"h{number}.example" for number in range(300))))
    assert "its 301 names are too many for the 400 constraints on them" in refusal(leaf, root)
